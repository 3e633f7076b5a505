"""The settings nobody gave, chosen from the facts of the data, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from models.errors import ConfigError
from models.layers.activations import Function
from models.output import Task
from trainer.config import Config, DataConfig, NetworkConfig
from trainer.optimizers import Rule

#: Below this many rows none can be spared: every row trains, none is held out.
TOO_FEW_TO_SPLIT = 40
#: Of more rows, the part held out for the figures, and that which chooses the epoch.
SHARE = 0.15

_RATES: dict[Rule, float] = {
    "gradient_descent": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "rmsprop": 0.001,
    "adam": 0.002,
    "adamw": 0.002,
}


@dataclass(frozen=True)
class Facts:
    """What a recipe looks at: the rows that train, the task, and whether it sees."""

    train_rows: int
    task: Task
    image: bool = False


@dataclass(frozen=True)
class Chosen:
    """A config without an open setting, and a sentence for each that was chosen."""

    config: Config
    reasons: list[str]


def choose_split(config: Config, rows: int, validation_given: bool) -> Chosen:
    """Choose how the rows are divided; ConfigError where two ways are asked for."""
    reasons: list[str] = []
    few = rows < TOO_FEW_TO_SPLIT
    test = config.data.test_fraction
    if test is None:
        test = 0.0 if few else SHARE
        reasons.append(
            f"{rows} rows are too few to hold any out for the figures"
            if few
            else f"{test:.0%} of the rows are held out for the figures"
        )
    validation = config.data.validation_fraction
    if validation is None:
        validation = 0.0 if few or validation_given else SHARE
        reasons.append(
            "the validation rows given choose the epoch"
            if validation_given
            else f"{rows} rows are too few for any to choose the epoch"
            if few
            else f"{validation:.0%} of the rows choose the epoch"
        )
    elif validation and validation_given:
        raise ConfigError("--valid and data.validation_fraction exclude each other")
    data = DataConfig(validation_fraction=validation, test_fraction=test)
    return Chosen(msgspec.structs.replace(config, data=data), reasons)


def choose_training(config: Config, facts: Facts) -> Chosen:
    """Choose the network and its training."""
    reasons: list[str] = []

    def pick(given: Any, value: Any, why: str) -> Any:
        if given is not None:
            return given
        reasons.append(why)
        return value

    n = facts.train_rows
    tiny, small = n < 100, n < 1_000
    hidden = [64, 64] if small else [256, 128]
    activation: Function = "relu" if facts.task != "regression" else "mish"
    net, run = config.network, config.train
    network = NetworkConfig(
        hidden=pick(
            net.hidden, hidden, f"hidden layers {hidden}: the width suits {n:,} rows"
        ),
        activation=pick(
            net.activation,
            activation,
            f"activation {activation}: "
            + (
                "smooth, since the answer is a smooth number"
                if activation == "mish"
                else "cheap, and its gradient does not vanish"
            ),
        ),
        batch_norm=pick(
            net.batch_norm,
            facts.image,
            "batch norm: the pixels of an image are alike, and it steadies the descent"
            if facts.image
            else "no batch norm: the columns of a table are scaled one by one",
        ),
        dropout=pick(net.dropout, *_dropout(facts)),
    )
    rate = (
        0.01 if tiny and run.optimizer in ("adam", "adamw") else _RATES[run.optimizer]
    )
    batch = min(n, 8) if tiny else 32 if small else 64 if n < 10_000 else 256
    epochs = 500 if tiny else min(max(300_000 // n, 20), 300)
    chosen_epochs = pick(
        run.epochs, epochs, f"at most {epochs} epochs: more rows need fewer passes"
    )
    patience = max(10, chosen_epochs // 5)
    train = msgspec.structs.replace(
        run,
        learning_rate=pick(
            run.learning_rate,
            rate,
            f"learning rate {rate}: what {run.optimizer} takes at this size",
        ),
        batch_size=pick(
            run.batch_size, batch, f"batches of {batch}: it suits {n:,} rows"
        ),
        epochs=chosen_epochs,
        patience=pick(
            run.patience,
            patience,
            f"patience {patience}: epochs without a better loss before it stops",
        ),
    )
    return Chosen(
        msgspec.structs.replace(config, network=network, train=train), reasons
    )


def _dropout(facts: Facts) -> tuple[float, str]:
    if facts.image:
        return 0.4, "dropout 0.4: neighbouring pixels repeat what a silent one says"
    if facts.train_rows < 1_000 or facts.task == "regression":
        return 0.0, "dropout 0: few rows or a numeric target gain nothing from it"
    return 0.2, "dropout 0.2: enough rows for units to learn alone"

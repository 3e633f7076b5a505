"""How each kind of network is trained, by the number of rows and the task.

A recipe yields settings with their reasons; a setting that is given stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from models.features.predictions import Task
from trainer.config.schema import Config, Preset, ResolvedTrainConfig, SplitConfig
from trainer.optimization.optimizers import OPTIMIZERS

#: Fewest steps in which RealMLP fits its rows well.
MIN_STEPS = 2_000
#: The shares of the epochs and of the learning rate that a warm start takes. A
#: classifier soon fits its rows too well, a regression gains to the end.
WARM_EPOCHS, WARM_EPOCHS_REGRESSION, WARM_RATE = 0.1, 0.25, 0.5
#: Up to here narrower networks do as well, in less time. With fewer than the first each
#: row is held out once.
FEW_ROWS, SOME_ROWS = 1_000, 5_000
#: Fewer images get a single network, which is small and trains in seconds.
FEW_IMAGES = 2_000
#: From here on the images need less augmentation and dropout, and a larger network.
MANY_IMAGES = 20_000

#: The key of a setting, the value it gets if it is not given, and the reason.
DefaultValue: TypeAlias = tuple[str, Any, str]


class PresetBudget(NamedTuple):
    """The networks of an ensemble, and the epochs as a multiple of `default`'s."""

    members: int
    epochs: float


PRESET_BUDGETS: dict[Preset, PresetBudget] = {
    "fast": PresetBudget(2, 0.25),
    "default": PresetBudget(8, 1.0),
    "best": PresetBudget(16, 2.0),
}


@dataclass(frozen=True)
class DataFacts:
    """The facts that the defaults depend on."""

    rows: int
    task: Task
    table: bool = True
    image: bool = False
    warm: bool = False


def warm(cold: ResolvedTrainConfig, facts: DataFacts) -> Iterator[DefaultValue]:
    """Fewer and smaller steps from weights that fit most of the rows already."""
    regression = facts.task == "regression"
    share = WARM_EPOCHS_REGRESSION if regression else WARM_EPOCHS
    epochs = max(1, round(cold.epochs * share))
    yield "train.epochs", epochs, f"at most {epochs} epochs: warm start"
    rate = cold.learning_rate * WARM_RATE
    yield "train.learning_rate", rate, f"learning rate {rate:g}: warm start"
    yield "train.schedule", "cosine", "schedule cosine: warm start"
    yield "train.patience", epochs, f"patience {epochs}: all epochs"


def realmlp(config: SplitConfig, facts: DataFacts) -> Iterator[DefaultValue]:
    """RealMLP-TD (Holzmüller et al. 2024, arXiv 2407.04491, table A.1), for log loss.

    Fewer epochs than the paper's 256: eight networks with averaged weights share the
    time of one.
    """
    n, regression = facts.rows, facts.task == "regression"
    width = 64 if n < FEW_ROWS else 128 if n < SOME_ROWS else 256
    hidden = [width] * 3
    yield "network.hidden", hidden, f"hidden layers {hidden} for {n:,} rows"
    activation = "mish" if regression else "selu"
    kind = "regression" if regression else "classification"
    yield (
        "network.activation",
        activation,
        f"activation {activation}: as in RealMLP for {kind}",
    )
    yield "network.batch_norm", False, "no batch norm: RealMLP scales its inputs"
    yield "network.dropout", 0.15, "dropout 0.15, falling to 0: as in RealMLP"
    yield "train.beta2", 0.95, "beta2 0.95: as in RealMLP"
    yield "train.weight_decay", 0.02, "weight decay 0.02, falling to 0: as in RealMLP"
    rate = 0.2 if regression else 0.04
    yield (
        "train.learning_rate",
        rate,
        f"learning rate {rate}: as in RealMLP for {kind}",
    )
    yield "train.schedule", "coslog4", "schedule coslog4: four cosine cycles"
    yield (
        "train.regularization",
        "flat_cosine",
        "regularization flat_cosine: constant, then cosine decay",
    )
    yield "train.averaging", 1.0, "weights are averaged over the latest epoch"
    batch = 32 if n <= 1_024 else 128 if n <= 8_192 else 256 if n <= 30_000 else 512
    yield "train.batch_size", batch, f"batch size {batch} for {n:,} rows"
    steps = -(-n // (config.train.batch_size or batch))
    passes = 48 if n <= 8_192 else 36 if n <= 30_000 else 24
    passes = max(passes, min(256, -(-MIN_STEPS // steps)))
    longer = PRESET_BUDGETS[config.preset].epochs
    if n < FEW_ROWS:
        longer = min(longer, 1.0)  # few rows gain by more networks, not by longer runs
    epochs = max(1, round(passes * longer))
    yield "train.epochs", epochs, f"at most {epochs} epochs: {n:,} rows"
    together = config.ensemble.members > 1
    yield (
        "train.choose_epoch",
        "together" if together else "alone",
        "one best epoch for all networks, chosen by the first ones"
        if together
        else "the network has its own best epoch",
    )
    # The troughs of coslog4 are at 1, 3, 7 and 15 fifteenths of the run. Many
    # classifiers are best early, where overfitting begins.
    planned = config.train.epochs or epochs
    patience = planned if regression else max(10, round(0.3 * planned))
    reason = "all epochs" if regression else "one cycle of the schedule"
    yield "train.patience", patience, f"patience {patience}: {reason}"


def mlp(config: Config, facts: DataFacts) -> Iterator[DefaultValue]:
    """A plain network: hidden layers by the number of rows, cosine decay."""
    n, train = facts.rows, config.train
    tiny, small = n < 100, n < 1_000
    hidden = [64, 64] if small else [256, 128]
    yield "network.hidden", hidden, f"hidden layers {hidden} for {n:,} rows"
    regression = facts.task == "regression"
    yield (
        "network.activation",
        "mish" if regression else "relu",
        "activation mish: smooth, for a numeric target"
        if regression
        else "activation relu: fast, and its gradient does not vanish",
    )
    yield "network.batch_norm", False, "no batch norm: inputs are scaled one by one"
    yield _dropout(facts)
    yield "train.beta2", 0.999, "beta2 0.999: Adam's default"
    yield "train.weight_decay", 0.01, "weight decay 0.01: AdamW's default"
    rule = OPTIMIZERS[train.optimizer]
    rate = rule.default_learning_rate
    if tiny and rule.tiny_data_learning_rate is not None:
        rate = rule.tiny_data_learning_rate
    yield (
        "train.learning_rate",
        rate,
        f"learning rate {rate}: the default of {train.optimizer} for {n:,} rows",
    )
    yield "train.schedule", "cosine", "schedule cosine: cosine decay to 0"
    yield "train.regularization", "constant", "regularization constant over the run"
    yield "train.choose_epoch", "alone", "the network has its own best epoch"
    yield "train.averaging", 1.0, "weights are averaged over the latest epoch"
    batch = min(n, 8) if tiny else 32 if small else 64 if n < 10_000 else 256
    yield "train.batch_size", batch, f"batch size {batch} for {n:,} rows"
    epochs = 500 if tiny else min(max(300_000 // n, 20), 300)
    epochs = round(epochs * PRESET_BUDGETS[config.preset].epochs)
    yield "train.epochs", epochs, f"at most {epochs} epochs: more rows need fewer"
    patience = max(10, (train.epochs or epochs) // 5)
    yield (
        "train.patience",
        patience,
        f"patience {patience}: stop after as many epochs without a better loss",
    )


def _dropout(facts: DataFacts) -> DefaultValue:
    if facts.rows < 1_000 or facts.task == "regression":
        value, reason = 0.0, "no gain for few rows or a numeric target"
    else:
        value, reason = 0.2, "enough rows for units to be dropped"
    return "network.dropout", value, f"dropout {value:g}: {reason}"


def image(config: Config, facts: DataFacts) -> Iterator[DefaultValue]:
    """Wide layers and augmentation, chosen before the rest of a plain network.

    The values come from measurements, see docs/benchmarks.md.
    """
    n = facts.rows
    hidden = [256, 128] if n < FEW_IMAGES else [512, 512]
    if n >= MANY_IMAGES:
        hidden += [512]
    yield "network.hidden", hidden, f"hidden layers {hidden} for {n:,} images"
    yield (
        "network.batch_norm",
        True,
        "batch norm: training on pixels is steadier with it",
    )
    if facts.task != "regression":
        dropout = 0.05 if n >= MANY_IMAGES else 0.1
        yield "network.dropout", dropout, f"dropout {dropout:g}: less for more images"
    yield augmentation(facts)
    yield (
        "train.weight_decay",
        0.3,
        "weight decay 0.3: keeps steps large with batch norm",
    )
    epochs = 300 if n < 1_000 else min(max(1_200_000 // n, 20), 100)
    epochs = round(epochs * PRESET_BUDGETS[config.preset].epochs)
    yield (
        "train.epochs",
        epochs,
        f"at most {epochs} epochs: augmentation changes the images each time",
    )
    planned = config.train.epochs or epochs
    yield "train.patience", planned, f"patience {planned}: the best epoch comes last"


def augmentation(facts: DataFacts) -> DefaultValue:
    """Move images further the fewer there are."""
    if not facts.image:
        value, reason = 0.0, "the rows are not images"
    elif facts.rows < MANY_IMAGES:
        value, reason = 1.0, "few images need more variation"
    else:
        value, reason = 0.5, "many images need little variation"
    return "train.augmentation", value, f"augmentation {value:g}: {reason}"

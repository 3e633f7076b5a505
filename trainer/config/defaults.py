"""The settings nobody gave, chosen from the facts of the data, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from models.errors import ConfigError
from models.features.predictions import Task
from models.nn.architectures import Architecture
from trainer.config.schema import Config, OptimizerName, Preset

#: Below this many rows none can be spared: every row trains, none is held out.
TOO_FEW_TO_SPLIT = 40
#: Below this many rows a table gets a plain network, and no ensemble: a straight line
#: through a hundred points needs no waves, and comes out straighter.
TOO_FEW_FOR_REALMLP = 300
#: Of an ensemble each member spares this much for the figures, and as much again to
#: choose its epoch.
MEMBER_SHARE = 0.1
#: Steps that a smooth number takes to be learnt well, however few the rows.
ENOUGH_STEPS = 2_000
#: What a lone network spares for each.
SHARE = 0.15
#: Below the first a small network learns the images in seconds, and answers alone. From
#: the second on they show much of how things vary by themselves.
FEW_IMAGES, MANY_IMAGES = 2_000, 20_000


@dataclass(frozen=True)
class PresetBudget:
    """What a preset spends: networks of an ensemble, epochs in shares of default's."""

    members: int
    epochs: float


PRESET_BUDGETS: dict[Preset, PresetBudget] = {
    "fast": PresetBudget(2, 0.25),
    "default": PresetBudget(8, 1.0),
    "best": PresetBudget(16, 2.0),
}
_RATES: dict[OptimizerName, float] = {
    "gradient_descent": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "rmsprop": 0.001,
    "adam": 0.002,
    "adamw": 0.002,
}


@dataclass(frozen=True)
class DataFacts:
    """What a recipe looks at: the rows, the task, a table or arrays, and images."""

    rows: int
    task: Task
    table: bool = True
    image: bool = False


@dataclass(frozen=True)
class Chosen:
    """A config without an open setting, and a sentence for each that was chosen."""

    config: Config
    reasons: list[str]


@dataclass(frozen=True)
class _DefaultValue:
    """A setting, the value it gets if nobody gave one, and why."""

    key: str
    value: Any
    why: str


def choose_members(config: Config, facts: DataFacts, validation_given: bool) -> Chosen:
    """Choose the architecture, how many networks answer, and the rows each spares.

    ConfigError where two ways of choosing the epoch, or of dividing, are asked for.
    """
    n = facts.rows
    few = n < TOO_FEW_TO_SPLIT
    real = facts.table and n >= TOO_FEW_FOR_REALMLP
    architecture: Architecture = config.network.architecture or (
        "realmlp" if real else "mlp"
    )
    enough = architecture == "realmlp" or (facts.image and n >= FEW_IMAGES)
    ensemble = enough and not validation_given
    members = config.ensemble.members or (
        PRESET_BUDGETS[config.preset].members if ensemble else 1
    )
    split = _split(config)
    own_rows = members > 1 and split.value != "time"
    share = 0.0 if few else MEMBER_SHARE if own_rows else SHARE
    given = config.data.validation_fraction
    if validation_given and given:
        raise ConfigError("--valid and data.validation_fraction exclude each other")
    choices = [
        _DefaultValue(
            "network.architecture",
            architecture,
            f"architecture {architecture}: "
            + ("a table of enough rows" if real else "few rows, or no table"),
        ),
        _DefaultValue(
            "ensemble.members",
            members,
            f"{members} networks answer together, each fitted without some of the rows"
            if members > 1
            else "one network answers",
        ),
        split,
        _DefaultValue(
            "data.test_fraction",
            share,
            f"{n} rows are too few to hold any out for the figures"
            if few
            else f"{share:.0%} of the rows are held out for the figures"
            + (" of each network" if own_rows else ""),
        ),
        _DefaultValue(
            "data.validation_fraction",
            0.0 if validation_given else share,
            "the validation rows given choose the epoch"
            if validation_given
            else f"{n} rows are too few for any to choose the epoch"
            if few
            else f"{share:.0%} of the rows choose the epoch"
            + (" of each network" if own_rows else ""),
        ),
    ]
    chosen = _apply(config, choices)
    data = chosen.config.data
    assert data.validation_fraction is not None and data.test_fraction is not None
    if data.validation_fraction + data.test_fraction >= 1:
        raise ConfigError(
            "data.validation_fraction and data.test_fraction leave no rows to train"
        )
    return chosen


def _split(config: Config) -> _DefaultValue:
    """Choose how rows are divided: by the column that is given for it."""
    given = config.data
    way = "grouped" if given.group else "time" if given.time else "random"
    for needed, key, column, does in (
        ("grouped", "data.group", given.group, "names the group of each row"),
        ("time", "data.time", given.time, "orders the rows"),
    ):
        if given.split == needed and not column:
            raise ConfigError(
                f"data.split={needed} needs {key}, the column that {does}"
            )
        if column and given.split not in (None, needed):
            raise ConfigError(f"{key} is for data.split={needed}, not {given.split}")
    if given.group and given.time:
        raise ConfigError("data.group and data.time exclude each other")
    why = {
        "random": "rows are divided at random: no column says which belong together",
        "grouped": f"rows are divided by '{given.group}': no group is on two sides",
        "time": f"rows are divided by '{given.time}': the last are measured on",
    }
    return _DefaultValue("data.split", way, why[way])


def choose_training(config: Config, facts: DataFacts) -> Chosen:
    """Choose the network and its training, for `facts.rows` that train.

    ConfigError where rows that are no images are to be moved.
    """
    strength = config.train.augmentation
    if strength and not facts.image:
        raise ConfigError(
            f"train.augmentation={strength:g} moves images, and these rows are none: "
            "of 8 x 8 pixels at least, in up to 4 channels"
        )
    if config.network.architecture == "realmlp":
        return _apply(config, [*_realmlp(config, facts), _augmentation(facts)])
    if facts.image:
        return _apply(config, [*_image(config, facts), *_mlp(config, facts)])
    return _apply(config, [*_mlp(config, facts), _augmentation(facts)])


def _realmlp(config: Config, facts: DataFacts) -> Iterator[_DefaultValue]:
    """RealMLP-TD (Holzmüller et al. 2024, arXiv 2407.04491, table A.1), for log loss.

    Fewer epochs than the paper's 256: eight networks of averaged weights share the time
    of one.
    """
    n, regression = facts.rows, facts.task == "regression"
    run = config.train
    hidden = [256, 256, 256]
    yield _DefaultValue("network.hidden", hidden, f"hidden layers {hidden}: RealMLP's")
    activation = "mish" if regression else "selu"
    why = "the answer is a smooth number" if regression else "RealMLP's for classes"
    yield _DefaultValue(
        "network.activation", activation, f"activation {activation}: {why}"
    )
    yield _DefaultValue(
        "network.batch_norm", False, "no batch norm: columns are scaled"
    )
    yield _DefaultValue(
        "network.dropout", 0.15, "dropout 0.15, less and less: RealMLP's"
    )
    yield _DefaultValue("train.beta2", 0.95, "beta2 0.95: a short memory of squares")
    yield _DefaultValue("train.weight_decay", 0.02, "weight decay 0.02, less and less")
    rate = 0.2 if regression else 0.04
    yield _DefaultValue("train.learning_rate", rate, f"learning rate {rate}: RealMLP's")
    yield _DefaultValue(
        "train.schedule", "coslog4", "schedule coslog4: four waves of rate"
    )
    yield _DefaultValue(
        "train.regularization", "flat_cosine", "regularization ends with a cosine"
    )
    yield _DefaultValue(
        "train.averaging", 1.0, "weights averaged over the latest epoch"
    )
    batch = 32 if n <= 1_024 else 128 if n <= 8_192 else 256 if n <= 30_000 else 512
    yield _DefaultValue(
        "train.batch_size", batch, f"batches of {batch}: it suits {n:,} rows"
    )
    epochs = _epochs(n, -(-n // (run.batch_size or batch)), config.preset)
    yield _DefaultValue(
        "train.epochs", epochs, f"at most {epochs} epochs: it suits {n:,} rows"
    )
    # The troughs of coslog4 lie at 1, 3, 7 and 15 fifteenths of the run. Classes are
    # told apart best early, where overfitting begins; numbers at the very end.
    whole = run.epochs or epochs
    patience = whole if regression else max(10, round(0.3 * whole))
    why = "the best comes last" if regression else "a wave of the schedule"
    yield _DefaultValue("train.patience", patience, f"patience {patience}: {why}")


def _epochs(n: int, steps_an_epoch: int, preset: Preset) -> int:
    """Return RealMLP's passes: fewer of many rows, and of few some thousand steps."""
    passes = 48 if n <= 8_192 else 36 if n <= 30_000 else 24
    enough = min(256, -(-ENOUGH_STEPS // steps_an_epoch))
    return max(1, round(max(passes, enough) * PRESET_BUDGETS[preset].epochs))


def _mlp(config: Config, facts: DataFacts) -> Iterator[_DefaultValue]:
    """A plain network: hidden layers by the number of rows, AdamW, a cosine."""
    n, run = facts.rows, config.train
    tiny, small = n < 100, n < 1_000
    hidden = [64, 64] if small else [256, 128]
    yield _DefaultValue(
        "network.hidden", hidden, f"hidden layers {hidden}: the width suits {n:,} rows"
    )
    smooth = facts.task == "regression"
    yield _DefaultValue(
        "network.activation",
        "mish" if smooth else "relu",
        "activation mish: smooth, since the answer is a smooth number"
        if smooth
        else "activation relu: cheap, and its gradient does not vanish",
    )
    yield _DefaultValue(
        "network.batch_norm", False, "no batch norm: columns are scaled one by one"
    )
    yield _dropout(facts)
    yield _DefaultValue("train.beta2", 0.999, "beta2 0.999: a long memory of squares")
    yield _DefaultValue("train.weight_decay", 0.01, "weight decay 0.01: a light pull")
    quick = tiny and run.optimizer in ("adam", "adamw")
    rate = 0.01 if quick else _RATES[run.optimizer]
    yield _DefaultValue(
        "train.learning_rate",
        rate,
        f"learning rate {rate}: what {run.optimizer} takes at this size",
    )
    yield _DefaultValue(
        "train.schedule", "cosine", "schedule cosine: it settles at the end"
    )
    yield _DefaultValue("train.regularization", "constant", "regularization stays")
    yield _DefaultValue(
        "train.averaging", 1.0, "weights averaged over the latest epoch"
    )
    batch = min(n, 8) if tiny else 32 if small else 64 if n < 10_000 else 256
    yield _DefaultValue(
        "train.batch_size", batch, f"batches of {batch}: it suits {n:,} rows"
    )
    epochs = 500 if tiny else min(max(300_000 // n, 20), 300)
    epochs = round(epochs * PRESET_BUDGETS[config.preset].epochs)
    yield _DefaultValue(
        "train.epochs", epochs, f"at most {epochs} epochs: more rows need fewer passes"
    )
    patience = max(10, (run.epochs or epochs) // 5)
    yield _DefaultValue(
        "train.patience",
        patience,
        f"patience {patience}: epochs without a better loss before it stops",
    )


def _dropout(facts: DataFacts) -> _DefaultValue:
    if facts.rows < 1_000 or facts.task == "regression":
        value, why = 0.0, "few rows or a numeric target gain nothing from it"
    else:
        value, why = 0.2, "enough rows for units to learn alone"
    return _DefaultValue("network.dropout", value, f"dropout {value:g}: {why}")


def _image(config: Config, facts: DataFacts) -> Iterator[_DefaultValue]:
    """What images ask for before the rest of a plain network: wide layers, and never
    the same image twice. From measurements, docs/benchmarks.md.
    """
    n = facts.rows
    hidden = [256, 128] if n < FEW_IMAGES else [512, 512]
    if n >= MANY_IMAGES:
        hidden += [512]
    yield _DefaultValue(
        "network.hidden", hidden, f"hidden layers {hidden}: {n:,} images fill them"
    )
    yield _DefaultValue(
        "network.batch_norm",
        True,
        "batch norm: the pixels of an image are alike, and it steadies the descent",
    )
    if facts.task != "regression":
        dropout = 0.05 if n >= MANY_IMAGES else 0.1
        why = "less, the more images there are"
        yield _DefaultValue("network.dropout", dropout, f"dropout {dropout:g}: {why}")
    yield _augmentation(facts)
    yield _DefaultValue(
        "train.weight_decay", 0.3, "weight decay 0.3: steps stay large under batch norm"
    )
    epochs = 300 if n < 1_000 else min(max(1_200_000 // n, 20), 100)
    epochs = round(epochs * PRESET_BUDGETS[config.preset].epochs)
    yield _DefaultValue(
        "train.epochs", epochs, f"at most {epochs} epochs: the images differ in each"
    )
    whole = config.train.epochs or epochs
    yield _DefaultValue(
        "train.patience", whole, f"patience {whole}: the best comes last"
    )


def _augmentation(facts: DataFacts) -> _DefaultValue:
    """How far images may be moved: the fewer there are, the further."""
    if not facts.image:
        value, why = 0.0, "only images can be moved and stay what they are"
    elif facts.rows < MANY_IMAGES:
        value, why = 1.0, "few images, half of them moved in each epoch, become many"
    else:
        value, why = 0.5, "half of the images are moved a little in each epoch"
    return _DefaultValue("train.augmentation", value, f"augmentation {value:g}: {why}")


def _apply(config: Config, choices: list[_DefaultValue]) -> Chosen:
    """Fill in what is open, and keep the reason of each."""
    reasons: list[str] = []
    for choice in choices:
        section, key = choice.key.split(".")
        group = getattr(config, section)
        if getattr(group, key) is None:
            reasons.append(choice.why)
            group = msgspec.structs.replace(group, **{key: choice.value})
            config = msgspec.structs.replace(config, **{section: group})
    return Chosen(config, reasons)

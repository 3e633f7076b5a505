"""Every setting of a training run: one table, with limits and help.

A setting that is not given (None) is chosen from the facts of the data by
`trainer.config.defaults`, which says why. The table is filled from a TOML file, then
from `--set key=value`, then from the command's own options.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from models.errors import ConfigError, nearest
from models.nn.architectures import Architecture
from models.nn.layers.activations import Function
from trainer.config.thresholds import (
    ColumnName,
    Fraction,
    GateConfig,
    GuardsConfig,
    Positive,
    Section,
)

OptimizerName: TypeAlias = Literal[
    "gradient_descent", "momentum", "nesterov", "rmsprop", "adam", "adamw"
]
ScheduleName: TypeAlias = Literal[
    "constant", "step", "cosine", "flat_cosine", "coslog4"
]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seed = Annotated[int, Meta(ge=0, lt=1 << 62)]
Preset: TypeAlias = Literal["fast", "default", "best"]
Widths = Annotated[
    list[Annotated[int, Meta(ge=1, le=65_536)]],
    Meta(min_length=0, max_length=64),
]


class NetworkConfig(Section, frozen=True):
    """The layers."""

    architecture: Annotated[
        Architecture | None,
        Meta(description="`mlp`, or `realmlp`: embeddings and scaling in front."),
    ] = None
    hidden: Annotated[
        Widths | None, Meta(description="Width of each hidden layer, as `[256, 128]`.")
    ] = None
    activation: Annotated[
        Function | None, Meta(description="Function of the hidden units.")
    ] = None
    batch_norm: Annotated[
        bool | None, Meta(description="Normalise each hidden layer over the batch.")
    ] = None
    dropout: Annotated[
        Fraction | None,
        Meta(description="Share of hidden units silenced while training."),
    ] = None


class TrainConfig(Section, frozen=True):
    """The descent."""

    optimizer: Annotated[
        OptimizerName, Meta(description="Rule that turns gradients into steps.")
    ] = "adamw"
    learning_rate: Annotated[
        Positive | None, Meta(description="Size of a step at its largest.")
    ] = None
    momentum: Annotated[
        Fraction, Meta(description="Memory of `momentum` and `nesterov`.")
    ] = 0.9
    beta1: Annotated[
        Fraction, Meta(description="Memory of the gradient in `adam` and `adamw`.")
    ] = 0.9
    beta2: Annotated[
        Fraction | None,
        Meta(description="Memory of the squared gradient in `adam` and `adamw`."),
    ] = None
    rho: Annotated[
        Fraction, Meta(description="Memory of the squared gradient in `rmsprop`.")
    ] = 0.9
    weight_decay: Annotated[
        Annotated[float, Meta(ge=0.0, le=10.0)] | None,
        Meta(description="Pull of the weights towards zero."),
    ] = None
    clip_norm: Annotated[
        Positive | None, Meta(description="Longest gradient allowed; without it, any.")
    ] = None
    max_norm: Annotated[
        Positive | None,
        Meta(
            description="Longest vector of weights into a hidden unit; without it, any."
        ),
    ] = None
    augmentation: Annotated[
        Annotated[float, Meta(ge=0.0, le=4.0)] | None,
        Meta(
            description="How far half of the images are moved, turned and stretched "
            "at random in each epoch: 0 not at all; 1 up to 8 % of a side, 15 degrees "
            "and 15 %."
        ),
    ] = None
    schedule: Annotated[
        ScheduleName | None, Meta(description="Course of the learning rate.")
    ] = None
    regularization: Annotated[
        ScheduleName | None, Meta(description="Course of dropout and weight decay.")
    ] = None
    warm_up: Annotated[
        Fraction, Meta(description="Share of the run in which the rate rises.")
    ] = 0.0
    batch_size: Annotated[Count | None, Meta(description="Rows a step.")] = None
    epochs: Annotated[
        Count | None, Meta(description="Passes over the training rows, at most.")
    ] = None
    label_smoothing: Annotated[
        Fraction,
        Meta(description="Share of the target that is spread over all classes."),
    ] = 0.0
    choose_by: Annotated[
        Literal["loss", "error"],
        Meta(description="What chooses the epoch: the loss, or the share of errors."),
    ] = "loss"
    averaging: Annotated[
        Annotated[float, Meta(ge=0.0, le=1e4)] | None,
        Meta(description="Epochs over which the weights are averaged; 0: none."),
    ] = None
    patience: Annotated[
        Count | None,
        Meta(description="Epochs without a better validation loss before it stops."),
    ] = None
    class_weights: Annotated[
        Literal["balanced"] | dict[str, Positive] | None,
        Meta(
            description="Weight of each class in the loss, as `{yes = 10, no = 1}`, or "
            "`balanced`: each class counts alike. Without it every row counts alike."
        ),
    ] = None


class DataConfig(Section, frozen=True):
    """The rows: how they are divided, what they weigh, what is wrong with them."""

    split: Annotated[
        Literal["random", "grouped", "time"] | None,
        Meta(
            description="How rows are divided: `random`, `grouped` (rows of one group "
            "stay together) or `time` (the last are measured on)."
        ),
    ] = None
    group: Annotated[
        ColumnName | None,
        Meta(description="Column that names each row's group; no input of the model."),
    ] = None
    time: Annotated[
        ColumnName | None,
        Meta(description="Column that orders the rows; no input of the model."),
    ] = None
    weight: Annotated[
        ColumnName | None,
        Meta(
            description="Column of what each row counts in loss and figures; no input "
            "of the model."
        ),
    ] = None
    validation_fraction: Annotated[
        Fraction | None, Meta(description="Share of the rows that choose the epoch.")
    ] = None
    test_fraction: Annotated[
        Fraction | None,
        Meta(description="Share of the rows kept for the figures and the gate."),
    ] = None
    findings: Annotated[
        Literal["warn", "stop"],
        Meta(
            description="What findings about the data do: they are said, or they end "
            "the run before training."
        ),
    ] = "warn"


class EnsembleConfig(Section, frozen=True):
    """Several networks that answer together."""

    members: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | None,
        Meta(description="Networks, each fitted without a part of the rows."),
    ] = None


class RuntimeConfig(Section, frozen=True):
    """The machine."""

    threads: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        Meta(
            description="Processes for an ensemble (default: the cores), whose number "
            "changes no byte; or BLAS threads for a lone network (default: 1), whose "
            "number may change the last bits."
        ),
    ] = None
    report: Annotated[bool, Meta(description="Write report.html beside the model.")] = (
        True
    )


class Config(Section, frozen=True):
    """All settings; `None` means the recipe chooses."""

    network: NetworkConfig = NetworkConfig()
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    guards: GuardsConfig = GuardsConfig()
    gate: GateConfig = GateConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    preset: Annotated[
        Preset,
        Meta(description="How much time the settings that nobody gave may take."),
    ] = "default"
    calibrate: Annotated[
        bool,
        Meta(description="Fit a temperature to the held-out rows of a classifier."),
    ] = True
    seed: Annotated[Seed, Meta(description="Start of every random choice.")] = 42


#: Settings that stay open where they are not given: no recipe chooses them.
OPTIONAL = frozenset(
    {
        "train.clip_norm",
        "train.max_norm",
        "train.class_weights",
        "data.group",
        "data.time",
        "data.weight",
        "guards.hours",
        "gate.minimum_gain",
        "gate.calibration",
        "gate.group",
        "gate.group_limit",
    }
)


class Setting(msgspec.Struct, frozen=True):
    """One row of the table, for help and documents."""

    key: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()

    @property
    def is_chosen(self) -> bool:
        """Whether the recipe chooses it when nobody else does."""
        return self.default is None and self.key not in OPTIONAL


def settings() -> Iterator[Setting]:
    """Yield every setting by its dotted name."""
    yield from _settings(Config, "")


def _settings(kind: type[msgspec.Struct], prefix: str) -> Iterator[Setting]:
    hints = msgspec.inspect.type_info(kind)
    assert isinstance(hints, msgspec.inspect.StructType)
    for field in hints.fields:
        key = prefix + field.name
        if isinstance(field.type, msgspec.inspect.StructType):
            yield from _settings(field.type.cls, key + ".")
        else:
            extra = getattr(field.type, "extra_json_schema", None) or {}
            help = extra.get("description", "")
            yield Setting(key, field.default, help, tuple(_choices(field.type)))


def _choices(kind: msgspec.inspect.Type) -> Iterator[str]:
    """Yield the words a setting may be, where it is one of a few."""
    if isinstance(kind, msgspec.inspect.LiteralType):
        yield from map(str, kind.values)
    elif isinstance(kind, msgspec.inspect.Metadata):
        yield from _choices(kind.type)
    elif isinstance(kind, msgspec.inspect.VarTupleType):
        yield from _choices(kind.item_type)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from _choices(each)


def load(
    file: Path | None, assignments: Iterable[str], options: dict[str, Any]
) -> Config:
    """Return the settings from a TOML file, `key=value` texts and options by key.

    The later wins. Raises ConfigError for an unknown key or a value that does not fit.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        known = {setting.key for setting in settings()}
        for key, value in _flat(_toml(file), "", known):
            _put(tree, key, value)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, not '{text}'")
        _put(tree, key.strip(), _value(value.strip()))
    for key, value in options.items():
        if value is not None:
            _put(tree, key, value)
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at ")
        key = path.strip("`").removeprefix("$.").partition("[")[0]
        hint = _nearest_word(what, key)
        what = what[:1].lower() + what[1:]
        raise ConfigError(f"setting '{key}': {what}{hint}") from None


def _nearest_word(what: str, key: str) -> str:
    word = re.fullmatch(r"Invalid enum value '(.*)'", what, re.DOTALL)
    choices = {setting.key: setting.choices for setting in settings()}.get(key, ())
    return nearest(word[1], choices) if word else ""


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such config file: {file}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _flat(
    tree: dict[str, Any], prefix: str, known: Set[str]
) -> Iterator[tuple[str, Any]]:
    """Yield settings by their dotted names; the value of one may be a table itself."""
    for key, value in tree.items():
        if isinstance(value, dict) and prefix + key not in known:
            yield from _flat(value, f"{prefix}{key}.", known)
        else:
            yield prefix + key, value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    known = [setting.key for setting in settings()]
    if key not in known:
        raise ConfigError(f"there is no setting '{key}'{nearest(key, known)}")
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


def _value(text: str) -> Any:
    """Read a value as TOML would, `null` as none, and any other word as it stands."""
    if text in ("null", "none"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

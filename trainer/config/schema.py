"""Every setting of a training run, with its limits and help.

`Config` holds the settings as given: None where a setting is open. `ResolvedConfig`
is complete: `trainer.config.defaults` has chosen a value for each open setting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from models.nn.architectures import Architecture
from models.nn.layers.activations import Function
from trainer.config.data import ColumnConfig as ColumnConfig
from trainer.config.data import DataConfig as DataConfig
from trainer.config.data import SplitBy as SplitBy
from trainer.config.thresholds import (
    Fraction,
    GateConfig,
    GuardsConfig,
    Positive,
    Section,
)
from trainer.optimization.optimizers import OptimizerName
from trainer.optimization.schedules import ScheduleName

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Members = Annotated[int, Meta(ge=1, le=64)]
Seed = Annotated[int, Meta(ge=0, lt=1 << 62)]
WeightDecay = Annotated[float, Meta(ge=0.0, le=10.0)]
AugmentationStrength = Annotated[float, Meta(ge=0.0, le=4.0)]
AveragedEpochs = Annotated[float, Meta(ge=0.0, le=1e4)]
Preset: TypeAlias = Literal["fast", "default", "best"]
Widths = Annotated[
    list[Annotated[int, Meta(ge=1, le=65_536)]],
    Meta(min_length=0, max_length=64),
]


class NetworkConfig(Section, frozen=True, kw_only=True):
    """The layers of a network."""

    architecture: Annotated[
        Architecture | None,
        Meta(
            description="`mlp`, or `realmlp`, which adds embeddings and scaling in "
            "front."
        ),
    ] = None
    hidden: Annotated[
        Widths | None,
        Meta(description="Width of each hidden layer, such as `[256, 128]`."),
    ] = None
    activation: Annotated[
        Function | None, Meta(description="Activation of the hidden layers.")
    ] = None
    batch_norm: Annotated[
        bool | None, Meta(description="Normalise each hidden layer over the batch.")
    ] = None
    dropout: Annotated[
        Fraction | None,
        Meta(description="Share of the hidden units that training drops at random."),
    ] = None


class TrainConfig(Section, frozen=True, kw_only=True):
    """How the weights are fitted."""

    optimizer: Annotated[
        OptimizerName, Meta(description="Rule that turns gradients into steps.")
    ] = "adamw"
    learning_rate: Annotated[
        Positive | None, Meta(description="Largest learning rate of the schedule.")
    ] = None
    momentum: Annotated[
        Fraction, Meta(description="Momentum, for optimizers such as `nesterov`.")
    ] = 0.9
    beta1: Annotated[
        Fraction,
        Meta(description="Decay of the mean gradient, for optimizers such as `adam`."),
    ] = 0.9
    beta2: Annotated[
        Fraction | None,
        Meta(
            description="Decay of the mean squared gradient, for optimizers such as "
            "`adam`."
        ),
    ] = None
    rho: Annotated[
        Fraction, Meta(description="Decay of the mean squared gradient, for `rmsprop`.")
    ] = 0.9
    weight_decay: Annotated[
        WeightDecay | None,
        Meta(description="Strength with which weights shrink towards zero."),
    ] = None
    clip_norm: Annotated[
        Positive | None,
        Meta(description="Largest norm of the gradient; no limit if not given."),
    ] = None
    max_norm: Annotated[
        Positive | None,
        Meta(
            description="Largest norm of the weights into a hidden unit; no limit if "
            "not given."
        ),
    ] = None
    augmentation: Annotated[
        AugmentationStrength | None,
        Meta(
            description="How far half of the images are shifted, rotated and stretched "
            "at random in each epoch: 0 is not at all; 1 is up to 8 % of a side, 15 "
            "degrees and 15 %."
        ),
    ] = None
    schedule: Annotated[
        ScheduleName | None,
        Meta(description="How the learning rate changes over the run."),
    ] = None
    regularization: Annotated[
        ScheduleName | None,
        Meta(description="How dropout and weight decay change over the run."),
    ] = None
    warm_up: Annotated[
        Fraction,
        Meta(description="Share of the run over which the learning rate rises from 0."),
    ] = 0.0
    warm_start: Annotated[
        bool,
        Meta(
            description="Start from the weights of the production version if columns "
            "and target are the same, and train for fewer epochs."
        ),
    ] = False
    batch_size: Annotated[Count | None, Meta(description="Rows per step.")] = None
    epochs: Annotated[
        Count | None,
        Meta(description="Largest number of passes over the training rows."),
    ] = None
    label_smoothing: Annotated[
        Fraction,
        Meta(description="Share of the target that is spread over all classes."),
    ] = 0.0
    choose_by: Annotated[
        Literal["loss", "error"],
        Meta(
            description="What the best epoch has the least of on the validation rows: "
            "`loss`, or `error`, the share of wrong answers."
        ),
    ] = "loss"
    choose_epoch: Annotated[
        Literal["alone", "together"] | None,
        Meta(
            description="Whether each network of an ensemble has its own best epoch, "
            "or all have the one with the lowest mean validation loss of the first "
            "four (eight of fewer than 1,000 rows); the others are trained no longer."
        ),
    ] = None
    averaging: Annotated[
        AveragedEpochs | None,
        Meta(
            description="Number of latest epochs over which the weights are averaged; "
            "0 turns averaging off."
        ),
    ] = None
    patience: Annotated[
        Count | None,
        Meta(
            description="Epochs without a better validation loss before training stops."
        ),
    ] = None
    class_weights: Annotated[
        Literal["balanced"] | dict[str, Positive] | None,
        Meta(
            description="Weight of each class in the loss, such as `{yes = 10, no = "
            "1}`, or `balanced`, which gives every class the same total weight. If not "
            "given, every row has the same weight."
        ),
    ] = None


class EnsembleConfig(Section, frozen=True, kw_only=True):
    """The networks whose answers are averaged."""

    members: Annotated[
        Members | None,
        Meta(description="Number of networks, each fitted without some of the rows."),
    ] = None
    minimum_gain: Annotated[
        Fraction | None,
        Meta(
            description="Share of the loss that four more networks must be expected to "
            "save; otherwise no more are fitted."
        ),
    ] = None
    linear: Annotated[
        bool | None,
        Meta(
            description="Add a linear model, with the weight that is best on the "
            "validation rows."
        ),
    ] = None


class RuntimeConfig(Section, frozen=True, kw_only=True):
    """The machine."""

    threads: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        Meta(
            description="For an ensemble the number of processes (default: the number "
            "of cores), which does not change the model; for a single network the "
            "number of BLAS threads (default: 1), which may change its last bits."
        ),
    ] = None
    report: Annotated[
        bool, Meta(description="Write report.html next to the model.")
    ] = True
    streaming: Annotated[
        bool | None,
        Meta(
            description="Keep the columns of Parquet files on disk, in TMPDIR, so that "
            "they may be larger than memory (default: if a run would fill more than "
            "60% of it); does not change the model."
        ),
    ] = None


class Config(Section, frozen=True, kw_only=True):
    """All settings as given; None means that the trainer chooses."""

    network: NetworkConfig = NetworkConfig()
    train: TrainConfig = TrainConfig()
    data: DataConfig = DataConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    guards: GuardsConfig = GuardsConfig()
    gate: GateConfig = GateConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    preset: Annotated[
        Preset,
        Meta(description="How much time the settings that are not given may take."),
    ] = "default"
    calibrate: Annotated[
        bool,
        Meta(description="Calibrate a classifier's probabilities on held-out rows."),
    ] = True
    seed: Annotated[
        Seed, Meta(description="Seed of all random numbers of the run.")
    ] = 42


class ResolvedNetworkConfig(NetworkConfig, frozen=True, kw_only=True):
    """The layers of a network, all of them chosen."""

    architecture: Architecture
    hidden: Widths
    activation: Function
    batch_norm: bool
    dropout: Fraction


class ResolvedTrainConfig(TrainConfig, frozen=True, kw_only=True):
    """How the weights are fitted, with no setting left open."""

    learning_rate: Positive
    beta2: Fraction
    weight_decay: WeightDecay
    augmentation: AugmentationStrength
    schedule: ScheduleName
    regularization: ScheduleName
    batch_size: Count
    epochs: Count
    choose_epoch: Literal["alone", "together"]
    averaging: AveragedEpochs
    patience: Count


class ResolvedDataConfig(DataConfig, frozen=True, kw_only=True):
    """How the rows are split, with no setting left open."""

    split: SplitBy
    validation_fraction: Fraction
    test_fraction: Fraction


class ResolvedEnsembleConfig(EnsembleConfig, frozen=True, kw_only=True):
    """The networks whose answers are averaged, chosen."""

    members: Members
    minimum_gain: Fraction
    linear: bool


class SplitConfig(Config, frozen=True, kw_only=True):
    """The settings after the first choices: complete in what splitting rows needs."""

    data: ResolvedDataConfig
    ensemble: ResolvedEnsembleConfig


class ResolvedConfig(SplitConfig, frozen=True, kw_only=True):
    """All settings of a run, with no choice left open."""

    network: ResolvedNetworkConfig
    train: ResolvedTrainConfig


#: Stands for the name of a column in the name of a setting.
NAME = "NAME"


class Setting(msgspec.Struct, frozen=True):
    """One setting, for help and documents.

    `is_chosen` tells whether the trainer chooses a value if none is given.
    """

    key: str
    default: Any
    help: str
    choices: tuple[str, ...]
    is_chosen: bool
    example: str


def settings() -> Iterator[Setting]:
    """Yield every setting by its dotted name."""
    chosen = {key for key, field in _fields(ResolvedConfig, "") if field.required}
    for key, field in _fields(Config, ""):
        extra = getattr(field.type, "extra_json_schema", None) or {}
        choices = tuple(_choices(field.type))
        help_text = extra.get("description", "")
        example = _example(field.type)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        elif default is msgspec.NODEFAULT:  # it is unset
            default = None
        yield Setting(key, default, help_text, choices, key in chosen, example)


def _fields(
    struct: type[msgspec.Struct], prefix: str
) -> Iterator[tuple[str, msgspec.inspect.Field]]:
    """Yield the dotted name and the field of every setting."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        entry = getattr(getattr(field.type, "type", field.type), "value_type", None)
        if isinstance(field.type, msgspec.inspect.StructType):
            yield from _fields(field.type.cls, f"{prefix}{field.name}.")
        elif isinstance(entry, msgspec.inspect.StructType):
            yield from _fields(entry.cls, f"{prefix}{field.name}.{NAME}.")
        else:
            yield prefix + field.name, field


def _example(info: msgspec.inspect.Type) -> str:
    """Return a value of a setting, as it is written after `--set KEY=`."""
    match info:
        case msgspec.inspect.Metadata():
            return _example(info.type)
        case msgspec.inspect.UnionType():
            return _example(info.types[0])
        case msgspec.inspect.LiteralType():
            return str(info.values[0])
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            item = _example(info.item_type)
            quoted = item.isnumeric() or item.startswith('"')
            return f"[{item}]" if quoted else f'["{item}"]'
        case msgspec.inspect.BoolType():
            return "true"
        case msgspec.inspect.IntType():
            return "64"
        case msgspec.inspect.FloatType():
            return "0.1"
    return '"NAME"'


def _choices(info: msgspec.inspect.Type) -> Iterator[str]:
    """Yield the words that a setting may be, if it is one of a few."""
    if isinstance(info, msgspec.inspect.LiteralType):
        yield from map(str, info.values)
    elif isinstance(info, msgspec.inspect.Metadata):
        yield from _choices(info.type)
    elif isinstance(info, msgspec.inspect.VarTupleType):
        yield from _choices(info.item_type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for member in info.types:
            yield from _choices(member)

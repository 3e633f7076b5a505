"""Prepares data for training: splits rows, encodes columns, encodes the target."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.columns import Floats
from models.features.inputs import Inputs, RawColumns, encode
from models.features.predictions import Label, Output, Task
from models.features.table import Columns, TableInput, fit_column
from models.features.tensor import TensorInput
from models.nn.network import Network
from models.storage.artefact import Artefact
from models.types import Array, Shape
from trainer.config.defaults import choose_split, choose_training
from trainer.config.recipes import DataFacts
from trainer.config.schema import (
    Config,
    DataConfig,
    ResolvedConfig,
    ResolvedTrainConfig,
)
from trainer.data import Dataset, Source, length, read_for, take
from trainer.data.roles import Role, set_aside
from trainer.data.row_hashing import Split, hash_rows
from trainer.data.unnamed_file import UnnamedFile
from trainer.preparation import targets
from trainer.preparation.augmentation import Augmentation, image_axes
from trainer.preparation.encoded_rows import EncodedRows, encode_stored
from trainer.preparation.monotone import monotone_inputs, resolve_monotone
from trainer.preparation.partitions import Shares
from trainer.preparation.sample_weights import (
    describe_class_weights,
    resolve_class_weights,
    scaled_weights,
)
from trainer.preparation.split_plan import SplitPlan, plan_splits
from trainer.preparation.warm_start import find_start
from trainer.types import MonotoneInputs, Rows, Say

#: The name of evaluation rows if there are no others.
TRAINING_ROWS = "training rows"


@dataclass(frozen=True)
class Part:
    """Some rows: their raw inputs, the target that metrics are computed from, weights.

    `target` (n,) are class numbers or values. The columns `aside` are not inputs; the
    column of the weights is one of them. Rows that were split at random have their
    `occurrence` (n,) among equal rows.
    """

    raw: RawColumns
    target: NDArray[Any]
    weights: Floats | None = None
    aside: Columns = field(default_factory=dict)
    occurrence: Floats | None = None

    def __len__(self) -> int:
        return length(self.raw)

    def only(self, rows: NDArray[np.intp]) -> Part:
        """Return the rows of these numbers (n,)."""
        return Part(
            take(self.raw, rows),
            self.target[rows],
            None if self.weights is None else self.weights[rows],
            take(self.aside, rows),
            None if self.occurrence is None else self.occurrence[rows],
        )

    @property
    def digest(self) -> str:
        """The sha256 of the values, targets and weights of the rows."""
        digest = hashlib.sha256()
        for values in (hash_rows(self.raw), self.target, self.weights):
            digest.update(b"" if values is None else values.tobytes())
        return digest.hexdigest()


class Evaluation(NamedTuple):
    """Rows that a model is evaluated on, their name, and if no network learnt them."""

    rows: Part
    name: str
    held_out: bool


@dataclass(frozen=True)
class Prepared:
    """The data and every choice made before training.

    `split_plan` splits `all_rows` for each member; `user_validation` are the validation
    rows that the user gave, if any. `reasons` explains the choices. `row_numbers` (n,)
    count the rows of the data as they were read, from 1. If the columns are stored,
    `encoded` is the file of all rows X (n, I). If the target has slips, networks learn
    it clipped to `target_limits`. With a warm start the networks begin as those of
    `start`. If each network learns files of its own, `shares` says which.
    """

    data: Dataset
    task: Task
    inputs: Inputs
    output: Output
    config: ResolvedConfig
    reasons: tuple[str, ...]
    all_rows: Part
    split_plan: SplitPlan
    user_validation: Part | None
    class_weights: Floats | None
    row_numbers: NDArray[np.intp]
    encoded: UnnamedFile | None = None
    target_limits: tuple[float, float] | None = None
    start: tuple[Network, ...] = ()
    shares: Shares | None = None

    @property
    def splits(self) -> tuple[Split, ...]:
        """The split of each member."""
        return self.split_plan.splits

    @property
    def common_split(self) -> Split:
        """The first member's split, of all files also if it learns only its own."""
        return self.split_plan.common or self.splits[0]

    def with_members(self, count: int) -> Prepared:
        """Return the same for the first `count` networks of the ensemble."""
        return dataclasses.replace(self, split_plan=self.split_plan.first(count))

    def part(self, rows: NDArray[np.intp]) -> Part:
        """Return the rows of these numbers (n,)."""
        return self.all_rows.only(rows)

    def rows(self, part: Part) -> Rows:
        """Return a part as the network takes it: X (n, I), T (n,) and weights (n,)."""
        return self._with_targets(encode(self.inputs, part.raw), part)

    def _training_rows(self, split: Split) -> Rows:
        """Return the rows that a network learns, X (n, I): in memory or in a file."""
        part = self.part(split.train)
        if self.encoded is None:
            return self.rows(part)
        X: Any = EncodedRows(self.encoded, split.train, self.inputs.width)
        return self._with_targets(X, part)

    def _with_targets(self, X: Array, part: Part) -> Rows:
        weights = scaled_weights(part.target, self.class_weights, part.weights)
        learnt = self.learnt_target(part)
        return Rows(X, targets.standardize(self.output, learnt), weights)

    def learnt_target(self, part: Part) -> NDArray[Any]:
        """Return the target (n,) that is learnt: a slip is the nearest usual number."""
        if self.target_limits is None:
            return part.target
        return np.asarray(np.clip(part.target, *self.target_limits))

    def validation(self, split: Split) -> Part | None:
        """Return the rows that choose a member's epoch, or None if there are none."""
        if self.user_validation is not None:
            return self.user_validation
        return self.part(split.validation) if len(split.validation) else None

    @property
    def train_config(self) -> ResolvedTrainConfig:
        """How the weights are fitted."""
        return self.config.train

    def member_rows(self, number: int) -> tuple[Rows, Rows | None]:
        """Return a member's training rows and the rows that choose its epoch."""
        split = self.splits[number]
        validation = self.validation(split)
        return (
            self._training_rows(split),
            None if validation is None else self.rows(validation),
        )

    @property
    def monotone_inputs(self) -> MonotoneInputs | None:
        """The inputs with which the answer only rises or falls, if there are any."""
        return monotone_inputs(self.config.data.directions, self.inputs)

    @property
    def image_shape(self) -> Shape | None:
        """The shape of the images that batches of are to be augmented, or None."""
        if not self.config.train.augmentation or isinstance(self.inputs, TableInput):
            return None
        return self.inputs.shape

    def augmentation(self) -> Augmentation | None:
        """Return the augmentation of image batches, for one thread, or None."""
        shape = self.image_shape
        strength = self.config.train.augmentation
        return None if shape is None else Augmentation(shape, strength)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The rows that the ensemble is evaluated on."""
        first = self.common_split
        if len(first.test):
            return Evaluation(self.part(first.test), "held-out rows", True)
        validation = self.validation(first)
        if validation is not None:
            return Evaluation(validation, "validation rows", True)
        return Evaluation(self.part(first.train), TRAINING_ROWS, False)


def prepare(
    data: Dataset,
    task: Task | None,
    validation: Source | str | None,
    config: Config,
    say: Say,
    production: Artefact | None = None,
) -> Prepared:
    """Split the rows, encode them and choose every open setting.

    The best epoch is chosen on the data that `validation` names. A warm start begins
    with the networks of `production`. Raises DataError if there is nothing to learn
    from, and ConfigError for settings that do not fit.
    """
    data = set_aside(data, _roles(config.data))
    data, labels, row_numbers = _drop_unusable(data, config.data, say)
    name = data.target_name
    task, task_reason = targets.guess_task(labels, name, task)
    config, monotone_reasons = resolve_monotone(config, data, task, production)
    image = not data.kinds and image_axes(data.inputs.shape[1:]) is not None  # type: ignore[union-attr]
    facts = DataFacts(len(data), task, bool(data.kinds), image)
    split_config, split_reasons = choose_split(config, facts, validation is not None)
    split_plan, shares = plan_splits(split_config, data), None
    training = np.unique(np.concatenate([split.train for split in split_plan.splits]))
    if config.data.partitions:
        shares = Shares(data, row_numbers, split_config.ensemble.members)
        split_plan = shares.restrict(split_plan)
        split_reasons = [*split_reasons, shares.reason]
    inputs = fit_inputs(data, training)
    if not inputs.width:
        raise DataError("no column varies in the training rows: nothing to learn from")
    spelled = data.spellings.get(name, {})
    output = targets.make_output(task, labels, training, name, **spelled)
    target = targets.encode(output, labels, name)
    weights = _weights(data, config.data)
    class_weights = resolve_class_weights(
        config.train.class_weights,
        output,
        target[training],
        None if weights is None else weights[training],
    )
    trained = min(len(split.train) for split in split_plan.splits)
    facts = dataclasses.replace(facts, rows=trained)
    resolved, training_reasons = choose_training(split_config, facts)
    all_rows = Part(data.inputs, target, weights, data.aside, split_plan.occurrence)
    start: tuple[Network, ...] = ()
    if config.train.warm_start:
        tests = all_rows.only(split_plan.splits[0].test)
        known = (tests.raw, tests.aside, tests.occurrence)
        found, reason = find_start(production, resolved, inputs, output, *known)
        split_reasons = [*split_reasons, reason]
        if found is None:
            say(reason)
        else:
            start, inputs, output = found
            warm = dataclasses.replace(facts, warm=True)
            resolved, training_reasons = choose_training(split_config, warm)
            split_plan = split_plan.first(len(start))
    reasons = [task_reason, *monotone_reasons, *split_reasons, *training_reasons]
    if class_weights is not None:
        reasons.append(describe_class_weights(output, class_weights))
    return Prepared(
        data=data,
        task=task,
        inputs=inputs,
        output=output,
        config=resolved,
        reasons=(*_notes(inputs, config.data), *reasons),
        all_rows=all_rows,
        split_plan=split_plan,
        user_validation=_read_validation(validation, inputs, output, name, config.data),
        class_weights=class_weights,
        row_numbers=row_numbers,
        encoded=encode_stored(inputs, data.inputs),
        target_limits=None if output.classes else targets.limits(target[training]),
        start=start,
        shares=shares,
    )


def _read_validation(
    source: Source | str | None,
    inputs: Inputs,
    output: Output,
    target: str,
    settings: DataConfig,
) -> Part | None:
    """Return the rows that the user gave to choose the epoch, if any."""
    if source is None:
        return None
    return read_part(source, inputs, output, target, settings, require_weights=True)


def _roles(settings: DataConfig) -> dict[Role, str]:
    """Return the names of the columns that are not inputs, by role."""
    roles: dict[Role, str | None] = {
        "group": settings.group,
        "time": settings.time,
        "weight": settings.weight,
    }
    return {role: name for role, name in roles.items() if name is not None}


def _drop_unusable(
    data: Dataset, settings: DataConfig, say: Say
) -> tuple[Dataset, list[Label], NDArray[np.intp]]:
    """Return the rows with a target and a weight above 0, their targets and numbers.

    The numbers (n,) count the rows as they were read, from 1.
    """
    assert data.target is not None
    usable = np.array([label is not None for label in data.target])
    if not usable.any():
        raise DataError(f"target '{data.target_name}' has no value in any row")
    if not usable.all():
        say(f"rows left out, without a target: {np.sum(~usable):,}")
    weights = _weights(data, settings)
    if weights is not None and (weightless := usable & (weights == 0)).any():
        say(f"rows left out, of weight 0: {weightless.sum():,}")
        usable &= ~weightless
    if not usable.all():
        data = data.only(np.flatnonzero(usable))
    labels = [label for label in data.target or () if label is not None]
    return data, labels, np.flatnonzero(usable) + 1


def _weights(data: Dataset, settings: DataConfig) -> Floats | None:
    """Return the weight of each row (n,), if the data have weights."""
    weights = data.aside.get(settings.weight or "")
    return None if weights is None else np.asarray(weights, np.float64)


def fit_inputs(data: Dataset, train: NDArray[np.intp]) -> Inputs:
    """Fit the signature and the encoder to the training rows, given by number (n,)."""
    raw = take(data.inputs, train)
    if isinstance(raw, np.ndarray):
        return TensorInput.fit(raw)
    return TableInput(
        tuple(
            fit_column(name, kind, raw[name], data.spellings.get(name))
            for name, kind in data.kinds.items()
        )
    )


def _notes(inputs: Inputs, settings: DataConfig) -> list[str]:
    """Name the columns that are not inputs, and the categories that are too rare."""
    verbs = {"group": "groups", "time": "orders", "weight": "weights"}
    notes = [
        f"column '{name}' {verbs[role]} the rows and is not an input of the model"
        for role, name in _roles(settings).items()
    ]
    return [*notes, *inputs.notes]


def read_part(
    source: Source | str,
    inputs: Inputs,
    output: Output,
    target: str,
    settings: DataConfig,
    require_weights: bool,
) -> Part:
    """Read rows and their target for a model that exists.

    Their groups and weights are read if the data have them. Raises DataError if the
    data do not fit the model, or lack weights although `require_weights` is set and
    the training rows have them.
    """
    also = [name for name in (settings.group, settings.weight) if name]
    data = read_for(source, inputs, target, also, output)
    roles: dict[Role, str] = {}
    if settings.group in data.kinds:
        roles["group"] = settings.group
    if settings.weight and (require_weights or settings.weight in data.kinds):
        roles["weight"] = settings.weight
    try:
        data = set_aside(data, roles)
        data, labels, _ = _drop_unusable(data, settings, lambda sentence: None)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    codes = targets.encode(output, labels, target)
    return Part(data.inputs, codes, _weights(data, settings), data.aside)

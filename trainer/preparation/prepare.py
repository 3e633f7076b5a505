"""From data to what the loop takes: rows divided, columns encoded, targets coded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.columns import Floats
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Label, Output, Task
from models.features.table import Columns, TableInput, fit_column
from models.features.tensor import TensorInput
from trainer.config.defaults import DataFacts, choose_members, choose_training
from trainer.config.schema import Config, DataConfig
from trainer.data import Dataset, Source, join, length, read_for, take
from trainer.data.roles import Role, set_aside
from trainer.data.row_hashing import Split, hash_rows
from trainer.preparation import sample_weights as weights
from trainer.preparation import targets
from trainer.preparation.augmentation import Augmentation, image_axes
from trainer.preparation.split_plan import SplitPlan, plan_splits
from trainer.types import Rows, Say


@dataclass(frozen=True)
class Part:
    """Some rows: raw inputs, the target as figures are computed from it, and weights.

    Columns `aside` are no inputs; weights stand among them, where rows have any. Rows
    that were divided by chance know their turn among their equals.
    """

    raw: RawColumns
    target: NDArray[Any]
    weights: Floats | None = None
    aside: Columns = field(default_factory=dict)
    turns: Floats | None = None

    def __len__(self) -> int:
        return length(self.raw)

    @property
    def digest(self) -> str:
        """A sha256 of what stands in the rows, their targets and their weights."""
        digest = hashlib.sha256()
        for values in (hash_rows(self.raw), self.target, self.weights):
            digest.update(b"" if values is None else values.tobytes())
        return digest.hexdigest()


def joined(parts: Sequence[Part]) -> Part:
    """Return the rows of all parts as one, in their order."""
    return Part(
        join([part.raw for part in parts]),
        np.concatenate([part.target for part in parts]),
        _joined([part.weights for part in parts]),
        join([part.aside for part in parts]),
        _joined([part.turns for part in parts]),
    )


def _joined(arrays: Sequence[Floats | None]) -> Floats | None:
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None


@dataclass(frozen=True)
class Prepared:
    """Everything decided before the first step: each choice is made and explained.

    `whole` are all rows, of which `division` has the parts of each member; `own` are
    validation rows that the user gave.
    """

    data: Dataset
    task: Task
    inputs: Inputs
    output: Output
    config: Config
    reasons: tuple[str, ...]
    all_rows: Part
    division: SplitPlan
    user_validation: Part | None
    class_weights: Floats | None

    @property
    def splits(self) -> tuple[Split, ...]:
        """The rows of each member."""
        return self.division.splits

    def part(self, rows: NDArray[np.intp]) -> Part:
        """Return some rows."""
        whole = self.all_rows
        return Part(
            take(whole.raw, rows),
            whole.target[rows],
            None if whole.weights is None else whole.weights[rows],
            take(whole.aside, rows),
            None if whole.turns is None else whole.turns[rows],
        )

    def rows(self, part: Part) -> Rows:
        """Return a part as the network takes it."""
        X = self.inputs.encode(part.raw)  # type: ignore[arg-type]
        counts = weights.of_rows(part.target, self.class_weights, part.weights)
        return Rows(X, targets.standard(self.output, part.target), counts)

    def validation(self, split: Split) -> Part | None:
        """Return the rows that choose a member's epoch."""
        if self.user_validation is not None:
            return self.user_validation
        return self.part(split.validation) if len(split.validation) else None

    def augmentation(self) -> Augmentation | None:
        """Return what moves the images of a batch, for one thread; None if nothing."""
        strength = self.config.train.augmentation
        if not strength or isinstance(self.inputs, TableInput):
            return None
        return Augmentation(self.inputs.shape, strength)

    @cached_property
    def evaluation_parts(self) -> tuple[list[Part], str]:
        """The rows that each member's figures come from, and what they are called.

        One part alone where those are the same rows for all.
        """
        if any(len(split.test) for split in self.splits):
            return self._each("test"), "held-out rows"
        if self.user_validation is not None:
            return [self.user_validation], "validation rows"
        if all(len(split.validation) for split in self.splits):
            return self._each("validation"), "validation rows"
        return self._each("train"), "training rows"

    def _each(self, name: str) -> list[Part]:
        """Return one part of every member, or once that of all."""
        found: list[NDArray[np.intp]] = [getattr(split, name) for split in self.splits]
        if all(np.array_equal(found[0], other) for other in found[1:]):
            found = found[:1]
        return [self.part(rows) for rows in found]


def prepare(
    data: Dataset,
    task: Task | None,
    validation: Source | str | None,
    config: Config,
    rng: np.random.Generator,
    say: Say,
) -> Prepared:
    """Divide, encode and choose; DataError where there is nothing to learn from.

    `validation` names data of the user's own that chooses the epoch.
    """
    data = set_aside(data, _roles(config.data))
    data, labels = _counted(data, config.data, say)
    name = data.target_name
    guess = targets.guess_task(labels, name)
    reasons = [guess.reason if task is None else f"task {task}: as asked"]
    task = task or guess.task
    table = bool(data.kinds)
    image = not table and image_axes(data.inputs.shape[1:]) is not None  # type: ignore[union-attr]
    facts = DataFacts(len(data), task, table, image)
    choice = choose_members(config, facts, validation is not None)
    reasons += choice.reasons
    division = plan_splits(choice.config, data, rng)
    training = np.unique(np.concatenate([split.train for split in division.splits]))
    inputs = fit_inputs(data, training)
    if not inputs.width:
        raise DataError("no column varies in the training rows: nothing to learn from")
    output = targets.make_output(task, labels, training, name)
    target = targets.encode(output, labels, name)
    counts = _weights(data, config.data)
    class_weights = weights.of_classes(
        config.train.class_weights,
        output,
        target[training],
        None if counts is None else counts[training],
    )
    trained = min(len(split.train) for split in division.splits)
    choice = choose_training(choice.config, DataFacts(trained, task, table, image))
    reasons += choice.reasons
    if class_weights is not None:
        reasons.append(weights.reason(output, class_weights))
    for sentence in [*_notes(inputs, config.data), *reasons]:
        say(sentence)
    return Prepared(
        data=data,
        task=task,
        inputs=inputs,
        output=output,
        config=choice.config,
        reasons=tuple(reasons),
        all_rows=Part(data.inputs, target, counts, data.aside, division.turns),
        division=division,
        user_validation=None
        if validation is None
        else read_part(validation, inputs, output, name, config.data, weighed=True),
        class_weights=class_weights,
    )


def _roles(settings: DataConfig) -> dict[Role, str]:
    """Return the columns that are no inputs, by what they are."""
    roles: dict[Role, str | None] = {
        "group": settings.group,
        "time": settings.time,
        "weight": settings.weight,
    }
    return {role: name for role, name in roles.items() if name is not None}


def _counted(
    data: Dataset, settings: DataConfig, say: Say
) -> tuple[Dataset, list[Label]]:
    """Leave out the rows whose target is missing, or that weigh nothing."""
    assert data.target is not None
    known = np.array([label is not None for label in data.target])
    if not known.any():
        raise DataError(f"target '{data.target_name}' has no value in any row")
    if not known.all():
        say(f"{np.sum(~known)} rows have no target and are left out")
    counts = _weights(data, settings)
    if counts is not None and (light := known & (counts == 0)).any():
        say(f"{light.sum()} rows have weight 0 and are left out")
        known &= ~light
    if not known.all():
        data = data.only(np.flatnonzero(known))
    return data, [label for label in data.target or () if label is not None]


def _weights(data: Dataset, settings: DataConfig) -> Floats | None:
    """Return what each row counts by itself, where the data says so."""
    weights = data.aside.get(settings.weight or "")
    return None if weights is None else np.asarray(weights, np.float64)


def fit_inputs(data: Dataset, train: NDArray[np.intp]) -> Inputs:
    """Learn the signature and the encoder from the training rows."""
    raw = take(data.inputs, train)
    if isinstance(raw, np.ndarray):
        return TensorInput.fit(raw)
    return TableInput(
        tuple(fit_column(name, kind, raw[name]) for name, kind in data.kinds.items())
    )


def _notes(inputs: Inputs, settings: DataConfig) -> list[str]:
    """Say which columns are no inputs, and what the encoder leaves out."""
    does = {"group": "groups", "time": "orders", "weight": "weighs"}
    notes = [
        f"column '{name}' {does[role]} the rows and is no input of the model"
        for role, name in _roles(settings).items()
    ]
    return [*notes, *inputs.notes]


def read_part(
    source: Source | str,
    inputs: Inputs,
    output: Output,
    target: str,
    settings: DataConfig,
    weighed: bool,
) -> Part:
    """Read rows and their target for a model that exists; DataError for what is amiss.

    Their groups and weights come with them if they are there. With `weighed` they must
    say what each weighs, where training rows do.
    """
    also = [name for name in (settings.group, settings.weight) if name]
    data = read_for(source, inputs, target, also)
    roles: dict[Role, str] = {}
    if settings.group in data.kinds:
        roles["group"] = settings.group
    if settings.weight and (weighed or settings.weight in data.kinds):
        roles["weight"] = settings.weight
    try:
        data, labels = _counted(set_aside(data, roles), settings, lambda said: None)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    codes = targets.encode(output, labels, target)
    return Part(data.inputs, codes, _weights(data, settings), data.aside)

"""From data to what the loop takes: rows divided, columns encoded, targets coded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.columns import CategoricalColumn
from models.errors import DataError
from models.model import Inputs, Raw
from models.output import Label, Output, Task
from models.table import Layout, TableInput, fit_column
from models.tensor import TensorInput
from trainer import targets
from trainer.config import Config
from trainer.data import Dataset, Source, length, read_for, take
from trainer.data.splits import Split, places, windows
from trainer.loop import Rows
from trainer.recipes import Facts, choose_members, choose_training

#: With fewer unlike rows than this a window may hold none of them, or all of a kind.
TOO_FEW_PLACES = 100
#: Takes one sentence at a time about what is happening.
Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """Some rows: raw inputs, and the target as figures are computed from it."""

    raw: Raw
    target: NDArray[Any]

    def __len__(self) -> int:
        return length(self.raw)


@dataclass(frozen=True)
class Prepared:
    """Everything decided before the first step: each choice is made and explained.

    `splits` has one entry a member; `own` are validation rows that the user gave.
    """

    data: Dataset
    task: Task
    inputs: Inputs
    output: Output
    config: Config
    reasons: tuple[str, ...]
    target: NDArray[Any]
    splits: tuple[Split, ...]
    own: Part | None

    def part(self, rows: NDArray[np.intp]) -> Part:
        """Return some rows."""
        return Part(take(self.data.inputs, rows), self.target[rows])

    def rows(self, part: Part) -> Rows:
        """Return a part as the network takes it."""
        X = self.inputs.encode(part.raw)  # type: ignore[arg-type]
        return Rows(X, targets.standard(self.output, part.target))

    def validation(self, split: Split) -> Part | None:
        """Return the rows that choose a member's epoch."""
        if self.own is not None:
            return self.own
        return self.part(split.validation) if len(split.validation) else None

    @cached_property
    def measured(self) -> tuple[list[Part], str]:
        """The rows that each member's figures come from, and what they are called."""
        if any(len(split.test) for split in self.splits):
            return [self.part(split.test) for split in self.splits], "held-out rows"
        parts = [self.validation(split) for split in self.splits]
        if all(part is not None for part in parts):
            return [part for part in parts if part is not None], "validation rows"
        return [self.part(split.train) for split in self.splits], "training rows"


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
    data, labels = _labelled(data, say)
    name = data.target_name
    guess = targets.guess_task(labels, name)
    reasons = [guess.reason if task is None else f"task {task}: as asked"]
    task = task or guess.task
    table = bool(data.kinds)
    image = not table and data.inputs.ndim > 2  # type: ignore[union-attr]
    facts = Facts(len(data), task, table, image)
    choice = choose_members(config, facts, validation is not None)
    reasons += choice.reasons
    splits = _splits(choice.config, data, rng)
    training = np.unique(np.concatenate([split.train for split in splits]))
    inputs = fit_inputs(data, training)
    if not inputs.width:
        raise DataError("no column varies in the training rows: nothing to learn from")
    output = targets.make_output(task, labels, training, name)
    trained = min(len(split.train) for split in splits)
    choice = choose_training(choice.config, Facts(trained, task, table, image))
    reasons += choice.reasons
    for sentence in [*_notes(inputs), *reasons]:
        say(sentence)
    return Prepared(
        data=data,
        task=task,
        inputs=inputs,
        output=output,
        config=choice.config,
        reasons=tuple(reasons),
        target=targets.encode(output, labels, name),
        splits=tuple(splits),
        own=None if validation is None else _own(validation, inputs, output, name),
    )


def _labelled(data: Dataset, say: Say) -> tuple[Dataset, list[Label]]:
    """Leave out the rows whose target is missing."""
    assert data.target is not None
    labels = [label for label in data.target if label is not None]
    if not labels:
        raise DataError(f"target '{data.target_name}' has no value in any row")
    if len(labels) == len(data):
        return data, labels
    say(f"{len(data) - len(labels)} rows have no target and are left out")
    rows = np.array([n for n, label in enumerate(data.target) if label is not None])
    kept = Dataset(take(data.inputs, rows), data.kinds, data.target_name, labels)
    return kept, labels


def _splits(config: Config, data: Dataset, rng: np.random.Generator) -> list[Split]:
    """Divide the rows by what stands in them, or by chance where they are too alike."""
    assert config.ensemble.members is not None
    validation, test = config.data.validation_fraction, config.data.test_fraction
    assert validation is not None and test is not None
    shares = config.ensemble.members, validation, test
    where = places(data.inputs)
    found = windows(where, *shares)
    enough = (1 - validation - test) * len(data) / 2
    if (
        len(np.unique(where)) < min(len(data) / 2, TOO_FEW_PLACES)
        or min(len(split.train) for split in found) < enough
    ):
        found = windows(rng.random(len(data)), *shares)
    if not all(len(split.train) for split in found):
        raise DataError(f"{len(data)} rows leave none to train")
    return found


def fit_inputs(data: Dataset, train: NDArray[np.intp]) -> Inputs:
    """Learn the signature and the encoder from the training rows."""
    raw = take(data.inputs, train)
    if isinstance(raw, np.ndarray):
        return TensorInput.fit(raw)
    return TableInput(
        tuple(fit_column(name, kind, raw[name]) for name, kind in data.kinds.items())
    )


def layout_of(inputs: Inputs) -> Layout:
    """Return how the network's inputs divide; an array is all quantities."""
    if isinstance(inputs, TableInput):
        return inputs.layout
    return Layout(inputs.width, 0, ())


def _notes(inputs: Inputs) -> list[str]:
    """Say what the encoder leaves out."""
    if not isinstance(inputs, TableInput):
        return []
    used = set(inputs.feature_names())
    notes = [
        f"column '{column.name}' does not vary in the training rows and is not used"
        for column in inputs.columns
        if column.name not in used
    ]
    return notes + [
        f"column '{column.name}': {column.rare} rare values are encoded as unknown"
        for column in inputs.columns
        if isinstance(column, CategoricalColumn) and column.rare
    ]


def _own(source: Source | str, inputs: Inputs, output: Output, name: str) -> Part:
    """Return the user's own validation rows."""
    data = read_for(source, inputs, name)
    if data.target is None:
        raise DataError(f"{source}: there is no target '{name}'")
    rows = np.array(
        [n for n, label in enumerate(data.target) if label is not None], np.intp
    )
    if not len(rows):
        raise DataError(f"{source}: target '{name}' has no value in any row")
    labels = [label for label in data.target if label is not None]
    return Part(take(data.inputs, rows), targets.encode(output, labels, name))

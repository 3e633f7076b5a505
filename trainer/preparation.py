"""From data to what the loop takes: rows divided, columns encoded, targets coded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.columns import CategoricalColumn
from models.errors import ConfigError, DataError
from models.model import Inputs, Raw
from models.output import Label, Output, Task
from models.table import TableInput, fit_column
from models.tensor import TensorInput
from trainer import targets
from trainer.config import Config
from trainer.data import Dataset, length, read_for, take
from trainer.data.splits import Split, random_split
from trainer.loop import Rows
from trainer.recipes import Facts, choose_split, choose_training

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
    """Everything decided before the first step: each choice is made and explained."""

    data: Dataset
    task: Task
    inputs: Inputs
    output: Output
    config: Config
    reasons: tuple[str, ...]
    train: Part
    validation: Part | None
    test: Part | None

    def rows(self, part: Part) -> Rows:
        """Return a part as the network takes it."""
        X = self.inputs.encode(part.raw)  # type: ignore[arg-type]
        return Rows(X, targets.standard(self.output, part.target))

    @property
    def measured(self) -> tuple[Part, str]:
        """The rows the figures come from, and what they are called."""
        if self.test is not None:
            return self.test, "held-out rows"
        if self.validation is not None:
            return self.validation, "validation rows"
        return self.train, "training rows"


def prepare(
    data: Dataset,
    task: Task | None,
    validation: str | None,
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
    choice = choose_split(config, len(data), validation is not None)
    reasons += choice.reasons
    split = _split(choice.config, data, labels, task, rng)
    inputs = fit_inputs(data, split.train)
    if not inputs.width:
        raise DataError("no column varies in the training rows: nothing to learn from")
    output = targets.make_output(task, labels, split.train, name)
    coded = targets.encode(output, labels, name)
    image = isinstance(inputs, TensorInput) and len(inputs.shape) > 1
    facts = Facts(len(split.train), task, image)
    choice = choose_training(choice.config, facts)
    reasons += choice.reasons
    for sentence in [*_notes(inputs), *reasons]:
        say(sentence)

    def part(rows: NDArray[np.intp]) -> Part | None:
        return Part(take(data.inputs, rows), coded[rows]) if len(rows) else None

    train = part(split.train)
    assert train is not None
    own = None if validation is None else _own(validation, inputs, output, name)
    return Prepared(
        data=data,
        task=task,
        inputs=inputs,
        output=output,
        config=choice.config,
        reasons=tuple(reasons),
        train=train,
        validation=own or part(split.validation),
        test=part(split.test),
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


def _split(
    config: Config,
    data: Dataset,
    labels: list[Label],
    task: Task,
    rng: np.random.Generator,
) -> Split:
    strata = None
    if task != "regression":
        _, strata = np.unique([str(label) for label in labels], return_inverse=True)
    validation, test = config.data.validation_fraction, config.data.test_fraction
    assert validation is not None and test is not None
    if validation + test >= 1:
        raise ConfigError(
            "data.validation_fraction and data.test_fraction leave no rows to train"
        )
    return random_split(len(data), validation, test, rng, strata)


def fit_inputs(data: Dataset, train: NDArray[np.intp]) -> Inputs:
    """Learn the signature and the encoder from the training rows."""
    raw = take(data.inputs, train)
    if isinstance(raw, np.ndarray):
        return TensorInput.fit(raw)
    return TableInput(
        tuple(fit_column(name, kind, raw[name]) for name, kind in data.kinds.items())
    )


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


def _own(source: str, inputs: Inputs, output: Output, name: str) -> Part:
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

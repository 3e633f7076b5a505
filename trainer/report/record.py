"""What is kept of a run for its report: `record.json`, beside the model.

The rows are gone when the run has ended, so whatever of a report needs rows is in here;
all else is drawn from the model itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from models.errors import ArtefactCorrupt
from trainer.training.history import LayerSnapshot


class Curve(msgspec.Struct):
    """A line of a class, and the area below it."""

    name: str
    x: list[float]
    y: list[float]
    area: float


class Bin(msgspec.Struct):
    """Answers of about one confidence: how sure, how often right, how many."""

    confidence: float
    accuracy: float
    rows: int


class Confusion(msgspec.Struct):
    """Rows by true class and by answer, of the most frequent classes."""

    classes: list[str]
    counts: list[list[int]]
    left_out: int


class Points(msgspec.Struct):
    """True values and answers of some rows."""

    truth: list[float]
    answer: list[float]


class Weight(msgspec.Struct):
    """What a column counts: by its attributions, and by what its loss would cost."""

    name: str
    gradient: float
    permutation: float | None = None


class Mistake(msgspec.Struct):
    """A row that was answered worst, with its truth; `row` is empty for an image."""

    truth: str
    answer: str
    loss: float
    row: dict[str, Any]
    picture: list[Any] | None = None


class Production(msgspec.Struct):
    """The figures of what served before, on the same rows."""

    figures: dict[str, float]


class Record(msgspec.Struct):
    """Everything of a run that its report needs and its model does not tell."""

    rows: int
    measured: int
    where: str
    #: The figure of always giving the same answer, which asks no column.
    constant: float
    steps_an_epoch: int
    health: list[list[LayerSnapshot]]
    confusion: Confusion | None = None
    roc: list[Curve] = []
    precision_recall: list[Curve] = []
    reliability: list[Bin] = []
    points: Points | None = None
    weights: list[Weight] = []
    saliency: list[list[float]] | None = None
    mistakes: list[Mistake] = []
    production: Production | None = None


def encode(record: Record) -> bytes:
    """Return the bytes of record.json."""
    return msgspec.json.encode(record)


def decode(raw: bytes) -> Record:
    """Return what `encode` wrote; ArtefactCorrupt for anything else."""
    try:
        return msgspec.json.decode(raw, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactCorrupt(f"record.json: {error}") from None

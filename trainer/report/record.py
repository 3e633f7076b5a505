"""`record.json`, beside the model: the part of a report that needs the rows.

The rows are gone once the run has ended. The rest of the report is made from the model.
"""

from __future__ import annotations

from typing import Any

import msgspec

from models.errors import ArtefactCorrupt
from trainer.training.history import LayerSnapshot


class Curve(msgspec.Struct):
    """A curve of one class, and the area below it."""

    name: str
    x: list[float]
    y: list[float]
    area: float


class Bin(msgspec.Struct):
    """Predictions of similar confidence: its mean, their accuracy and number."""

    confidence: float
    accuracy: float
    rows: int


class Confusion(msgspec.Struct):
    """Rows by true and predicted class, for the most frequent classes."""

    classes: list[str]
    counts: list[list[int]]
    left_out: int


class Points(msgspec.Struct):
    """True and predicted values of some rows."""

    truth: list[float]
    answer: list[float]


class ColumnImportance(msgspec.Struct):
    """Mean absolute attribution of a column, and the loss added by shuffling it."""

    name: str
    gradient: float
    permutation: float | None = None


class Dependence(msgspec.Struct):
    """The mean prediction by the value of a column: a line for each class, or one.

    Values in an order, such as numbers, are joined by lines.
    """

    column: str
    ordered: bool
    values: list[Any]
    lines: dict[str, list[float]]


class Threshold(msgspec.Struct):
    """The rows of two classes if the second is said from a probability on."""

    probability: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def predicted(self) -> int:
        return self.true_positives + self.false_positives

    @property
    def positives(self) -> int:
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        return self.true_positives / max(self.predicted, 1)

    @property
    def recall(self) -> float:
        return self.true_positives / self.positives

    @property
    def lift(self) -> float:
        """Precision by the share of positives among all rows."""
        rows = self.predicted + self.false_negatives + self.true_negatives
        return self.precision * rows / self.positives


class Mistake(msgspec.Struct):
    """One of the worst predictions; `row` is empty for an image."""

    truth: str
    answer: str
    loss: float
    row: dict[str, Any]
    picture: list[Any] | None = None


class Production(msgspec.Struct):
    """Metrics of the version in production on the same rows."""

    figures: dict[str, float]


class Record(msgspec.Struct):
    """Everything that the report of a run needs besides the artefact."""

    rows: int
    measured: int
    where: str
    steps_an_epoch: int
    health: list[list[LayerSnapshot]]
    confusion: Confusion | None = None
    roc: list[Curve] = []
    precision_recall: list[Curve] = []
    reliability: list[Bin] = []
    thresholds: list[Threshold] = []
    lift: Curve | None = None
    points: Points | None = None
    weights: list[ColumnImportance] = []
    dependence: list[Dependence] = []
    saliency: list[list[float]] | None = None
    mistakes: list[Mistake] = []
    production: Production | None = None


def encode(record: Record) -> bytes:
    """Return the bytes of record.json."""
    return msgspec.json.encode(record)


def decode(raw: bytes) -> Record:
    """Return the record that `encode` wrote; raise ArtefactCorrupt if it is damaged."""
    try:
        return msgspec.json.decode(raw, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactCorrupt(f"record.json: {error}") from None

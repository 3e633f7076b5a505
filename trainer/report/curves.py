"""Confusion matrix, thresholds, lift and curves of a classifier.

Shapes: P holds the probabilities (n, C) of n rows and C classes, `target` the class
numbers (n,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Classification, label_text
from trainer.data.dataset import evenly_spaced
from trainer.evaluation.metrics import ECE_BINS
from trainer.report.record import Bin, Confusion, Curve, Threshold

Codes = NDArray[np.intp]
#: Points of a curve.
MAX_POINTS = 120
#: Classes in the confusion matrix.
MAX_CLASSES = 12
#: Classes with a ROC and a precision-recall curve.
MAX_CURVES = 6
#: Shares of the positives that the thresholds to choose from find, beside one half.
RECALLS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
#: The lift is computed for at least this many rows: with fewer it is mostly chance.
MIN_LIFT_ROWS = 10


def confusion(output: Classification, P: Floats, target: Codes) -> Confusion:
    """Count rows by true and predicted class, from P (n, C) and target (n,)."""
    shown = most_frequent(target, len(output.classes), MAX_CLASSES)
    position = np.full(len(output.classes), -1)
    position[shown] = np.arange(len(shown))
    truth, predicted = position[target], position[P.argmax(axis=1)]
    inside = (truth >= 0) & (predicted >= 0)
    counts = np.zeros((len(shown), len(shown)), int)
    np.add.at(counts, (truth[inside], predicted[inside]), 1)
    return Confusion(
        [label_text(output.classes[c]) for c in shown],
        counts.tolist(),
        int((~inside).sum()),
    )


def most_frequent(target: Codes, classes: int, most: int) -> list[int]:
    """Return the most frequent classes of target (n,), in class order."""
    counts = np.bincount(target, minlength=classes)
    chosen = np.argsort(-counts, kind="stable")[:most]
    return [int(c) for c in np.sort(chosen)]


def curve_classes(output: Classification, target: Codes) -> list[int]:
    """Return the classes that get a curve: the second of two, else the most frequent.

    A class that no row or every row of target (n,) has gets none.
    """
    classes = len(output.classes)
    chosen = [1] if classes == 2 else most_frequent(target, classes, MAX_CURVES)
    return [c for c in chosen if 0 < (target == c).sum() < len(target)]


def roc(output: Classification, P: Floats, target: Codes) -> list[Curve]:
    """Return true positive rate against false positive rate, from P (n, C)."""
    lines = []
    for c in curve_classes(output, target):
        hits, rows, positives = _by_score(P[:, c], target == c)
        x = np.append(0.0, (rows - hits) / (len(target) - positives))
        y = np.append(0.0, hits / positives)
        area = float(np.trapezoid(y, x))
        lines.append(_curve(label_text(output.classes[c]), x, y, area))
    return lines


def precision_recall(output: Classification, P: Floats, target: Codes) -> list[Curve]:
    """Return precision against recall from P (n, C), and the average precision."""
    lines = []
    for c in curve_classes(output, target):
        hits, rows, positives = _by_score(P[:, c], target == c)
        recall, precision = hits / positives, hits / rows
        area = float((np.diff(recall, prepend=0.0) * precision).sum())
        x, y = np.append(0.0, recall), np.append(precision[:1], precision)
        lines.append(_curve(label_text(output.classes[c]), x, y, area))
    return lines


def thresholds(P: Floats, target: Codes) -> list[Threshold]:
    """Return the counts at 0.5 and at the thresholds of some recalls, lowest first.

    P is (n, 2). Thresholds are rounded down to two digits; the counts are those of the
    rounded ones.
    """
    score, positive = P[:, 1], target == 1
    if not 0 < positive.sum() < len(target):
        return []
    ranked = np.sort(score[positive])[::-1]
    needed = np.ceil(np.array(RECALLS) * len(ranked)).astype(int)
    choices = {0.5, *(_floor(x) for x in ranked[needed - 1].tolist())}
    return [
        Threshold(
            choice,
            int((said & positive).sum()),
            int((said & ~positive).sum()),
            int((~said & positive).sum()),
            int((~said & ~positive).sum()),
        )
        for choice in sorted(choices)
        for said in (score >= choice,)
    ]


def _floor(probability: float, digits: int = 2) -> float:
    """Return a probability rounded down to digits of it or of the rest to 1."""
    rest = min(probability, 1.0 - probability)
    places = min(digits - 1 - int(np.floor(np.log10(max(rest, 1e-12)))), 6)
    return float(np.floor(probability * 10**places) / 10**places)


def lift(output: Classification, P: Floats, target: Codes) -> Curve | None:
    """Return the lift of the highest scores by their share of the rows; P (n, 2).

    It is their share of positives in units of that of all rows; `area` is the lift of
    the highest tenth.
    """
    if not 0 < (target == 1).sum() < len(target):
        return None
    hits, rows, positives = _by_score(P[:, 1], target == 1)
    enough = rows >= min(MIN_LIFT_ROWS, len(target))
    x, y = rows / len(target), hits / rows * len(target) / positives
    name = label_text(output.classes[1])
    return _curve(name, x[enough], y[enough], float(np.interp(0.1, x, y)))


def _by_score(
    score: Floats, positive: NDArray[np.bool_]
) -> tuple[Floats, Floats, float]:
    """Return the positives and the rows at or above each score, and all positives."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores are one step
    hits: Floats = np.cumsum(positive[order])[last].astype(np.float64)
    rows: Floats = (np.flatnonzero(last) + 1).astype(np.float64)
    return hits, rows, float(positive.sum())


def _curve(name: str, x: Floats, y: Floats, area: float) -> Curve:
    """Return a curve of at most MAX_POINTS points."""
    kept = evenly_spaced(len(x), MAX_POINTS)
    return Curve(name, x[kept].round(4).tolist(), y[kept].round(4).tolist(), area)


def reliability(P: Floats, target: Codes) -> list[Bin]:
    """Return the accuracy of P (n, C) in the confidence bins of the ECE."""
    confidence, right = P.max(axis=1), P.argmax(axis=1) == target
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    return [
        Bin(
            round(float(confidence[bins == b].mean()), 4),
            round(float(right[bins == b].mean()), 4),
            int((bins == b).sum()),
        )
        for b in np.unique(bins)
    ]

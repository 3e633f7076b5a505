"""Confusion matrix, ROC, precision-recall and reliability curves of a classifier.

Shapes: P holds the probabilities (n, C) of n rows and C classes, `target` the class
numbers (n,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Classification, label_text
from trainer.evaluation.metrics import ECE_BINS
from trainer.report.record import Bin, Confusion, Curve

Codes = NDArray[np.intp]
#: Points of a curve.
MAX_POINTS = 120
#: Classes in the confusion matrix.
MAX_CLASSES = 12
#: Classes with a ROC and a precision-recall curve.
MAX_CURVES = 6


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
    n = len(x)
    kept = np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(int))
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

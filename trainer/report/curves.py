"""Lines and tables that say more of answers than one figure can."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Classification, label_text
from trainer.evaluation.metrics import ECE_BINS
from trainer.report.record import Bin, Confusion, Curve

Codes = NDArray[np.intp]
#: Points of a line, classes of a table, lines of a picture.
MOST_POINTS, MOST_CLASSES, MOST_LINES = 120, 12, 6


def confusion(output: Classification, P: Floats, target: Codes) -> Confusion:
    """Count rows by truth and answer, of the classes that are most frequent."""
    shown = frequent(target, len(output.classes), MOST_CLASSES)
    place = np.full(len(output.classes), -1)
    place[shown] = np.arange(len(shown))
    truth, answer = place[target], place[P.argmax(axis=1)]
    inside = (truth >= 0) & (answer >= 0)
    counts = np.zeros((len(shown), len(shown)), int)
    np.add.at(counts, (truth[inside], answer[inside]), 1)
    return Confusion(
        [label_text(output.classes[c]) for c in shown],
        counts.tolist(),
        int((~inside).sum()),
    )


def frequent(target: Codes, classes: int, most: int) -> list[int]:
    """Return the most frequent classes, in their own order."""
    counts = np.bincount(target, minlength=classes)
    chosen = np.argsort(-counts, kind="stable")[:most]
    return [int(c) for c in np.sort(chosen)]


def sides(output: Classification, target: Codes) -> list[int]:
    """Return the classes that get a line of their own: of two the second."""
    classes = len(output.classes)
    chosen = [1] if classes == 2 else frequent(target, classes, MOST_LINES)
    return [c for c in chosen if 0 < (target == c).sum() < len(target)]


def roc(output: Classification, P: Floats, target: Codes) -> list[Curve]:
    """Return the share of positives found against the share of false alarms."""
    found = []
    for c in sides(output, target):
        hits, taken, positives = _by_score(P[:, c], target == c)
        x = np.concatenate([[0.0], (taken - hits) / (len(target) - positives)])
        y = np.concatenate([[0.0], hits / positives])
        area = float(np.trapezoid(y, x))
        found.append(_curve(label_text(output.classes[c]), x, y, area))
    return found


def precision_recall(output: Classification, P: Floats, target: Codes) -> list[Curve]:
    """Return precision against recall; the area is the average precision."""
    found = []
    for c in sides(output, target):
        hits, taken, positives = _by_score(P[:, c], target == c)
        recall, precision = hits / positives, hits / taken
        area = float((np.diff(recall, prepend=0.0) * precision).sum())
        x = np.concatenate([[0.0], recall])
        y = np.concatenate([precision[:1], precision])
        found.append(_curve(label_text(output.classes[c]), x, y, area))
    return found


def _by_score(
    score: Floats, positive: NDArray[np.bool_]
) -> tuple[Floats, Floats, float]:
    """Return positives and rows at or above each score, and all positives."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores are one step
    hits: Floats = np.cumsum(positive[order])[last].astype(np.float64)
    taken: Floats = (np.flatnonzero(last) + 1).astype(np.float64)
    return hits, taken, float(positive.sum())


def _curve(name: str, x: Floats, y: Floats, area: float) -> Curve:
    """Keep as many points as can be seen."""
    n = len(x)
    kept = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int))
    return Curve(name, x[kept].round(4).tolist(), y[kept].round(4).tolist(), area)


def reliability(P: Floats, target: Codes) -> list[Bin]:
    """Return how often answers of about one confidence are right (as the ECE does)."""
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

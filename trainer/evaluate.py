"""How good a model is on rows it has not learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.output import Answer, Classification, Floats, Output

Codes = NDArray[np.intp]
#: Metric that is compared when one is enough: the smaller the better.
PRIMARY = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


ECE_BINS = 15


def metrics(output: Output, answer: Answer, target: NDArray[Any]) -> dict[str, float]:
    """Return the figures of an answer; `target` is class numbers or values (n,).

    A figure that the rows cannot give (R² of a constant, AUC of one class) is left out.
    """
    if isinstance(output, Classification):
        return classification(answer["probabilities"], target)
    return regression(answer["value"], target)


def classification(P: Floats, target: Codes) -> dict[str, float]:
    """Log loss, Brier, calibration, accuracy, macro F1 and AUC of P (n, C)."""
    chosen = P.argmax(axis=1)
    likelihood = np.maximum(P[np.arange(len(P)), target], np.finfo(float).tiny)
    found = {
        "log_loss": float(-np.log(likelihood).mean()),
        "brier": brier(P, target),
        "ece": expected_calibration_error(P, target),
        "accuracy": float((chosen == target).mean()),
        "macro_f1": _macro_f1(chosen, target, P.shape[1]),
    }
    present = np.unique(target)
    if len(present) > 1:
        sides = [1] if P.shape[1] == 2 else present.tolist()
        found["auc"] = float(np.mean([auc(P[:, c], target == c) for c in sides]))
    return found


def brier(P: Floats, target: Codes) -> float:
    """Return the mean squared distance of P from the truth (Brier 1950).

    Of two classes that of one side, as is usual; of more the sum over the classes.
    """
    distance = P.copy()
    distance[np.arange(len(P)), target] -= 1.0
    squares = distance**2
    return float((squares[:, 1] if P.shape[1] == 2 else squares.sum(axis=1)).mean())


def expected_calibration_error(P: Floats, target: Codes) -> float:
    """Return how far confidence is from accuracy, over 15 bins of confidence.

    Σ n_b / n |accuracy_b − confidence_b| of the likeliest class (Guo et al. 2017, arXiv
    1706.04599, equation 3).
    """
    confidence = P.max(axis=1)
    right = P.argmax(axis=1) == target
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right - confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(P))


def auc(score: Floats, positive: NDArray[np.bool_]) -> float:
    """Return how often a positive scores above a negative, ties counting half.

    From ranks (Mann and Whitney 1947); of several classes the mean of one against rest.
    """
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    rank_sum = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(rank_sum / (n_positive * n_negative))


def _macro_f1(chosen: Codes, target: Codes, classes: int) -> float:
    """Return the mean over classes seen or chosen of 2 TP / (2 TP + FP + FN)."""
    hits = np.bincount(target[chosen == target], minlength=classes)
    seen = np.bincount(target, minlength=classes)
    taken = np.bincount(chosen, minlength=classes)
    counted = (seen + taken) > 0
    return float((2 * hits[counted] / (seen + taken)[counted]).mean())


def regression(value: Floats, target: Floats) -> dict[str, float]:
    """Root mean squared error, mean absolute error and R²."""
    error = value - target
    found = {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.abs(error).mean()),
    }
    spread = float(np.sum((target - target.mean()) ** 2))
    if spread > 0:
        found["r2"] = 1.0 - float(np.sum(error**2)) / spread
    return found

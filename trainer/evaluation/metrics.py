"""How good a model is on rows it has not learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Output, Predictions

Codes = NDArray[np.intp]
#: Metric that is compared when one is enough: the smaller the better.
PRIMARY = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}


ECE_BINS = 15


def metrics(
    output: Output,
    answer: Predictions,
    target: NDArray[Any],
    weights: Floats | None = None,
) -> dict[str, float]:
    """Return the figures of an answer; `target` is class numbers or values (n,).

    With `weights` (n,) a row counts as much as that. A figure that the rows cannot give
    (R² of a constant, AUC of one class) is left out.
    """
    if output.classes:
        return classification(answer["probabilities"], target, weights)
    return regression(answer["value"], target, weights)


def classification(
    P: Floats, target: Codes, weights: Floats | None = None
) -> dict[str, float]:
    """Log loss, Brier, calibration, accuracy, macro F1 and AUC of P (n, C)."""
    chosen = P.argmax(axis=1)
    found = {
        "log_loss": _mean(_log_losses(P, target), weights),
        "brier": brier(P, target, weights),
        "ece": expected_calibration_error(P, target, weights),
        "accuracy": _mean(chosen == target, weights),
        "macro_f1": _macro_f1(chosen, target, P.shape[1], weights),
    }
    present = np.unique(target)
    if len(present) > 1:
        sides = [1] if P.shape[1] == 2 else present.tolist()
        areas = [auc(P[:, c], target == c, weights) for c in sides]
        found["auc"] = float(np.mean(areas))
    return found


def losses(output: Output, answer: Predictions, target: NDArray[Any]) -> Floats:
    """Return what each row adds to the primary figure (n,): -ln p, or error²."""
    if output.classes:
        return _log_losses(answer["probabilities"], target)
    return np.asarray((answer["value"] - target) ** 2)


def mean_loss(output: Output, losses: Floats, weights: Floats | None) -> float:
    """Return the primary figure from what each row adds to it."""
    mean = _mean(losses, weights)
    return mean if output.classes else float(np.sqrt(mean))


def _log_losses(P: Floats, target: Codes) -> Floats:
    likelihood = P[np.arange(len(P)), target]
    return -np.log(np.maximum(likelihood, np.finfo(float).tiny))


def _mean(values: NDArray[Any], weights: Floats | None) -> float:
    return float(np.average(values, weights=weights))


def brier(P: Floats, target: Codes, weights: Floats | None = None) -> float:
    """Return the mean squared distance of P from the truth (Brier 1950).

    Of two classes that of one side, as is usual; of more the sum over the classes.
    """
    distance = P.copy()
    distance[np.arange(len(P)), target] -= 1.0
    squares = distance**2
    return _mean(squares[:, 1] if P.shape[1] == 2 else squares.sum(axis=1), weights)


def expected_calibration_error(
    P: Floats, target: Codes, weights: Floats | None = None
) -> float:
    """Return how far confidence is from accuracy, over 15 bins of confidence.

    Σ n_b / n |accuracy_b − confidence_b| of the likeliest class (Guo et al. 2017, arXiv
    1706.04599, equation 3).
    """
    confidence = P.max(axis=1)
    off = (P.argmax(axis=1) == target) - confidence
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    if weights is not None:
        off = off * weights
    gaps = np.bincount(bins, off, ECE_BINS)
    return float(np.abs(gaps).sum() / (len(P) if weights is None else weights.sum()))


def auc(
    score: Floats, positive: NDArray[np.bool_], weights: Floats | None = None
) -> float:
    """Return how often a positive scores above a negative, ties counting half.

    Mann and Whitney 1947; of several classes the mean of one against rest.
    """
    weights = np.ones(len(score)) if weights is None else weights
    _, place = np.unique(score, return_inverse=True)
    negatives = np.bincount(place, weights * ~positive)
    below = np.cumsum(negatives) - negatives / 2
    above = np.sum(below[place] * weights * positive)
    return float(above / (negatives.sum() * np.sum(weights * positive)))


def _macro_f1(
    chosen: Codes, target: Codes, classes: int, weights: Floats | None
) -> float:
    """Return the mean over classes seen or chosen of 2 TP / (2 TP + FP + FN)."""
    hit = chosen == target
    hits = np.bincount(target[hit], None if weights is None else weights[hit], classes)
    seen = np.bincount(target, weights, classes)
    taken = np.bincount(chosen, weights, classes)
    counted = (seen + taken) > 0
    return float((2 * hits[counted] / (seen + taken)[counted]).mean())


def regression(
    value: Floats, target: Floats, weights: Floats | None = None
) -> dict[str, float]:
    """Root mean squared error, mean absolute error and R²."""
    error = value - target
    squared = _mean(error**2, weights)
    found = {"rmse": float(np.sqrt(squared)), "mae": _mean(np.abs(error), weights)}
    spread = _mean((target - _mean(target, weights)) ** 2, weights)
    if spread > 0:
        found["r2"] = 1.0 - squared / spread
    return found

"""Metrics of a model on rows that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Output, Predictions

Codes = NDArray[np.intp]
#: The metric that models are compared by; smaller is better.
PRIMARY = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}
ECE_BINS = 15


def described(
    name: str,
    value: float,
    intervals: Mapping[str, tuple[float, float]],
    baselines: Mapping[str, Mapping[str, float]],
) -> str:
    """Return a metric for people: its value, interval and baselines."""
    text = f"{value:.3g}"
    if name in intervals:
        low, high = intervals[name]
        text += f" ({low:.3g} to {high:.3g})"
    others = [
        f"{baseline} {figures[name]:.3g}"
        for baseline, figures in baselines.items()
        if name in figures
    ]
    return f"{text}; {', '.join(others)}" if others else text


def metrics(
    output: Output,
    answer: Predictions,
    target: NDArray[Any],
    weights: Floats | None = None,
) -> dict[str, float]:
    """Return the metrics of predictions; `target` (n,) are class numbers or values.

    `weights` has shape (n,). A metric that is not defined for the rows is left out: R²
    of a constant, and macro F1 and AUC if there is no row of some class.
    """
    if output.classes:
        return classification(answer["probabilities"], target, weights)
    figures = regression(answer["value"], target, weights)
    if "lower" in answer:
        inside = (answer["lower"] <= target) & (target <= answer["upper"])
        figures["coverage"] = _mean(inside, weights)
    return figures


def row_losses(
    output: Output, answer: Predictions, target: NDArray[Any]
) -> dict[str, Floats]:
    """Return the values (n,) of each row whose weighted means are metrics.

    The mean of those of `rmse` is its square.
    """
    if not output.classes:
        error = answer["value"] - target
        values = {"rmse": error**2, "mae": np.abs(error)}
        if "lower" in answer:
            inside = (answer["lower"] <= target) & (target <= answer["upper"])
            values["coverage"] = inside.astype(np.float64)
        return values
    P = answer["probabilities"]
    return {
        "log_loss": _log_losses(P, target),
        "brier": _squares(P, target),
        "accuracy": (P.argmax(axis=1) == target).astype(np.float64),
    }


def classification(
    P: Floats, target: Codes, weights: Floats | None = None
) -> dict[str, float]:
    """Return log loss, Brier, ECE, accuracy, macro F1 and AUC of P (n, C)."""
    others = _other_classification(P, target, weights)
    return {
        "log_loss": _mean(_log_losses(P, target), weights),
        "brier": brier(P, target, weights),
        "ece": others.pop("ece"),
        "accuracy": _mean(P.argmax(axis=1) == target, weights),
        **others,
    }


def other_metrics(
    output: Output,
    answer: Predictions,
    target: NDArray[Any],
    weights: Floats | None = None,
) -> dict[str, float]:
    """Return the metrics that are no mean over the rows, as `metrics` does.

    `target` (n,) are class numbers or values; `weights` has shape (n,).
    """
    if output.classes:
        return _other_classification(answer["probabilities"], target, weights)
    return _r2(answer["value"] - target, target, weights)


def _other_classification(
    P: Floats, target: Codes, weights: Floats | None
) -> dict[str, float]:
    """Return ECE, macro F1 and AUC of P (n, C)."""
    figures = {"ece": expected_calibration_error(P, target, weights)}
    classes = P.shape[1]
    if np.bincount(target, minlength=classes).all():
        chosen = P.argmax(axis=1)
        figures["macro_f1"] = _macro_f1(chosen, target, classes, weights)
        sides = [1] if classes == 2 else range(classes)
        areas = [auc(P[:, c], target == c, weights) for c in sides]
        figures["auc"] = float(np.mean(areas))
    return figures


def losses(output: Output, answer: Predictions, target: NDArray[Any]) -> Floats:
    """Return the loss of each row (n,): -ln p, or the squared error."""
    if output.classes:
        return _log_losses(answer["probabilities"], target)
    return np.asarray((answer["value"] - target) ** 2)


def mean_loss(output: Output, losses: Floats, weights: Floats | None) -> float:
    """Return the primary metric from the losses (n,) and weights (n,) of the rows."""
    mean = _mean(losses, weights)
    return mean if output.classes else float(np.sqrt(mean))


def _log_losses(P: Floats, target: Codes) -> Floats:
    likelihood = P[np.arange(len(P)), target]
    return -np.log(np.maximum(likelihood, np.finfo(float).tiny))


def _mean(values: NDArray[Any], weights: Floats | None) -> float:
    return float(np.average(values, weights=weights))


def brier(P: Floats, target: Codes, weights: Floats | None = None) -> float:
    """Return the mean squared distance of P (n, C) from the target (Brier 1950).

    With two classes only the second is used, as is usual; else all are summed.
    """
    return _mean(_squares(P, target), weights)


def _squares(P: Floats, target: Codes) -> Floats:
    distance = P.copy()
    distance[np.arange(len(P)), target] -= 1.0
    squares: Floats = distance**2
    return squares[:, 1] if P.shape[1] == 2 else squares.sum(axis=1)


def expected_calibration_error(
    P: Floats, target: Codes, weights: Floats | None = None
) -> float:
    """Return the mean gap of confidence and accuracy, over 15 bins of confidence.

    Σ n_b / n |accuracy_b − confidence_b| of the likeliest class of P (n, C) (Guo et al.
    2017, arXiv 1706.04599, equation 3).
    """
    confidence = P.max(axis=1)
    gap = (P.argmax(axis=1) == target) - confidence
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    if weights is not None:
        gap = gap * weights
    gaps = np.bincount(bins, gap, ECE_BINS)
    return float(np.abs(gaps).sum() / (len(P) if weights is None else weights.sum()))


def auc(
    score: Floats, positive: NDArray[np.bool_], weights: Floats | None = None
) -> float:
    """Return how often a positive scores above a negative; a tie counts half.

    `score`, `positive` and `weights` have shape (n,) (Mann and Whitney 1947).
    """
    weights = np.ones(len(score)) if weights is None else weights
    _, rank = np.unique(score, return_inverse=True)
    negatives = np.bincount(rank, weights * ~positive)
    below = np.cumsum(negatives) - negatives / 2
    above = np.sum(below[rank] * weights * positive)
    return float(above / (negatives.sum() * np.sum(weights * positive)))


def _macro_f1(
    chosen: Codes, target: Codes, classes: int, weights: Floats | None
) -> float:
    """Return the mean of 2 TP / (2 TP + FP + FN) over classes, all in the target."""
    hit = chosen == target
    hits = np.bincount(target[hit], None if weights is None else weights[hit], classes)
    seen = np.bincount(target, weights, classes)
    taken = np.bincount(chosen, weights, classes)
    return float((2 * hits / (seen + taken)).mean())


def regression(
    value: Floats, target: Floats, weights: Floats | None = None
) -> dict[str, float]:
    """Return root mean squared error, mean absolute error and R² of values (n,)."""
    error = value - target
    return {
        "rmse": float(np.sqrt(_mean(error**2, weights))),
        "mae": _mean(np.abs(error), weights),
        **_r2(error, target, weights),
    }


def _r2(error: Floats, target: Floats, weights: Floats | None) -> dict[str, float]:
    """Return R² of errors (n,), if the target is not constant."""
    spread = _mean((target - _mean(target, weights)) ** 2, weights)
    return {"r2": 1.0 - _mean(error**2, weights) / spread} if spread > 0 else {}

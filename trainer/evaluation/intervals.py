"""A 95 % confidence interval of every metric of one model.

Means of losses get a studentized bootstrap on a logarithmic scale (Hall 1992, "The
bootstrap and Edgeworth expansion"), which covers skewed losses of few rows better than
plain quantiles; the accuracy gets Wilson's interval; the others the quantiles of a
bootstrap. It draws clusters of rows that belong together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Output, Predictions
from trainer.evaluation.bootstrap import DRAWS, LEVEL, cluster_sums, draws
from trainer.evaluation.metrics import metrics, other_metrics, row_losses

#: The normal quantile of LEVEL.
Z = 1.959964
#: Values that the quantiles of a metric may cost: rows x classes x draws.
MAX_COST = 20_000_000
MIN_DRAWS = 60
#: The rounding error of squares that cancel out.
ROUNDING = 1e-12
Interval = tuple[float, float]
#: Metrics that are shares of the rows.
SHARES = ("accuracy", "coverage")


def intervals(
    output: Output,
    answer: Predictions,
    target: NDArray[Any],
    weights: Floats | None = None,
    clusters: NDArray[Any] | None = None,
) -> dict[str, Interval]:
    """Return the interval of every metric of predictions for n rows.

    `target` (n,) are class numbers or values; rows of equal `clusters` (n,) belong
    together. The same rows always give the same intervals.
    """
    figures = metrics(output, answer, target, weights)
    found: dict[str, Interval] = {}
    for name, losses in row_losses(output, answer, target).items():
        low, high = mean_interval(losses, weights, clusters, name in SHARES)
        if name == "rmse":
            low, high = float(np.sqrt(low)), float(np.sqrt(high))
        found[name] = low, high
    others = [name for name in figures if name not in found]
    found |= _quantiles(output, answer, target, weights, clusters, others)
    return {name: found[name] for name in figures if name in found}


def mean_interval(
    losses: Floats,
    weights: Floats | None,
    clusters: NDArray[Any] | None,
    share: bool = False,
) -> Interval:
    """Return the interval of the mean of losses (n,) of at least 0, or of a share."""
    rng = np.random.default_rng(0)
    sums = cluster_sums((losses,), weights, clusters, rng)
    count, loss = sums.T
    n, mean = len(sums), float(loss.sum() / count.sum())
    error = float(_standard_errors(sums, np.ones((1, n)))[0])
    if share:
        return _wilson(mean, error, n)
    if n < 2 or mean <= 0 or error == 0:
        return mean, mean
    statistics = []
    for drawn in draws(rng, n):
        again = _means(sums, drawn)
        deviation = _standard_errors(sums, drawn)
        sound = (again > 0) & (deviation > 0)
        again, deviation = again[sound], deviation[sound]
        statistics.append(np.log(again / mean) * again / deviation)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(np.concatenate(statistics), [tail, 1.0 - tail])
    with np.errstate(over="ignore"):
        ends = mean * np.exp(-np.array([high, low]) * (error / mean))
    # A few surprising rows can send an end to infinity: none lies beyond all rows.
    each = loss[count > 0] / count[count > 0]
    return float(max(ends[0], each.min())), float(min(ends[1], each.max()))


def _means(sums: Floats, drawn: Floats) -> Floats:
    """Return Σ l / Σ w (b,) over clusters (k, 2) drawn (b, k) times; 0 if undefined."""
    total, loss = (drawn @ sums).T
    means: Floats = np.divide(loss, total, out=np.zeros(len(drawn)), where=total > 0)
    return means


def _standard_errors(sums: Floats, drawn: Floats) -> Floats:
    """Return the standard errors (b,) of Σ l / Σ w over clusters (k, 2), drawn (b, k).

    By linearisation: the residuals are l - w m, for the mean m of the draw. Their
    squares follow from those of the mean of all clusters.
    """
    count, loss = sums.T
    centre = loss.sum() / count.sum()
    residuals = loss - count * centre
    moments = np.column_stack([residuals**2, residuals * count, count**2])
    shift = _means(sums, drawn) - centre
    squares, products, counts = (drawn @ moments).T
    variance = squares - 2.0 * shift * products + shift**2 * counts
    variance[variance < ROUNDING * squares] = 0.0  # of equal losses
    n, total = drawn.sum(axis=1), drawn @ count
    spread = np.sqrt(variance * n / np.maximum(n - 1.0, 1.0))
    errors: Floats = np.divide(spread, total, out=np.zeros(len(drawn)), where=total > 0)
    return errors


def _wilson(share: float, error: float, n: int) -> Interval:
    """Return Wilson's interval of a share (Wilson 1927).

    `n` clusters count as the number of independent rows with the same standard error.
    """
    rows = share * (1.0 - share) / error**2 if error > 0 else float(n)
    rows = max(min(rows, 1e12), 1.0)
    middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows)
    half *= np.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def _quantiles(
    output: Output,
    answer: Predictions,
    target: NDArray[Any],
    weights: Floats | None,
    clusters: NDArray[Any] | None,
    names: list[str],
) -> dict[str, Interval]:
    """Return the quantiles of the named metrics over bootstrap draws of clusters."""
    n = len(target)
    if not names or not n:
        return {}
    rng = np.random.default_rng(0)
    _, cluster = np.unique(
        np.arange(n) if clusters is None else clusters, return_inverse=True
    )
    k = int(cluster.max()) + 1
    most = MAX_COST // (n * max(len(output.classes), 1))
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(min(max(most, MIN_DRAWS), DRAWS // 4)):
        times = np.bincount(rng.integers(k, size=k), minlength=k)[cluster].astype(float)
        rows = np.flatnonzero(times)
        again = other_metrics(
            output,
            {name: values[rows] for name, values in answer.items()},
            target[rows],
            times[rows] if weights is None else times[rows] * weights[rows],
        )
        for name in names:
            if name in again:
                drawn[name].append(again[name])
    tail = (1.0 - LEVEL) / 2.0
    ends = {n: np.quantile(drawn[n], [tail, 1 - tail]) for n in names if drawn[n]}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

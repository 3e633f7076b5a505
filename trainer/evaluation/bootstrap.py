"""A confidence interval of the difference of two mean losses on the same rows.

The paired bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993,
chapter 13) draws rows with replacement, each with the losses of both models, and
computes the difference anew; the middle 95 % of a few thousand differences are the
interval. It draws clusters, the rows of a group or a single row, because rows that
belong together carry less information than independent ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats

LEVEL = 0.95
DRAWS = 2000
#: More clusters are merged at random before they are drawn: the variance of a mean
#: stays the same, and the time does not grow with the rows.
MAX_CLUSTERS = 2_000
#: Draws x clusters that are held at once.
MAX_COUNTS = 200_000


def interval(
    losses: tuple[Floats, Floats],
    weights: Floats | None = None,
    clusters: NDArray[Any] | None = None,
    root: bool = False,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return the ends of the interval of the first mean loss minus the second.

    `losses` are two arrays (n,), `weights` has shape (n,), and rows of equal `clusters`
    (n,) belong together. With `root` the means are replaced by their roots, as for
    RMSE. The same rows always give the same interval.
    """
    rng = np.random.default_rng(0)
    totals = cluster_sums(losses, weights, clusters, rng)
    n = len(totals)
    drawn = np.vstack([counts @ totals for counts in draws(rng, n)])
    drawn = drawn[drawn[:, 0] > 0]  # clusters of weight 0 have no mean
    means = drawn[:, 1:] / drawn[:, :1]
    if root:
        means = np.sqrt(means)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means[:, 0] - means[:, 1], [tail, 1.0 - tail])
    return float(low), float(high)


def draws(rng: np.random.Generator, n: int) -> Iterator[Floats]:
    """Yield how often each of n clusters is drawn, for DRAWS draws in blocks (b, n)."""
    block = max(1, MAX_COUNTS // n)
    for done in range(0, DRAWS, block):
        b = min(block, DRAWS - done)
        drawn = rng.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n)
        yield counts.astype(np.float64)


def cluster_sums(
    losses: Sequence[Floats],
    weights: Floats | None,
    clusters: NDArray[Any] | None,
    rng: np.random.Generator,
) -> Floats:
    """Return the weight and the L weighted losses of each cluster (k, 1 + L).

    `losses` are L arrays (n,), as are `weights` and `clusters`.
    """
    counts = np.ones(len(losses[0])) if weights is None else weights
    rows = np.column_stack([counts, *(counts * loss for loss in losses)])
    if clusters is None:
        clusters = np.arange(len(rows))
    _, cluster = np.unique(clusters, return_inverse=True)
    n = int(cluster.max()) + 1
    if n > MAX_CLUSTERS:
        cluster, n = (rng.permutation(n) % MAX_CLUSTERS)[cluster], MAX_CLUSTERS
    return np.column_stack([np.bincount(cluster, column, n) for column in rows.T])

"""How far chance may have moved the difference of two figures on the same rows.

The paired bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993,
chapter 13): rows are drawn again, with replacement, each with what both models lose on
it, and the difference is computed anew; the middle 95 % of a few thousand differences
are the interval. What is drawn are kin, all rows of a group or a single row: rows that
belong together say less than as many that do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats

LEVEL = 0.95
DRAWS = 2000
#: More kin than this are thrown together by chance before they are drawn: the spread
#: of a mean is the same, and the time does not grow with the rows.
MAX_CLUSTERS = 2_000


def interval(
    losses: tuple[Floats, Floats],
    weights: Floats | None = None,
    kin: NDArray[Any] | None = None,
    root: bool = False,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return the ends of the interval of the first's mean loss less the second's.

    `losses` are two (n,), `kin` (n,) says which rows belong together. With `root` it is
    of the roots of the means, as of RMSE. The same rows give the same interval.
    """
    rng = np.random.default_rng(0)
    totals = _totals(losses, weights, kin, rng)
    n = len(totals)
    drawn = np.empty((DRAWS, 3))
    for draw in drawn:
        draw[:] = np.bincount(rng.integers(n, size=n), minlength=n) @ totals
    drawn = drawn[drawn[:, 0] > 0]  # of light kin alone there is no mean
    means = drawn[:, 1:] / drawn[:, :1]
    if root:
        means = np.sqrt(means)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means[:, 0] - means[:, 1], [tail, 1.0 - tail])
    return float(low), float(high)


def _totals(
    losses: tuple[Floats, Floats],
    weights: Floats | None,
    kin: NDArray[Any] | None,
    rng: np.random.Generator,
) -> Floats:
    """Return weight and both weighted losses of each kin (k, 3)."""
    counts = np.ones(len(losses[0])) if weights is None else weights
    rows = np.column_stack([counts, *(counts * loss for loss in losses)])
    if kin is None:
        kin = np.arange(len(rows))
    _, place = np.unique(kin, return_inverse=True)
    n = int(place.max()) + 1
    if n > MAX_CLUSTERS:
        place, n = (rng.permutation(n) % MAX_CLUSTERS)[place], MAX_CLUSTERS
    return np.column_stack([np.bincount(place, column, n) for column in rows.T])

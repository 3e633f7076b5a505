"""Which rows train, which choose the epoch, and which are only measured on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]


class Split(NamedTuple):
    """Row numbers of each part, in ascending order; together every row once."""

    train: Rows
    validation: Rows
    test: Rows


def random_split(
    n: int,
    validation: float,
    test: float,
    rng: np.random.Generator,
    strata: NDArray[np.intp] | None = None,
) -> Split:
    """Divide n rows at random; with `strata` (one class a row) each class alike.

    Every class keeps at least one training row.
    """
    order = rng.permutation(n)
    if strata is None:
        groups = [order]
    else:
        classes = strata[order]
        groups = [order[classes == c] for c in np.unique(classes)]
    parts: tuple[list[Rows], list[Rows], list[Rows]] = ([], [], [])
    carried = np.zeros(2)
    for group in groups:
        # What rounding took from one class is given by the next: shares stay true.
        wanted = np.array([test, validation]) * len(group) + carried
        counts = np.floor(wanted + 0.5).astype(int)
        while counts.sum() >= len(group) and counts.any():
            counts[counts.argmax()] -= 1
        # But what a class could not give at all is not asked of the next.
        carried = np.clip(wanted - counts, -0.5, 0.5)
        n_test, n_held = counts[0], counts.sum()
        parts[0].append(group[n_held:])
        parts[1].append(group[n_test:n_held])
        parts[2].append(group[:n_test])
    return Split(*(np.sort(np.concatenate(part)) for part in parts))

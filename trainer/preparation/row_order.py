"""The order in which an epoch takes the training rows.

Up to WINDOW rows are shuffled as a whole. More are shuffled in blocks of consecutive
rows: the blocks are put in random order and divided into windows, and the rows of a
window are shuffled. So an epoch reads a file of rows (`encoded_rows`) in pieces that a
disk is quick at, and rows in memory are taken in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK, WINDOW = 1 << 8, 1 << 18


def shuffled(n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the numbers of n rows (n,) in a new order."""
    if n <= WINDOW:
        return rng.permutation(n)
    starts = rng.permutation(-(-n // BLOCK)) * BLOCK
    order, at = np.empty(n, np.intp), 0
    for first in range(0, len(starts), WINDOW // BLOCK):
        blocks = starts[first : first + WINDOW // BLOCK, None]
        rows = (blocks + np.arange(BLOCK)).ravel()
        rows = rng.permutation(rows[rows < n])
        order[at : at + len(rows)] = rows
        at += len(rows)
    return order

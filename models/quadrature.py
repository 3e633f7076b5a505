"""The slope along a path, summed so that it gives the change from end to end.

A path is cut into panels, and on each the integral of the slope is a weighted sum over
Gauss and Legendre's points. What the parts of a panel must sum to is known exactly: the
change of the function from its one end to the other. A panel that misses it is halved,
so that points gather where the function bends (Gander and Gautschi 2000, "Adaptive
quadrature, revisited"; there the measure is another rule, here it is the function).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.intp]

#: Points a panel; an odd number has one in the middle, where a panel is halved.
NODES = 5
#: How often a panel may be halved, and how many panels a path may have at once: one
#: bend is found wherever it is, and a path that bends everywhere still ends.
HALVINGS, MOST = 14, 256
#: How far a plain sum may be off, in units of the absolute sum of its parts.
TOLERANCE = 1e-3


class Panels(NamedTuple):
    """Pieces of paths: whose, where, and the function at both ends; each (p,)."""

    row: Rows
    start: Floats
    width: Floats
    left: Floats
    right: Floats

    def where(self, chosen: NDArray[np.bool_] | slice) -> Panels:
        """Return some of them."""
        return Panels._make(each[chosen] for each in self)

    def halves(self, middle: Floats) -> Panels:
        """Return twice as many, given the function in the middle of each."""
        half = self.width / 2.0
        return Panels(
            np.concatenate([self.row, self.row]),
            np.concatenate([self.start, self.start + half]),
            np.concatenate([half, half]),
            np.concatenate([self.left, middle]),
            np.concatenate([middle, self.right]),
        )


#: What the panels give: their parts (p, k), and the function in their middles (p,).
Rule: TypeAlias = Callable[[Panels], tuple[Floats, Floats]]


def points(nodes: int = NODES) -> tuple[Floats, Floats]:
    """Return Gauss and Legendre's points and weights on [0, 1]."""
    at, weights = np.polynomial.legendre.leggauss(nodes)
    return (at + 1.0) / 2.0, weights / 2.0


def integrate(rule: Rule, knots: Floats, dust: float) -> Floats:
    """Return parts (n, k) of n paths; those of a path sum to its change.

    `knots` (n, m) are the function at m even places from end to end. Two panels at
    least should lie between them: one alone may seem right by chance.

    The plain sum is right to `TOLERANCE` of the parts' size, or to `dust`, which is
    what the function itself is rounded to. The rest is shared out in proportion, so
    that no part moves by more than that, and one of 0 stays 0. A path that bends too
    often for the finest panels is returned as it is.
    """
    n, m = knots.shape[0], knots.shape[1] - 1
    change = knots[:, -1] - knots[:, 0]
    panels = Panels(
        np.repeat(np.arange(n), m),
        np.tile(np.arange(m) / m, n),
        np.full(n * m, 1.0 / m),
        knots[:, :-1].ravel(),
        knots[:, 1:].ravel(),
    )
    total: Floats | float = 0.0
    squares = np.zeros(n)
    for halving in range(HALVINGS + 1):
        parts, middle = rule(panels)
        row = panels.row
        missed = parts.sum(axis=1) - (panels.right - panels.left)
        found = _by_row(row, parts, n) + total
        room = TOLERANCE * np.abs(found).sum(axis=1) + dust
        # Many misses cancel, having no reason to agree. A few might by chance, and
        # then they are large one by one.
        close = np.abs(found.sum(axis=1) - change) <= room
        close &= np.bincount(row, missed**2, n) + squares <= (2.0 * room) ** 2
        good = close[row] | (np.abs(missed) <= room[row] / (2 * np.bincount(row)[row]))
        good |= ~np.isfinite(missed)  # halved, it would be no better
        halves = 2 * int((~good).sum())
        if not 0 < halves <= MOST * n or halving == HALVINGS:
            break
        total += _by_row(row[good], parts[good], n)
        squares += np.bincount(row[good], missed[good] ** 2, n)
        panels = panels.where(~good).halves(middle[~good])
    return _shared(found, change, dust)


def _by_row(row: Rows, parts: Floats, n: int) -> Floats:
    summed = np.zeros((n, parts.shape[1]))
    np.add.at(summed, row, parts)
    return summed


def _shared(parts: Floats, change: Floats, dust: float) -> Floats:
    """Let parts that nearly sum to the change do so, each moved in proportion."""
    size = np.abs(parts)
    whole = size.sum(axis=1)
    missed = change - parts.sum(axis=1)
    near = (whole > 0) & (np.abs(missed) <= TOLERANCE * whole + dust)
    share = np.divide(missed, whole, out=np.zeros_like(whole), where=near)
    parts += size * share[:, None]
    return parts

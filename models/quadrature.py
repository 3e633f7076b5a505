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
NODES = 9
#: How often a panel may be halved: at the finest there are 512 of them.
HALVINGS = 9


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


def integrate(rule: Rule, left: Floats, right: Floats, room: Floats) -> Floats:
    """Return parts (n, k) of n paths; those of a path sum to right - left (n,).

    `room` (n,) is how much a path may miss that by, summed over its panels, so that
    one panel's miss never hides another's. A path that bends too often for the finest
    panels is returned as good as they are.
    """
    n, room = len(left), room.copy()
    panels = Panels(np.arange(n), np.zeros(n), np.ones(n), left, right)
    total: Floats | None = None
    for halving in range(HALVINGS + 1):
        parts, middle = rule(panels)
        if total is None:
            total = np.zeros((n, parts.shape[1]))
        row = panels.row
        missed = np.abs(parts.sum(axis=1) - (panels.right - panels.left))
        good = np.bincount(row, missed, n)[row] <= room[row]
        # Else a panel may take its share of half of what the path may still miss.
        good |= missed <= room[row] / (2.0 * np.bincount(row)[row])
        good |= ~np.isfinite(missed)  # halved, it will be no better
        good |= halving == HALVINGS
        np.add.at(total, row[good], parts[good])
        room -= np.bincount(row[good], missed[good], n)
        if good.all():
            break
        panels = panels.where(~good).halves(middle[~good])
    assert total is not None
    return total

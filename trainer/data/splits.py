"""Which rows train, which choose the epoch, and which are only measured on.

Every row has a place on a circle, drawn from what stands in it and not from where it
stands in the file. A member of an ensemble measures on one window of the circle,
chooses its epoch on the next, and trains on the rest; the members' windows lie side by
side.

         test   validation
    ├──────────┼──────────┼───────────────── train ────────────────┤   member 1
    ─ train ──────────────├──────────┼──────────┼─── train ────────    member 2

So a row that is measured on tonight is measured on in every later run, however the
data has grown, a version in production has a member that never saw it, and two equal
rows are never on both sides.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.model import Raw

Rows = NDArray[np.intp]
Places = NDArray[np.float64]


class Split(NamedTuple):
    """Row numbers of each part, in ascending order; together every row once."""

    train: Rows
    validation: Rows
    test: Rows


def places(raw: Raw) -> Places:
    """Return the place of every row, in [0, 1), from its values."""
    columns: list[Any]
    if isinstance(raw, np.ndarray):
        columns = list(raw.reshape(len(raw), -1).T)
    else:
        columns = [raw[name] for name in sorted(raw)]
    n = len(columns[0])
    mixed = np.full(n, 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        mixed = _scramble(mixed ^ _bits(column))
    return mixed.astype(np.float64) / 2.0**64 % 1.0


def _bits(column: Any) -> NDArray[np.uint64]:
    if isinstance(column, np.ndarray):
        floats = column.astype(np.float64) + 0.0  # -0 is 0
        floats[np.isnan(floats)] = np.nan  # of many bit patterns one
        return np.ascontiguousarray(floats).view(np.uint64)
    codes: dict[str | None, int] = {}
    for text in column:
        if text not in codes:
            codes[text] = zlib.crc32(repr(text).encode())
    return np.array([codes[text] for text in column], np.uint64)


def _scramble(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all others (splitmix64; Steele et al. 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def windows(where: Places, members: int, validation: float, test: float) -> list[Split]:
    """Return the parts of every member."""
    return [window(where, m, members, validation, test) for m in range(members)]


def window(
    where: Places, member: int, members: int, validation: float, test: float
) -> Split:
    """Return the parts of one member, counted from 0."""
    turned = (where - member / members) % 1.0
    measured = turned < test
    chosen = ~measured & (turned < test + validation)
    return Split(*(np.flatnonzero(m) for m in (~measured & ~chosen, chosen, measured)))

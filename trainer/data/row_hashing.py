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
rows are never on both sides. Of rows in groups the place is drawn from the group alone.

Rows in time are divided on a line instead, alike for all members: the last are measured
on, those before choose the epoch.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import RawColumns

#: Where on its step a place stands that is spread: away from any window's end.
OFFSET = 0.382

Rows = NDArray[np.intp]
RowHashes = NDArray[np.float64]


class Split(NamedTuple):
    """Row numbers of each part, in ascending order; together every row once."""

    train: Rows
    validation: Rows
    test: Rows


def hash_rows(raw: RawColumns) -> RowHashes:
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


def count_occurrences(where: RowHashes) -> NDArray[np.float64]:
    """Number the rows of each place in their order, from 0."""
    order = np.argsort(where, kind="stable")
    ranked = where[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    counts = np.diff(starts, append=len(where))
    found = np.empty(len(where))
    found[order] = np.arange(len(where)) - np.repeat(starts, counts)
    return found


def rehash_duplicates(
    where: RowHashes, turn: NDArray[np.float64], salt: int
) -> RowHashes:
    """Return other places, by chance, where rows of one place had the same."""
    return hash_rows({"place": where, "turn": turn, "salt": np.full(len(where), salt)})


def windows(
    where: RowHashes, members: int, validation: float, test: float
) -> list[Split]:
    """Return the parts of every member."""
    return [window(where, m, members, validation, test) for m in range(members)]


def window(
    where: RowHashes, member: int, members: int, validation: float, test: float
) -> Split:
    """Return the parts of one member, counted from 0."""
    turned = (where - member / members) % 1.0
    measured = turned < test
    chosen = ~measured & (turned < test + validation)
    return Split(*(np.flatnonzero(m) for m in (~measured & ~chosen, chosen, measured)))


def spread(where: RowHashes, known: RowHashes) -> RowHashes:
    """Space places evenly, in the order of all that are known.

    Chance leaves no window of the circle empty only when there are many.
    """
    return (np.searchsorted(known, where) + OFFSET) / len(known) % 1.0


def by_time(moments: NDArray[np.float64], validation: float, test: float) -> Split:
    """Return the first rows, the next and the last; those of one moment together.

    Each part that is asked for holds a moment at least; ValueError with too few.
    """
    distinct, inverse, counts = np.unique(
        moments, return_inverse=True, return_counts=True
    )
    parts = 1 + (validation > 0) + (test > 0)
    if len(distinct) < parts:
        raise ValueError(f"{len(distinct)} different times for {parts} parts")
    before = np.concatenate([[0], np.cumsum(counts)])
    n, last = len(moments), len(distinct)
    # The end of a part is the moment nearest to its share, that leaves none empty.
    tested = last
    if test > 0:
        tested = _nearest(before, n * (1 - test), parts - 1, last - 1)
    chosen = tested
    if validation > 0:
        chosen = _nearest(before, n * (1 - test - validation), 1, tested - 1)
    trains, measured = inverse < chosen, inverse >= tested
    return Split(*(np.flatnonzero(m) for m in (trains, ~trains & ~measured, measured)))


def _nearest(before: NDArray[np.intp], wanted: float, low: int, high: int) -> int:
    """Return where in low..high the count of rows before comes nearest."""
    return low + int(np.abs(before[low : high + 1] - wanted).argmin())

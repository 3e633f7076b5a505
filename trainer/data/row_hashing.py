"""Splits rows by their hashes into training, validation and test rows.

The hash of a row is a number in [0, 1) computed from the row's values, not from its
position in the file. The rows with the lowest hashes are the test rows of all members
of an ensemble. The members share the other rows, and each takes another window of them
as its validation rows:

     test       validation
    ├─────┼────┼──────────┼────────────── train ──────────────┤   member 1
    ├─────┼─── train ─────────────┼──────────┼──── train ─────┤   member 2

So a test row stays a test row in every later run, however the data grow, and no member
learns it; and equal rows are always in one part. Rows in groups are hashed by their
group alone.

Rows in time are split by their time instead, the same for all members: the latest are
the test rows, and those before them the validation rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import RawColumns, length

RowNumbers = NDArray[np.intp]
RowHashes = NDArray[np.float64]


class Split(NamedTuple):
    """Row numbers of each part, in ascending order; every row is in one part."""

    train: RowNumbers
    validation: RowNumbers
    test: RowNumbers


def hash_rows(raw: RawColumns) -> RowHashes:
    """Return the hash (n,) in [0, 1) of every row, from its values."""
    columns: Iterable[Any]
    if isinstance(raw, np.ndarray):
        columns = raw.reshape(len(raw), -1).T
    else:
        columns = (raw[name] for name in sorted(raw))
    mixed = np.full(length(raw), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        mixed = _scramble(mixed ^ _bits(column))
    return mixed.astype(np.float64) / 2.0**64 % 1.0


def _bits(column: Any) -> NDArray[np.uint64]:
    """Return 64 bits for each value (n,)."""
    if isinstance(column, np.ndarray):
        floats = column.astype(np.float64) + 0.0  # -0 becomes 0
        floats[np.isnan(floats)] = np.nan  # one of the many bit patterns of NaN
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


def count_occurrences(hashes: RowHashes) -> NDArray[np.float64]:
    """Number the rows of equal hash (n,) in their order, from 0."""
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    counts = np.diff(starts, append=len(hashes))
    occurrence = np.empty(len(hashes))
    occurrence[order] = np.arange(len(hashes)) - np.repeat(starts, counts)
    return occurrence


def rehash_duplicates(
    hashes: RowHashes, occurrence: NDArray[np.float64], seed: int
) -> RowHashes:
    """Return new hashes (n,) that differ where equal rows shared one."""
    seeds = np.full(len(hashes), float(seed))
    return hash_rows(np.column_stack([hashes, seeds, occurrence]))


def limit_for_tests(hashes: RowHashes, share: float) -> float:
    """Return the limit below which a hash (n,) is that of a test row.

    It is the share of the test rows. It is higher if fewer than half as many different
    hashes lie below it, as may happen with few rows or groups.
    """
    if not share:
        return 0.0
    distinct = np.unique(hashes)
    fewest = max(1, int(share * len(distinct) / 2))
    limit = max(share, float(np.nextafter(distinct[fewest - 1], 2.0)))
    # Leave two hashes, for training and validation rows.
    return min(limit, float(distinct[-2])) if len(distinct) > 2 else limit


def rotating_splits(
    hashes: RowHashes, members: int, validation: float, limit: float
) -> list[Split]:
    """Return the split of every member: hashes (n,) below `limit` are test rows.

    `validation` is the share of the other hashes in a member's window, which never is
    empty. Without test rows all members have the window of the first, so that there
    are rows that no member learns.
    """
    tests = hashes < limit
    others = np.unique(hashes[~tests])
    ranks, n = np.searchsorted(others, hashes), len(others)
    width = min(max(1, round(validation * n)), n - 1) if validation else 0
    splits = []
    for member in range(members):
        start = round(member * n / members) if limit else 0
        validates = ~tests & ((ranks - start) % max(n, 1) < width)
        masks = (~tests & ~validates, validates, tests)
        splits.append(Split(*(np.flatnonzero(mask) for mask in masks)))
    return splits


def by_time(times: NDArray[np.float64], validation: float, test: float) -> Split:
    """Split rows by their times (n,): first train, then validate, then test.

    Rows of equal time are in one part, and no part with a share above 0 is empty.
    Raises ValueError if there are too few different times for that.
    """
    distinct, inverse, counts = np.unique(
        times, return_inverse=True, return_counts=True
    )
    parts = 1 + (validation > 0) + (test > 0)
    if len(distinct) < parts:
        raise ValueError(f"{len(distinct)} different times for {parts} parts")
    before = np.concatenate([[0], np.cumsum(counts)])
    n, last = len(times), len(distinct)
    # A part ends at the time nearest to its share that leaves no part empty.
    test_start = last
    if test > 0:
        test_start = _nearest(before, n * (1 - test), parts - 1, last - 1)
    validation_start = test_start
    if validation > 0:
        validation_start = _nearest(
            before, n * (1 - test - validation), 1, test_start - 1
        )
    trains, tests = inverse < validation_start, inverse >= test_start
    return Split(*(np.flatnonzero(m) for m in (trains, ~trains & ~tests, tests)))


def _nearest(before: NDArray[np.intp], wanted: float, low: int, high: int) -> int:
    """Return the index in low..high whose count of earlier rows is nearest."""
    return low + int(np.abs(before[low : high + 1] - wanted).argmin())

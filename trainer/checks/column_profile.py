"""Profiles a column: distinct values, their frequencies, what it tells of the target.

One sort of the column gives all of it. Rows are shuffled first, so that rows of equal
value are in random order and the neighbours of a row are the rows most like it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Values
from models.features.inputs import RawColumns

#: Most rows of a sample, and most values of a sample with many columns.
MAX_SAMPLE_ROWS, MAX_SAMPLE_VALUES = 100_000, 10_000_000
#: With fewer pairs of neighbours that would differ by chance there is no evidence.
MIN_EVIDENCE = 20


@dataclass(frozen=True)
class Profile:
    """The profile of one column over some rows; missing counts as one of the values.

    A column is `numbered` if it has consecutive whole numbers, one for each row of the
    data. `repeats` is the probability that two rows have the same value, `explains` the
    share of the target that the column alone explains. Columns of equal `content` are
    equal; those of equal `pattern` are equal if their values are renamed.
    """

    name: str
    kind: str
    rows: int
    missing: float
    distinct: int
    numbered: bool
    repeats: float
    explains: float
    content: bytes
    pattern: bytes


def columns(
    raw: RawColumns, kinds: dict[str, str]
) -> Iterator[tuple[str, str, Values]]:
    """Yield name, kind and values (n,) of every column; images have no columns."""
    if not isinstance(raw, np.ndarray):
        yield from ((name, kinds[name], raw[name]) for name in kinds)
    elif raw.ndim == 2:
        for index, values in enumerate(raw.T):
            yield f"x[:, {index}]", "numeric", np.asarray(values, float)


def sample(rows: NDArray[np.intp], n_columns: int) -> NDArray[np.intp]:
    """Return some of the row numbers (n,), in random order, the same every time."""
    limit = max(MAX_SAMPLE_VALUES // max(n_columns, 1), 1_000)
    shuffled = np.random.default_rng(0).permutation(rows)
    return shuffled[: min(MAX_SAMPLE_ROWS, limit)]


def values_at(values: Values, rows: NDArray[np.intp]) -> Values:
    """Return the values at the row numbers (n,)."""
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[i] for i in rows.tolist()]


class Target:
    """The target (n,) of some rows, and how much two rows differ by chance."""

    values: NDArray[Any]

    def __init__(self, values: NDArray[Any], is_class: bool) -> None:
        _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
        self.is_class = is_class
        if is_class:
            shares = counts / len(values)
            self.values = codes
            self.spread = 1.0 - float((shares**2).sum())
            #: Even perfectly sorted rows differ at the end of each class but the last.
            self.inevitable = len(counts) - 1
        else:
            # Ranks, so that a few large values do not dominate.
            self.values = (np.cumsum(counts) - (counts - 1) / 2)[codes]
            self.spread = 2.0 * float(self.values.var())
            self.inevitable = 0

    def explained(
        self, order: NDArray[np.intp], pairs: NDArray[np.bool_] | None
    ) -> float:
        """Return how much of the target a column explains, 0 to 1.

        `order` (n,) sorts the rows by the column. Neighbours differ only by the noise
        of the target, Σ (y_{i+1} − y_i)² / 2(n − 1) (Rice 1984, "Bandwidth choice for
        nonparametric regression"). Divided by the variance and subtracted from 1, this
        is the R² that a function of the column could reach, and for classes Goodman and
        Kruskal's tau. A neighbour is another row, so a column without information
        explains nothing, however many values it has. If the order of the values has no
        meaning, `pairs` (n - 1,) tells which neighbours have the same value.
        """
        values, n = self.values[order], len(order)
        steps = values[1:] - values[:-1]
        differ = (steps != 0).astype(float) if self.is_class else steps**2
        inevitable = self.inevitable
        if pairs is not None:
            differ, inevitable = differ[pairs], 0
        by_chance = self.spread * len(differ) - inevitable
        if 2 * len(differ) < n or by_chance < (
            MIN_EVIDENCE if self.is_class else 1e-12
        ):
            return 0.0
        return 1.0 - max(float(differ.sum()) - inevitable, 0.0) / by_chance


def profile(
    name: str, kind: str, values: Values, target: Target, n_total: int
) -> Profile:
    """Return the profile of a column, from some shuffled rows of `n_total`."""
    numbers, missing, texts = _numbers(values)
    n = len(numbers)
    order = np.argsort(numbers, kind="stable")
    ends = numbers[order][1:] != numbers[order][:-1]
    starts = np.concatenate([[0], np.flatnonzero(ends) + 1])
    counts = np.diff(starts, append=n)
    # Name each value by the first row that has it: equal columns get equal names.
    first = order[starts]
    named = np.empty(n, np.intp)
    named[order] = np.repeat(first, counts)
    pattern = _digest(named.tobytes())
    firsts = np.sort(first)
    if texts is None:
        names = numbers[firsts].tobytes()
    else:
        names = repr([texts[i] for i in firsts.tolist()]).encode()
    return Profile(
        name=name,
        kind=kind,
        rows=n,
        missing=float(missing.mean()),
        distinct=len(counts) - bool(missing.any()),
        numbered=kind == "numeric" and len(counts) == n and _dense(numbers, n_total),
        repeats=float((counts * (counts - 1.0)).sum()) / (n * (n - 1.0)),
        explains=target.explained(order, None if texts is None else ~ends),
        content=_digest(pattern + names),
        pattern=pattern,
    )


def _numbers(
    values: Values,
) -> tuple[NDArray[Any], NDArray[np.bool_], Sequence[str | None] | None]:
    """Return numbers (n,) that sort missing values last, which are missing, texts."""
    if isinstance(values, np.ndarray):
        missing = np.isnan(values)
        return np.where(missing, np.inf, values) + 0.0, missing, None
    codes: dict[str | None, int] = {}
    numbers = np.array([codes.setdefault(text, len(codes)) for text in values])
    missing = numbers == codes.get(None, -1)
    return np.where(missing, len(codes), numbers), missing, values


def _dense(numbers: NDArray[Any], n_total: int) -> bool:
    """Tell whether distinct numbers are whole and as dense as row numbers."""
    integral = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    return bool(integral and np.ptp(numbers) < 1.1 * n_total)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def natural_copies(profiles: Sequence[Profile], rows: int) -> float:
    """Return the share of rows that would have a copy if columns were independent.

    Categories often depend on one another (a street has one town), so only the column
    with the most values is counted. Images have no columns, and copies are not natural.
    """
    if not profiles:
        return 0.0
    numeric = [column.repeats for column in profiles if column.kind != "categorical"]
    categories = [column.repeats for column in profiles if column.kind == "categorical"]
    return min(1.0, rows * float(np.prod(numeric)) * min(categories, default=1.0))

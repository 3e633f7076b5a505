"""What one column is like: how many values, how often each, how much of the target.

All of it comes from one sort of the column. Rows are shuffled first, so that those of
equal value stand in a random order, and a column's neighbours in that order are the
rows most like one another.
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

#: Rows that are looked at, and values where there are many columns.
MOST_ROWS, MOST_VALUES = 100_000, 10_000_000
#: Neighbours that chance alone would tell apart, before any of it counts as evidence.
EVIDENCE = 20


@dataclass(frozen=True)
class Profile:
    """One column over some rows; a missing value counts as a value like others.

    `numbered` is a column of whole numbers that count on, one a row of the whole data.
    `repeats` is how likely two rows share their value, `explains` the share of the
    target that the column tells alone. Columns of equal `content` hold the same, those
    of equal `pattern` the same but for what the values are called.
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
    """Yield name, kind and values of every column; an image has none."""
    if not isinstance(raw, np.ndarray):
        yield from ((name, kinds[name], raw[name]) for name in kinds)
    elif raw.ndim == 2:
        for place, values in enumerate(raw.T):
            yield f"x[:, {place}]", "numeric", np.asarray(values, float)


def sample(rows: NDArray[np.intp], n_columns: int) -> NDArray[np.intp]:
    """Return some rows in a random order, always the same."""
    most = max(MOST_VALUES // max(n_columns, 1), 1_000)
    shuffled = np.random.default_rng(0).permutation(rows)
    return shuffled[: min(MOST_ROWS, most)]


def chosen(values: Values, rows: NDArray[np.intp]) -> Values:
    """Return the values of some rows."""
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[i] for i in rows.tolist()]


class Target:
    """The target of some rows, and how much two of them differ by chance."""

    values: NDArray[Any]

    def __init__(self, values: NDArray[Any], is_class: bool) -> None:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        self.is_class = is_class
        if is_class:
            shares = counts / len(values)
            self.values = place
            self.spread = 1.0 - float((shares**2).sum())
            #: However well they are sorted, each class but the last ends somewhere.
            self.inevitable = len(counts) - 1
        else:
            # Ranks, lest a few large values be all that counts.
            self.values = (np.cumsum(counts) - (counts - 1) / 2)[place]
            self.spread = 2.0 * float(self.values.var())
            self.inevitable = 0

    def explained(
        self, order: NDArray[np.intp], pairs: NDArray[np.bool_] | None
    ) -> float:
        """Return how much of the target neighbours of an order share, 0 to 1.

        Rows next to each other in a column have the target's own noise and nothing
        else between them, Σ (y_{i+1} − y_i)² / 2(n − 1) (Rice 1984, "Bandwidth choice
        for nonparametric regression"); divided by its variance and taken from 1 it is
        the R² that any function of the column could reach, and for classes Goodman and
        Kruskal's tau. A neighbour is another row, so chance explains nothing, however
        many values a column has. Of an order without meaning only `pairs` count.
        """
        values, n = self.values[order], len(order)
        apart = values[1:] - values[:-1]
        differ = (apart != 0).astype(float) if self.is_class else apart**2
        inevitable = self.inevitable
        if pairs is not None:
            differ, inevitable = differ[pairs], 0
        by_chance = self.spread * len(differ) - inevitable
        if 2 * len(differ) < n or by_chance < (EVIDENCE if self.is_class else 1e-12):
            return 0.0
        return 1.0 - max(float(differ.sum()) - inevitable, 0.0) / by_chance


def profile(name: str, kind: str, values: Values, target: Target, of: int) -> Profile:
    """Return what a column of shuffled rows is like, some of all `of` rows."""
    numbers, missing, texts = _numbers(values)
    n = len(numbers)
    order = np.argsort(numbers, kind="stable")
    ends = numbers[order][1:] != numbers[order][:-1]
    starts = np.concatenate([[0], np.flatnonzero(ends) + 1])
    counts = np.diff(starts, append=n)
    # Name each value by the first row it stands in: that is the same for twins.
    first = order[starts]
    named = np.empty(n, np.intp)
    named[order] = np.repeat(first, counts)
    pattern = _digest(named.tobytes())
    heard = np.sort(first)
    if texts is None:
        names = numbers[heard].tobytes()
    else:
        names = repr([texts[i] for i in heard.tolist()]).encode()
    return Profile(
        name=name,
        kind=kind,
        rows=n,
        missing=float(missing.mean()),
        distinct=len(counts) - bool(missing.any()),
        numbered=kind == "numeric" and len(counts) == n and _count_on(numbers, of),
        repeats=float((counts * (counts - 1.0)).sum()) / (n * (n - 1.0)),
        explains=target.explained(order, None if texts is None else ~ends),
        content=_digest(pattern + names),
        pattern=pattern,
    )


def _numbers(
    values: Values,
) -> tuple[NDArray[Any], NDArray[np.bool_], Sequence[str | None] | None]:
    """Return values as numbers that sort, missing last; which are missing; texts."""
    if isinstance(values, np.ndarray):
        missing = np.isnan(values)
        return np.where(missing, np.inf, values) + 0.0, missing, None
    codes: dict[str | None, int] = {}
    numbers = np.array([codes.setdefault(text, len(codes)) for text in values])
    missing = numbers == codes.get(None, -1)
    return np.where(missing, len(codes), numbers), missing, values


def _count_on(numbers: NDArray[Any], of: int) -> bool:
    """Tell whether different numbers are whole and lie as near as those of rows do."""
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    return bool(whole and np.ptp(numbers) < 1.1 * of)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def natural_copies(profiles: Sequence[Profile], rows: int) -> float:
    """Return the share of rows that would have a copy if columns went their own ways.

    Categories often go together (a street tells its town), so of those only the one of
    most values is counted. Images, which have no columns, have no copies by nature.
    """
    if not profiles:
        return 0.0
    free = [column.repeats for column in profiles if column.kind != "categorical"]
    tied = [column.repeats for column in profiles if column.kind == "categorical"]
    return min(1.0, rows * float(np.prod(free)) * min(tied, default=1.0))

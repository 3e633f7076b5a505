"""Distributions of values, as histograms or as shares of categories, and their PSI.

Numbers are counted in up to ten bins of equal share, categories by name. The trainer
counts training rows and the service counts requests with the same code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS = 10
#: The PSI tells this many categories apart; all others count as one.
MOST_CATEGORIES = 20
#: The largest PSI by chance alone at which a PSI is still given.
MAX_CHANCE_PSI = 0.05

#: Rows in each bin, with missing values last.
Counts: TypeAlias = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


class Histogram(
    msgspec.Struct,
    frozen=True,
    tag="bins",
    tag_field="kind",
    forbid_unknown_fields=True,
    dict=True,
):
    """Shares of `len(edges) + 1` bins, split at `edges`, and of missing values."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float

    def __post_init__(self) -> None:
        """Raise ValueError if edges and shares do not fit together."""
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError("a histogram needs one share more than it has edges")

    @classmethod
    def fit(cls, values: NDArray[np.floating[Any]]) -> Histogram:
        """Choose the bins from values (n,), NaN where one is missing, and count."""
        present = values[~np.isnan(values)]
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        # Edges are values that occur: an edge between two of them may add an empty bin.
        if len(present):
            inner = np.quantile(present, inner, method="higher")
        edges = np.unique(inner)
        empty = cls(tuple(edges.tolist()), (0.0,) * (len(edges) + 1), 0.0)
        *shares, missing = (empty.count(values) / max(len(values), 1)).tolist()
        return cls(empty.edges, tuple(shares), missing)

    @property
    def size(self) -> int:
        """Bins, including that of missing values."""
        return len(self.shares) + 1

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        # NaN sorts after every number, so a missing value comes after the last bin.
        return np.append(self.edges, np.nan)

    def bin_of(self, values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Return the bin (n,) of each value (n,); missing values are in the last."""
        return self._ends.searchsorted(values, side="right")

    def count(self, values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Return how many of the values (n,) are in each bin (size,), missing last."""
        return np.bincount(self.bin_of(values), minlength=self.size)

    def counts(self, rows: int) -> Counts:
        """Return the number of rows in each bin (size,), of `rows` in all."""
        return np.append(self.shares, self.missing) * rows


class Shares(
    msgspec.Struct,
    frozen=True,
    tag="categories",
    tag_field="kind",
    forbid_unknown_fields=True,
    dict=True,
):
    """Shares of named categories, of all others, and of missing values."""

    categories: tuple[str, ...]
    shares: tuple[float, ...]
    other: float
    missing: float

    def __post_init__(self) -> None:
        """Raise ValueError unless there is one share a category."""
        if len(self.shares) != len(self.categories):
            raise ValueError("there must be one share a category")

    @classmethod
    def fit(cls, categories: Sequence[str], values: Sequence[str | None]) -> Shares:
        """Count the named categories in n values, None where one is missing."""
        counts = Counter(values)
        total = max(len(values), 1)
        missing = counts.pop(None, 0)
        shares = tuple(counts.pop(name, 0) / total for name in categories)
        return cls(tuple(categories), shares, counts.total() / total, missing / total)

    @property
    def size(self) -> int:
        """Bins, including those of other categories and of missing values."""
        return len(self.shares) + 2

    @cached_property
    def _bins(self) -> dict[str | None, int]:
        bins: dict[str | None, int] = {c: i for i, c in enumerate(self.categories)}
        return {**bins, None: len(bins) + 1}

    def bin_of(self, values: Sequence[str | None]) -> NDArray[np.intp]:
        """Return the bin (n,) of each of n values; others and missing come last."""
        bins, other = self._bins, len(self.categories)
        numbers = (bins.get(value, other) for value in values)
        return np.fromiter(numbers, np.intp, len(values))

    def count(self, values: Sequence[str | None]) -> NDArray[np.intp]:
        """Return how many of n values are in each bin (size,)."""
        return np.bincount(self.bin_of(values), minlength=self.size)

    def counts(self, rows: int) -> Counts:
        """Return the number of rows in each bin (size,), of `rows` in all."""
        return np.array([*self.shares, self.other, self.missing]) * rows

    def folded(self, most: int) -> Shares:
        """Return the most frequent categories; the rest count as others."""
        indices = range(len(self.categories))
        ranked = sorted(indices, key=lambda i: self.shares[i], reverse=True)
        kept, rest = sorted(ranked[:most]), ranked[most:]
        return Shares(
            tuple(self.categories[i] for i in kept),
            tuple(self.shares[i] for i in kept),
            self.other + sum(self.shares[i] for i in rest),
            self.missing,
        )


def psi(ours: Counts, theirs: Counts) -> float | None:
    """Return the population stability index, Σ (p − q) ln(p / q), or None.

    Both count rows in the same bins (B,); half a row is added to each bin, so that the
    index is finite. By chance alone it is about (B − 1)(1/n + 1/m) for n and m rows. If
    that is above MAX_CHANCE_PSI, there are too few rows for an index.
    """
    counts = np.array([ours, theirs])
    counts = counts[:, counts.sum(axis=0) > 0]
    n, m = counts.sum(axis=1)
    bins = counts.shape[1]
    if not n or not m or (bins - 1) * (1 / n + 1 / m) > MAX_CHANCE_PSI:
        return None
    p, q = (counts + 0.5) / (counts.sum(axis=1, keepdims=True) + 0.5 * bins)
    return float(((p - q) * np.log(p / q)).sum())

"""What training saw of each input and answered: histograms to compare service with.

Numbers are counted in up to ten bins of equal share, categories by name. The counting
is here once, for the trainer that writes the reference and the service that compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeAlias, cast

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.features.columns import CategoricalColumn, Floats, Texts, Values
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text
from models.features.table import Columns, TableInput

BINS = 10
#: Categories told apart in an index; all others are one.
MOST_CATEGORIES = 20
#: What chance may make of a PSI that is worth a word.
CHANCE = 0.05

#: Rows in each bin, those whose value is missing last.
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
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError("a histogram needs one share more than it has edges")

    @classmethod
    def fit(cls, values: NDArray[np.floating[Any]]) -> Histogram:
        present = values[~np.isnan(values)]
        inner = np.linspace(0, 1, BINS + 1)[1:-1]
        # Edges are values that occur: one between two of a few makes an empty bin.
        if len(present):
            inner = np.quantile(present, inner, method="higher")
        edges = np.unique(inner)
        empty = cls(tuple(edges.tolist()), (0.0,) * (len(edges) + 1), 0.0)
        *shares, missing = (empty.count(values) / max(len(values), 1)).tolist()
        return cls(empty.edges, tuple(shares), missing)

    @property
    def size(self) -> int:
        """Bins, that of missing values included."""
        return len(self.shares) + 1

    @cached_property
    def _ends(self) -> NDArray[np.float64]:
        # NaN comes after every number, so a missing value after the last bin.
        return np.append(self.edges, np.nan)

    def place(self, values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Return the bin (n,) of each value; the last one is for missing values."""
        return self._ends.searchsorted(values, side="right")

    def count(self, values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
        """Return how many values fall in each bin, missing ones last."""
        return np.bincount(self.place(values), minlength=self.size)

    def counts(self, rows: int) -> Counts:
        """Return what `count` gave for the rows it was learnt from."""
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
        if len(self.shares) != len(self.categories):
            raise ValueError("there must be one share a category")

    @classmethod
    def fit(cls, categories: Sequence[str], values: Sequence[str | None]) -> Shares:
        counts = Counter(values)
        total = max(len(values), 1)
        missing = counts.pop(None, 0)
        shares = tuple(counts.pop(name, 0) / total for name in categories)
        return cls(tuple(categories), shares, counts.total() / total, missing / total)

    @property
    def size(self) -> int:
        """Bins, those of others and of missing values included."""
        return len(self.shares) + 2

    @cached_property
    def _places(self) -> dict[str | None, int]:
        places: dict[str | None, int] = {c: i for i, c in enumerate(self.categories)}
        return {**places, None: len(places) + 1}

    def place(self, values: Sequence[str | None]) -> NDArray[np.intp]:
        """Return the bin (n,) of each value; others, and missing ones, come last."""
        places, other = self._places, len(self.categories)
        found = (places.get(value, other) for value in values)
        return np.fromiter(found, np.intp, len(values))

    def count(self, values: Sequence[str | None]) -> NDArray[np.intp]:
        """Return how many values fall in each bin, others and missing ones last."""
        return np.bincount(self.place(values), minlength=self.size)

    def counts(self, rows: int) -> Counts:
        """Return what `count` gave for the rows it was learnt from."""
        return np.array([*self.shares, self.other, self.missing]) * rows

    def folded(self, most: int) -> Shares:
        """Return only the most frequent categories; what the rest had others have."""
        places = range(len(self.categories))
        ranked = sorted(places, key=lambda i: self.shares[i], reverse=True)
        kept, rest = sorted(ranked[:most]), ranked[most:]
        return Shares(
            tuple(self.categories[i] for i in kept),
            tuple(self.shares[i] for i in kept),
            self.other + sum(self.shares[i] for i in rest),
            self.missing,
        )


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training rows by input and by target, held-out answers by output; how many."""

    inputs: dict[str, Histogram | Shares]
    outputs: dict[str, Histogram | Shares]
    rows: Annotated[int, Meta(ge=0)]
    answered: Annotated[int, Meta(ge=0)]
    target: Histogram | Shares | None = None

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        raw: RawColumns,
        output: Output,
        answer: Predictions,
        target: NDArray[Any] | None = None,
    ) -> Reference:
        """Count raw training rows, answered rows, and class numbers or values."""
        answered = len(next(iter(answer.values())))
        columns = columns_of(inputs, raw)
        rows = len(next(iter(columns.values())))
        found = _inputs(inputs, columns), _outputs(output, answer)
        known = None if target is None else _target(output, target)
        return cls(*found, rows, answered, known)


def psi(ours: Counts, theirs: Counts) -> float | None:
    """Return the population stability index, Σ (p − q) ln(p / q), or None.

    Of rows counted in the same bins; half a row in each keeps it finite. Of B bins
    chance alone makes about (B − 1)(1/n + 1/m): where that is not small there are too
    few rows to tell.
    """
    found = np.array([ours, theirs])
    found = found[:, found.sum(axis=0) > 0]
    n, m = found.sum(axis=1)
    bins = found.shape[1]
    if not n or not m or (bins - 1) * (1 / n + 1 / m) > CHANCE:
        return None
    p, q = (found + 0.5) / (found.sum(axis=1, keepdims=True) + 0.5 * bins)
    return float(((p - q) * np.log(p / q)).sum())


def columns_of(inputs: Inputs, raw: RawColumns) -> Mapping[str, Values]:
    """Return raw rows by column, the rows of a tensor as their means."""
    if isinstance(inputs, TableInput):
        return cast(Columns, raw)
    # Of an image the mean says what a person would: lighter, darker, inverted.
    return {inputs.name: np.asarray(raw, float).reshape(len(raw), -1).mean(1)}


def _inputs(
    inputs: Inputs, columns: Mapping[str, Values]
) -> dict[str, Histogram | Shares]:
    counted: dict[str, Histogram | Shares] = {}
    by_name = inputs.by_name if isinstance(inputs, TableInput) else {}
    for name, values in columns.items():
        column = by_name.get(name)
        if isinstance(column, CategoricalColumn):
            counted[name] = Shares.fit(column.categories, cast(Texts, values))
        else:
            counted[name] = Histogram.fit(cast(Floats, values))
    return counted


def answers_of(output: Output, answer: Predictions) -> Values:
    """Return what answers are counted by: the value, or the label as it is spelled."""
    if isinstance(output, Classification):
        return [str(label) for label in answer["label"].tolist()]
    return cast(Floats, answer["value"])


def _target(output: Output, target: NDArray[Any]) -> Histogram | Shares:
    if isinstance(output, Classification):
        names = [label_text(label) for label in output.classes]
        return Shares.fit(names, [names[code] for code in target.tolist()])
    return Histogram.fit(target)


def _outputs(output: Output, answer: Predictions) -> dict[str, Histogram | Shares]:
    values = answers_of(output, answer)
    if isinstance(output, Classification):
        names = [str(label) for label in output.classes]
        return {"label": Shares.fit(names, cast(Texts, values))}
    return {"value": Histogram.fit(cast(Floats, values))}

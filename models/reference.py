"""What training saw of each input and answered: histograms to compare service with.

Numbers are counted in up to ten bins of equal share, categories by name. The counting
is here once, for the trainer that writes the reference and the service that compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.columns import CategoricalColumn, Floats, Texts
from models.model import Inputs, Raw
from models.output import Answer, Classification, Output
from models.table import Columns, TableInput

BINS = 10


class Histogram(
    msgspec.Struct,
    frozen=True,
    tag="bins",
    tag_field="kind",
    forbid_unknown_fields=True,
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
        counts, missing = empty.count(values)
        total = max(len(values), 1)
        return cls(empty.edges, tuple((counts / total).tolist()), missing / total)

    def count(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], int]:
        """Return how many values fall in each bin, and how many are missing."""
        present = values[~np.isnan(values)]
        bins = np.searchsorted(np.array(self.edges), present, side="right")
        counts = np.bincount(bins, minlength=len(self.shares)).astype(np.int64)
        return counts, len(values) - len(present)


class Shares(
    msgspec.Struct,
    frozen=True,
    tag="categories",
    tag_field="kind",
    forbid_unknown_fields=True,
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


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training rows by input, held-out answers by output."""

    inputs: dict[str, Histogram | Shares]
    outputs: dict[str, Histogram | Shares]

    @classmethod
    def fit(cls, inputs: Inputs, raw: Raw, output: Output, answer: Answer) -> Reference:
        """Count raw training rows and answered rows."""
        return cls(_inputs(inputs, raw), _outputs(output, answer))


def _inputs(inputs: Inputs, raw: Raw) -> dict[str, Histogram | Shares]:
    if not isinstance(inputs, TableInput):
        # Of an image the mean says what a person would: lighter, darker, inverted.
        return {
            "x": Histogram.fit(np.asarray(raw, float).reshape(len(raw), -1).mean(1))
        }
    counted: dict[str, Histogram | Shares] = {}
    for column in inputs.columns:
        values = cast(Columns, raw)[column.name]
        if isinstance(column, CategoricalColumn):
            texts = cast(Texts, values)
            counted[column.name] = Shares.fit(column.categories, texts)
        else:
            counted[column.name] = Histogram.fit(cast(Floats, values))
    return counted


def _outputs(output: Output, answer: Answer) -> dict[str, Histogram | Shares]:
    if isinstance(output, Classification):
        names = [str(label) for label in output.classes]
        return {"label": Shares.fit(names, [str(x) for x in answer["label"].tolist()])}
    return {"value": Histogram.fit(answer["value"])}

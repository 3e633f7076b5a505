"""The table signature: named columns in, one float32 matrix out.

The same code encodes in training and in serving. A row of the matrix is

    [ quantities | other scaled numbers | 1 where missing | categories | codes ]

Scaled numbers pass a smooth clip, f(z) = z / sqrt(1 + (z/3)^2), so that no outlier,
however far, leaves the range the network was trained in (RealMLP, arXiv 2407.04491,
section 3). A missing number is 0 there: the median.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    Floats,
    NumericColumn,
    Texts,
    Values,
)
from models.types import Array

#: Raw values by column name, all of one length.
Columns: TypeAlias = Mapping[str, Values]

CLIP = 3.0
#: Keeps (x - center) * scale finite before it is clipped.
FAR = 1e100


class Layout(NamedTuple):
    """Quantities, other features, and the sizes of the categories that are codes."""

    numeric: int
    other: int
    categories: tuple[int, ...]


class TableInput(
    msgspec.Struct,
    tag="table",
    tag_field="kind",
    forbid_unknown_fields=True,
    dict=True,
):
    """The columns, in signature order."""

    columns: tuple[AnyColumn, ...]

    name: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        self.by_name = {column.name: column for column in self.columns}
        numeric = [c for c in self.columns if not isinstance(c, CategoricalColumn)]
        self._numeric = numeric
        features = [
            (scaling, place == 0 and not isinstance(column, BooleanColumn), column.name)
            for column in numeric
            for place, scaling in enumerate(column.scalings)
        ]
        # What has a size and not only a side stands first: it gets curves of its own.
        self._order = sorted(range(len(features)), key=lambda i: not features[i][1])
        features = [features[i] for i in self._order]
        self._quantities = sum(quantity for _, quantity, _ in features)
        self._sources = [name for _, _, name in features]
        self._center = np.array([scaling.center for scaling, _, _ in features])
        self._scale = np.array([scaling.scale for scaling, _, _ in features])
        self._flagged = [c for c in numeric if c.nullable and c.scalings]
        categorical = [
            c for c in self.columns if isinstance(c, CategoricalColumn) and c.width
        ]
        self._categorical = sorted(categorical, key=lambda c: c.embedded)
        self._codes: list[dict[str | None, int]] = [
            {text: code for code, text in enumerate(c.categories)}
            for c in self._categorical
        ]

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return (
            len(self._center)
            + len(self._flagged)
            + sum(column.width for column in self._categorical)
        )

    @property
    def layout(self) -> Layout:
        """How the inputs of the network divide."""
        codes = [len(c.categories) for c in self._categorical if c.embedded]
        plain = self.width - self._quantities - len(codes)
        return Layout(self._quantities, plain, tuple(codes))

    def feature_names(self) -> list[str]:
        """Return the column each input of the network comes from, in order."""
        names = self._sources + [c.name for c in self._flagged]
        return names + [c.name for c in self._categorical for _ in range(c.width)]

    def encode(self, columns: Columns) -> Array:
        """Return (n, width) float32 for raw columns of n rows each."""
        n = len(next(iter(columns.values())))
        out = np.zeros((n, self.width), np.float32)
        at = len(self._center)
        if at:
            self._encode_numbers(columns, out[:, :at])
        for flagged in self._flagged:
            out[:, at] = np.isnan(cast(Floats, columns[flagged.name]))
            at += 1
        rows = np.arange(n)
        for column, codes in zip(self._categorical, self._codes, strict=True):
            texts = cast(Texts, columns[column.name])
            code = np.fromiter((codes.get(text, -1) for text in texts), np.intp, n)
            known = code >= 0
            if column.embedded:
                out[:, at] = code
            elif column.width == 1:
                out[known, at] = 2.0 * code[known] - 1.0
            else:
                out[rows[known], at + code[known]] = 1.0
            at += column.width
        return out

    def _encode_numbers(self, columns: Columns, out: Array) -> None:
        raw: list[Floats] = []
        for column in self._numeric:
            raw += column.features(np.asarray(columns[column.name], np.float64))
        with np.errstate(over="ignore"):
            Z = np.stack([raw[i] for i in self._order], axis=1)
            Z -= self._center
            Z *= self._scale
        np.clip(Z, -FAR, FAR, out=Z)
        Z /= np.hypot(1.0, Z / CLIP)
        np.copyto(out, Z, casting="same_kind")
        out[np.isnan(out)] = 0.0


def fit_column(name: str, kind: str, values: Values) -> AnyColumn:
    """Learn one column of the named kind from its training values."""
    if kind == "categorical":
        return CategoricalColumn.fit(name, cast(Texts, values))
    kinds: dict[str, type[NumericColumn | BooleanColumn | DatetimeColumn]] = {
        "numeric": NumericColumn,
        "boolean": BooleanColumn,
        "datetime": DatetimeColumn,
    }
    floats: NDArray[np.float64] = np.asarray(values, np.float64)
    return kinds[kind].fit(name, floats)

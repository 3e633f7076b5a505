"""The table signature: named columns in, one float32 matrix out.

Training and serving encode with the same code. A row of the matrix is

    [ quantities | other scaled numbers | 1 where missing | categories | codes ]

Scaled numbers pass a smooth clip, f(z) = z / sqrt(1 + (z/3)^2), so that no outlier
leaves the range that the network was trained in (RealMLP, arXiv 2407.04491, section 3).
A missing number is 0 there: the median.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.columns import (
    COLUMN_KINDS,
    AnyColumn,
    CategoricalColumn,
    Floats,
    Texts,
    Values,
)
from models.features.histograms import Histogram, Shares
from models.features.stored_columns import StoredColumns
from models.types import Array

#: Raw values by column name, all of one length.
Columns: TypeAlias = Mapping[str, Values]

CLIP = 3.0
#: Keeps (x - center) * scale finite before it is clipped.
MAX_SCALED = 1e100


class Layout(NamedTuple):
    """The number of quantities, of other inputs, and of the categories of each code."""

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
    is_table: ClassVar[bool] = True
    is_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError if two columns have the same name."""
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        self.by_name = {column.name: column for column in self.columns}
        numeric = [c for c in self.columns if not c.is_text]
        self._numeric = numeric
        features = [
            (scaling, index == 0 and column.is_quantity, column.name)
            for column in numeric
            for index, scaling in enumerate(column.scalings)
        ]
        # Quantities come first: they get learned curves.
        self._order = sorted(range(len(features)), key=lambda i: not features[i][1])
        features = [features[i] for i in self._order]
        self._quantities = sum(quantity for _, quantity, _ in features)
        self._sources = [name for _, _, name in features]
        self._center = np.array([scaling.center for scaling, _, _ in features])
        self._scale = np.array([scaling.scale for scaling, _, _ in features])
        self._flagged = [c for c in numeric if c.nullable and c.scalings]
        texts = cast(list[CategoricalColumn], [c for c in self.columns if c.is_text])
        self._categorical = sorted(
            (c for c in texts if c.width), key=lambda c: c.embedded
        )
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
        """How many inputs of the network are quantities, others and codes."""
        codes = [len(c.categories) for c in self._categorical if c.embedded]
        other = self.width - self._quantities - len(codes)
        return Layout(self._quantities, other, tuple(codes))

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column, by its name."""
        return {column.name: column.kind for column in self.columns}

    @property
    def row_form(self) -> str:
        """The form of a row, for messages."""
        return "columns of a table"

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Datatype and shape, without the batch, of every input."""
        return {column.name: (column.datatype, ()) for column in self.columns}

    @property
    def histograms(self) -> dict[str, type[Histogram] | type[Shares]]:
        """How each input is counted for drift."""
        return {column.name: column.histogram for column in self.columns}

    @property
    def notes(self) -> list[str]:
        """A sentence for each column whose encoding drops values."""
        return [f"column '{c.name}': {c.note}" for c in self.columns if c.note]

    @property
    def constants(self) -> list[str]:
        """The columns that did not vary in training, and are not used."""
        used = set(self.feature_names())
        return [name for name in self.by_name if name not in used]

    @property
    def explained(self) -> list[str]:
        """The names of what attributions are given for."""
        return list(self.by_name)

    def feature_names(self) -> list[str]:
        """Return the column that each input of the network comes from, in order."""
        names = self._sources + [c.name for c in self._flagged]
        return names + [c.name for c in self._categorical for _ in range(c.width)]

    def explained_by(self) -> list[int]:
        """Return the number in `explained` of each input of the network."""
        numbers = {name: number for number, name in enumerate(self.by_name)}
        return [numbers[name] for name in self.feature_names()]

    def by_explained(self, attributions: Floats) -> list[Any]:
        """Return attributions (n, columns) as objects by column name."""
        names = self.explained
        return [dict(zip(names, row, strict=True)) for row in attributions.tolist()]

    def select(self, raw: Any) -> Any:
        """Return the columns of the signature, in its order; an array as it is."""
        if isinstance(raw, np.ndarray):
            return raw
        if isinstance(raw, StoredColumns):
            return raw.only(self.by_name)
        return {name: raw[name] for name in self.by_name}

    def by_input(self, raw: Any) -> Columns:
        """Return the n values to count of each input: raw rows themselves."""
        columns: Columns = raw
        return columns

    def count(self, raw: Any) -> dict[str, Histogram | Shares]:
        """Return the distribution of each column of n raw rows."""
        return {name: self.by_name[name].count(raw[name]) for name in raw}

    def doubts(self, raw: Any) -> Iterator[tuple[str, NDArray[np.bool_], str]]:
        """Yield column, which of n raw rows (n,) are unlike training's, and why."""
        for column in self.columns:
            for is_unlike, reason in column.doubts(raw[column.name]):
                yield column.name, is_unlike, reason

    def unknown(self, raw: Any) -> Iterator[tuple[str, int]]:
        """Yield the columns that have texts which are no categories, and how many."""
        for column, codes in zip(self._categorical, self._codes, strict=True):
            texts = raw[column.name]
            unknown = [t for t in texts if t not in codes and t is not None]
            if unknown:
                yield column.name, len(unknown)

    def baseline(self, seen: Mapping[str, Histogram | Shares]) -> Columns:
        """Return a typical raw row, from the distributions of training rows."""
        return {c.name: c.typical(seen.get(c.name)) for c in self.columns}

    def to_json(self, raw: Any, rows: slice = slice(None)) -> list[Any]:
        """Return the chosen raw rows as JSON objects by column name.

        A missing value is None; nullable columns are written too.
        """
        columns = {c.name: c.to_json(raw[c.name][rows]) for c in self.columns}
        return [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]

    def encode(self, columns: Columns) -> Array:
        """Return (n, width) float32 for raw columns of n rows each."""
        n = len(next(iter(columns.values())))
        out = np.zeros((n, self.width), np.float32)
        at = len(self._center)
        numbers = {
            column.name: column.without_marks(
                np.asarray(columns[column.name], np.float64)
            )
            for column in self._numeric
        }
        if at:
            self._encode_numbers(numbers, out[:, :at])
        for flagged in self._flagged:
            out[:, at] = np.isnan(numbers[flagged.name])
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

    def _encode_numbers(self, numbers: Mapping[str, Floats], out: Array) -> None:
        raw: list[Floats] = []
        for column in self._numeric:
            raw += column.features(numbers[column.name])
        with np.errstate(over="ignore"):
            Z = np.stack([raw[i] for i in self._order], axis=1)
            Z -= self._center
            Z *= self._scale
        np.clip(Z, -MAX_SCALED, MAX_SCALED, out=Z)
        Z /= np.hypot(1.0, Z / CLIP)
        np.copyto(out, Z, casting="same_kind")
        out[np.isnan(out)] = 0.0


def fit_column(
    name: str, kind: str, values: Values, spelling: Mapping[str, Any] | None = None
) -> AnyColumn:
    """Fit one column of the named kind to its raw training values (n,).

    `spelling` holds its format and marks, where it has any.
    """
    column = COLUMN_KINDS[kind].fit(name, values)
    return msgspec.structs.replace(column, **spelling) if spelling else column

"""Rows and columns of a table, from JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from models.codecs.datatypes import Misfit, as_array, element, from_bytes, require
from models.codecs.json import Json, located, opening, parse, plain
from models.errors import InvalidInput, nearest
from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    Floats,
    NumericColumn,
    Values,
    seconds,
)
from models.features.table import Columns, TableInput

_TYPES: dict[type, Any] = {
    NumericColumn: float | None,
    BooleanColumn: bool | None,
    DatetimeColumn: str | None,
    CategoricalColumn: str | None,
}
_ROWS = msgspec.json.Decoder(list[Any])
#: What msgspec takes in no field's name, since it would have to escape it.
_ODD = re.compile(r'["\\\x00-\x1f]')


class TableDecoder:
    """Decodes rows and columns of one table signature."""

    def __init__(self, table: TableInput) -> None:
        self.table = table
        self.columns = table.columns
        self.names = [column.name for column in table.columns]
        types = [_TYPES[type(column)] for column in self.columns]
        fields = [f"c{i}" for i in range(len(types))]
        # A column of an odd name is decoded under another, of the private use area.
        self._alias = {
            name: f"\ue000{i}" for i, name in enumerate(self.names) if _ODD.search(name)
        }
        self._own_name = {alias: name for name, alias in self._alias.items()}
        optional = [
            (field, kind, None) if column.nullable else (field, kind)
            for field, kind, column in zip(fields, types, self.columns, strict=True)
        ]
        by_name = msgspec.defstruct(
            "Row",
            # A field with a default may not stand before one without.
            sorted(optional, key=len),
            rename={
                field: self._alias.get(name, name)
                for name, field in zip(self.names, fields, strict=True)
            },
            forbid_unknown_fields=True,
            gc=False,
        )
        self._order = np.argsort([int(f[1:]) for f in by_name.__struct_fields__])
        in_order = msgspec.defstruct(
            "ListRow",
            list(zip(fields, types, strict=True)),
            array_like=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        self._objects = msgspec.json.Decoder(list[by_name])  # type: ignore[valid-type]
        self._lists = msgspec.json.Decoder(list[in_order])  # type: ignore[valid-type]
        scalar = types[0] if len(types) == 1 else Any
        self._scalars = msgspec.json.Decoder(list[scalar])  # type: ignore[valid-type]
        self._one: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
            for name, kind in zip(self.names, types, strict=True)
        }
        self._raw_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
        self._raw_columns = msgspec.json.Decoder(dict[str, msgspec.Raw])

    @property
    def types(self) -> list[Any]:
        """What `rows` decodes by: objects, lists, and of one column bare values."""
        forms = [self._objects, self._lists, self._scalars]
        return [form.type for form in forms[: 3 if len(self.columns) == 1 else 2]]

    def rows(self, raw: Json) -> Columns:
        """Decode a list of rows: objects by name, lists in order, or bare values."""
        shape = opening(raw)
        if shape == "[{":
            rows = self._decode(self._objects, self._renamed(raw))
            values: list[Any] = list(
                zip(*map(msgspec.structs.astuple, rows), strict=True)
            )
            values = [values[i] for i in self._order]
        elif shape[:2] == "[[":
            rows = self._decode(self._lists, raw)
            values = list(zip(*map(msgspec.structs.astuple, rows), strict=True))
        elif len(self.columns) == 1:
            values = [self._decode(self._scalars, raw)]
        elif shape == "[" and not self._decode(self._scalars, raw):
            values = []
        else:
            raise InvalidInput(
                f"expected a list of rows, each an object or a list of "
                f"{len(self.columns)} values"
            )
        if not values or not values[0]:
            raise InvalidInput("expected at least one row, found an empty list")
        return {
            column.name: raw_values(column, v)
            for column, v in zip(self.columns, values, strict=True)
        }

    def by_column(self, raw: Json) -> Columns:
        """Decode an object of lists; a one-column table takes the bare list too."""
        if len(self.columns) == 1 and opening(raw)[:1] == "[":
            return self.assemble({self.names[0]: self.column(self.names[0], raw)})
        try:
            lists = parse(self._raw_columns, raw)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"columns: {plain(error)}") from None
        return self.assemble({name: self.column(name, v) for name, v in lists.items()})

    def column(self, name: str, raw: Json) -> Values:
        """Decode the list of one column's values, flat or with one value a row."""
        decoder = self._one.get(name)
        if decoder is None:
            raise InvalidInput(self.unknown(name))
        return raw_values(self.table.by_name[name], _one_column(decoder, name, raw))

    def column_of(
        self, name: str, data: Json | memoryview, shape: Sequence[int], datatype: str
    ) -> Values:
        """Read a column given as a tensor (n) or (n, 1), in JSON or (a view) in bytes.

        Numbers take the values of their datatype, so that both say the same; of bytes
        NaN is a missing number.
        """
        column = self.table.by_name.get(name)
        if column is None:
            raise InvalidInput(self.unknown(name))
        stated = f"input '{name}': shape {list(shape[:8])}"
        if tuple(shape[1:]) not in ((), (1,)) or not shape or shape[0] < 0:
            raise InvalidInput(f"{stated} is not a column's, expected [n] or [n, 1]")
        try:
            require(datatype, column.datatype)
            if isinstance(data, memoryview):
                elements: Any = from_bytes(data, datatype, shape[0])
            else:
                elements = _one_column(_optional(datatype), name, data)
                if len(elements) != shape[0]:
                    raise InvalidInput(
                        f"{stated} does not go with {len(elements)} values, expected "
                        f"[{len(elements)}]"
                    )
            if datatype == "BYTES":
                return raw_values(column, elements)
            return _numbers(elements, datatype)
        except Misfit as misfit:
            where = (
                "input" if misfit.element is None else f"row {misfit.element}, column"
            )
            raise InvalidInput(f"{where} '{name}': {misfit}") from None

    def assemble(self, given: dict[str, Values]) -> Columns:
        """Check that columns are complete and of one length; absent is missing."""
        for name in given:
            if name not in self.table.by_name:
                raise InvalidInput(self.unknown(name))
        lengths = {name: len(values) for name, values in given.items()}
        if not lengths or not max(lengths.values()):
            raise InvalidInput("expected at least one row, found none")
        n = next(iter(lengths.values()))
        for name, length in lengths.items():
            if length != n:
                raise InvalidInput(
                    f"column '{name}' has {length} values, column "
                    f"'{next(iter(lengths))}' has {n}"
                )
        for column in self.columns:
            if column.name not in given:
                if not column.nullable:
                    raise InvalidInput(f"column '{column.name}' is missing")
                given[column.name] = raw_values(column, [None] * n)
        return {name: given[name] for name in self.names}

    def _renamed(self, raw: Json) -> Json:
        """Give columns of an odd name the one they are decoded under."""
        if not self._alias:
            return raw
        rows = self._decode(self._raw_rows, raw)
        return msgspec.json.encode(
            [{self._alias.get(k, k): v for k, v in row.items()} for row in rows]
        )

    def _decode(self, decoder: msgspec.json.Decoder[Any], raw: Any) -> list[Any]:
        try:
            rows: list[Any] = parse(decoder, raw)
        except msgspec.ValidationError as error:
            if decoder is self._lists and " length " in str(error):
                raise InvalidInput(self._wrong_length(raw)) from None
            raise InvalidInput(self._sentence(error)) from None
        return rows

    def _wrong_length(self, raw: Json) -> str:
        width = len(self.columns)
        # What follows the row may be worse, and was not read yet.
        for number, row in enumerate(parse(_ROWS, raw)):
            if isinstance(row, list) and len(row) != width:
                return f"row {number}: expected {width} values, found {len(row)}"
        return f"expected {width} values a row"  # pragma: no cover - one has not

    def _sentence(self, error: msgspec.ValidationError) -> str:
        what, path = located(error)
        found = re.match(r"\[(\d+)\](?:\[(\d+)\]|\.(.*))?$", path, re.DOTALL)
        if not found:
            return f"rows: {plain(error)}"
        row, index, name = found.groups()
        if unknown := re.match(
            r"Object contains unknown field `(.*)`$", what, re.DOTALL
        ):
            return f"row {row}: {self.unknown(unknown[1])}"
        if absent := re.match(
            r"Object missing required field `(.*)`$", what, re.DOTALL
        ):
            return f"row {row}: column '{self.real(absent[1])}' is missing"
        if index is not None:
            name = self.names[int(index)]
        whole_row = what.startswith(("Expected `object`", "Expected `array`"))
        if name is None and len(self.columns) == 1 and not whole_row:
            name = self.names[0]
        where = f", column '{self.real(name)}'" if name is not None else ""
        return f"row {row}{where}: {plain(error)}"

    def real(self, name: str) -> str:
        """Return a column's name, of the one it is decoded under."""
        return self._own_name.get(name, name)

    def unknown(self, name: str) -> str:
        """Return the sentence for a name that is no column's."""
        return f"there is no column '{name[:80]}'{nearest(name[:80], self.names)}"


def _one_column(decoder: msgspec.json.Decoder[Any], name: str, raw: Json) -> list[Any]:
    try:
        if opening(raw)[:2] == "[[":
            nested = parse(msgspec.json.Decoder(list[list[Any]]), raw)
            if any(len(row) != 1 for row in nested):
                raise InvalidInput(f"column '{name}': expected one value a row")
            raw = msgspec.json.encode([row[0] for row in nested])
        values: list[Any] = parse(decoder, raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(_in_column(error, name)) from None
    return values


@cache
def _optional(datatype: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[element(datatype) | None])  # type: ignore[misc]


def _numbers(elements: Any, datatype: str) -> Values:
    """Return numbers or booleans as float64; infinity is none of them."""
    if isinstance(elements, list):
        elements = as_array(elements, datatype)
    values: Floats = elements.astype(np.float64, copy=False)
    if len(infinite := np.flatnonzero(np.isinf(values))):
        raise Misfit("expected a number, found infinity", int(infinite[0]))
    return values


def raw_values(column: AnyColumn, values: Sequence[Any]) -> Values:
    """Return decoded values in a column's raw form."""
    if isinstance(column, CategoricalColumn):
        return values
    if isinstance(column, DatetimeColumn):
        return np.array([_moment(column, n, text) for n, text in enumerate(values)])
    return np.array(values, np.float64)  # None becomes NaN


def _moment(column: AnyColumn, row: int, text: str | None) -> float:
    try:
        # "NaT" is how NumPy and pandas write a missing date.
        return np.nan if text in (None, "NaT") else seconds(text)
    except ValueError:
        raise InvalidInput(
            f"row {row}, column '{column.name}': expected a date or time as ISO 8601, "
            "such as 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None


def _in_column(error: msgspec.ValidationError, name: str) -> str:
    found = re.match(r"\[(\d+)\]", located(error)[1])
    where = f"row {found[1]}, column '{name}'" if found else f"column '{name}'"
    return f"{where}: {plain(error)}"

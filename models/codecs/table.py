"""Rows and columns of a table, from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

import msgspec
import numpy as np

from models.codecs.blocks import fits
from models.codecs.column_values import column_values, finite_numbers, require_rows
from models.codecs.datatypes import Misfit, element, from_bytes, require
from models.codecs.decoder import (
    ANY_NUMBER,
    Decoder,
    Tensor,
    check_widths,
    json_list,
    list_schema,
)
from models.codecs.json import Json, located, opening, parse, plain
from models.codecs.row_types import RowTypes
from models.codecs.tensor import TensorDecoder
from models.errors import InvalidInput, TooManyRows, nearest
from models.features.columns import AnyColumn, Floats, Schema, Values
from models.features.inputs import RawColumns
from models.features.table import Columns, TableInput
from models.features.tensor import TensorInput

_ROWS = msgspec.json.Decoder(list[Any])
#: Columns that an error lists.
LISTED = 10


class TableDecoder(Decoder):
    """Decodes rows and columns of one table signature."""

    def __init__(self, table: TableInput) -> None:
        self.table = table
        self.columns = table.columns
        self.names = [column.name for column in table.columns]
        self.n_columns = len(self.names)
        self.row_values = 4 * self.n_columns + 4
        self._rows_of = RowTypes(self.columns)
        self._type_of = dict(zip(self.names, self._rows_of.types, strict=True))
        scalar = self._rows_of.types[0] if self.n_columns == 1 else Any
        self._scalars = msgspec.json.Decoder(list[scalar])  # type: ignore[valid-type]
        self._raw_columns = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def _rows(self, raw: Json) -> Columns:
        """Decode a list of rows: objects by name, lists in order, or bare values.

        Raises InvalidInput. Returns n values a column.
        """
        shape = opening(raw)
        if shape == "[{" or shape[:2] == "[[":
            values = self._values(raw, shape == "[{")
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
            column.name: _raw_values(column, column.from_json, v)
            for column, v in zip(self.columns, values, strict=True)
        }

    def _values(self, raw: Json, objects: bool, rename: bool = False) -> list[Any]:
        """Decode rows, objects or lists, to the values of each column."""
        types = self._rows_of
        if objects and (rename or types.needs_renaming):
            raw = self._renamed(raw)
        decoder = types.plain.objects if objects else types.plain.lists
        rows: Iterator[Sequence[Any]]
        try:
            rows = map(msgspec.structs.astuple, self._decode(decoder, raw))
        except InvalidInput as error:
            unknown = "there is no column" in str(error)
            if objects and types.has_accents and unknown and not rename:
                return self._values(raw, objects, rename=True)
            if "got a list" not in str(error):
                raise
            # TensorFlow Serving's clients send values of shape [1].
            wrapped = types.wrapped.objects if objects else types.wrapped.lists
            try:
                decoded = parse(wrapped, raw)
            except msgspec.ValidationError:
                raise error from None
            rows = (
                [v[0] if type(v) is tuple else v for v in msgspec.structs.astuple(row)]
                for row in decoded
            )
        return types.by_column(rows, objects)

    def _renamed(self, raw: Json) -> bytes:
        try:
            return self._rows_of.renamed(raw)
        except msgspec.ValidationError as error:
            raise InvalidInput(self._sentence(error)) from None

    def joined(self, parts: Sequence[Columns]) -> Columns:
        return {
            name: np.concatenate([part[name] for part in parts])
            if isinstance(first, np.ndarray)
            else list(chain.from_iterable(part[name] for part in parts))
            for name, first in parts[0].items()
        }

    def by_column(
        self,
        raw: Json,
        max_rows: int = ANY_NUMBER,
        prepare: Callable[[Json], Json] = lambda values: values,
    ) -> Columns:
        """Decode an object of lists, or the bare list of a table of one column.

        Raises InvalidInput. Returns n values a column.
        """
        lists: dict[str, Json] = {self.names[0]: raw}
        if len(self.columns) > 1 or opening(raw)[:1] != "[":
            lists = self._members(raw)
        columns = {}
        for given, values in lists.items():
            require_rows(values, max_rows)
            name = self._rows_of.known(given)
            columns[name] = self.column(name, prepare(values))
        return self.assemble(columns)

    def _members(self, raw: Json) -> dict[str, Json]:
        if not fits(raw, self.n_columns):
            raise InvalidInput(
                f"expected at most {self.n_columns} columns, found more names"
            )
        try:
            members: dict[str, Json] = parse(self._raw_columns, raw)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"columns: {plain(error)}") from None
        return members

    def column(self, name: str, raw: Json) -> Values:
        """Decode the list of n values of a column, flat or as lists of one value.

        Raises InvalidInput.
        """
        if name not in self._type_of:
            raise InvalidInput(self.unknown(name))
        values = column_values(self._type_of[name], name, raw)
        column = self.table.by_name[name]
        return _raw_values(column, column.from_json, values)

    def column_of(
        self,
        name: str,
        data: Json | memoryview,
        shape: Sequence[int],
        datatype: str,
        max_rows: int = ANY_NUMBER,
    ) -> Values:
        """Decode a column (n,) from a tensor of shape (n,) or (n, 1).

        The data is JSON or, as a view, bytes, where NaN is a missing number. JSON
        numbers are rounded to their datatype, so that both give the same values.
        Raises InvalidInput, or TooManyRows.
        """
        column = self.table.by_name.get(name)
        if column is None:
            raise InvalidInput(self.unknown(name))
        stated = f"input '{name}': shape {list(shape[:8])}"
        if tuple(shape[1:]) not in ((), (1,)) or not shape or shape[0] < 0:
            raise InvalidInput(f"{stated} is not a column's, expected [n] or [n, 1]")
        if shape[0] > max_rows:
            raise TooManyRows(max_rows)
        if column.was_empty:
            return column.missing(shape[0])
        try:
            require(datatype, column.datatype)
            if isinstance(data, memoryview):
                elements: Any = from_bytes(data, datatype, shape[0])
            else:
                require_rows(data, max_rows)
                elements = column_values(element(datatype) | None, name, data)
                if len(elements) != shape[0]:
                    raise InvalidInput(
                        f"{stated} does not fit {len(elements)} values, expected "
                        f"[{len(elements)}]"
                    )
            if datatype == "BYTES":
                return column.from_json(elements)
            return finite_numbers(elements, datatype)
        except Misfit as misfit:
            row = misfit.element
            where = "input" if row is None else f"row {row}, column"
            raise InvalidInput(f"{where} '{name}': {misfit}") from None

    def from_tensors(
        self, tensors: Sequence[Tensor], max_rows: int = ANY_NUMBER
    ) -> Columns:
        if len(tensors) == 1 and self._is_matrix(tensors[0]):
            return self._from_matrix(tensors[0], max_rows)
        columns = {}
        for given, shape, datatype, data in tensors:
            name = self._rows_of.known(given)
            columns[name] = self.column_of(name, data, shape, datatype, max_rows)
        return self.assemble(columns)

    def _is_matrix(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is a whole table of numbers, as KServe's examples send.

        Its name may be any that no column has.
        """
        return (
            tensor.name not in self.table.by_name
            and list(tensor.shape[1:]) == [self.n_columns]
            and all(column.datatype == "FP64" for column in self.columns)
        )

    def _from_matrix(self, tensor: Tensor, max_rows: int) -> Columns:
        """Decode columns in signature order from the rows (n, columns) of a tensor."""
        name, shape, datatype, data = tensor
        matrix = TensorInput((self.n_columns,), 0.0, 0.0, [0.0], [0.0])
        decoder = TensorDecoder(matrix, name[:80], missing=True)
        numbers = decoder.numbers_of(data, shape, datatype, max_rows)
        try:
            values = cast(Floats, finite_numbers(numbers.ravel(), datatype))
        except Misfit as misfit:
            row = (misfit.element or 0) // self.n_columns
            raise InvalidInput(f"row {row}, input '{name[:80]}': {misfit}") from None
        if not len(values):
            raise InvalidInput("expected at least one row, found none")
        columns = values.reshape(-1, self.n_columns).T
        return dict(zip(self.names, columns, strict=True))

    def _frame(self, names: list[str] | None, rows: list[list[msgspec.Raw]]) -> Columns:
        names = self.names if names is None else [*map(self._rows_of.known, names)]
        if len(set(names)) != len(names):
            raise InvalidInput("dataframe_split.columns: a column is named twice")
        check_widths(rows, len(names))
        return self.assemble(
            {
                name: self.column(name, json_list(values))
                for name, values in zip(names, zip(*rows, strict=True), strict=True)
            }
        )

    def from_text(self, names: list[str], rows: list[list[str]]) -> Columns:
        names = [*map(self._rows_of.known, names)]
        self._check_header(names)
        names = names or self.names
        check_widths(rows, len(names))
        return self.assemble(
            {
                name: _raw_values(column, column.from_text, texts)
                for name, texts in zip(names, zip(*rows, strict=True), strict=True)
                if (column := self.table.by_name[name])
            }
        )

    def is_header(self, fields: list[str]) -> bool:
        known = set(map(self._rows_of.known, fields))
        return 2 * len(self.table.by_name.keys() & known) > len(fields)

    def _check_header(self, names: list[str]) -> None:
        for number, name in enumerate(names):
            if not name:
                raise InvalidInput(
                    f"field {number} of the header is empty; if it is an index, leave "
                    "it out"
                )
            if name not in self.table.by_name:
                raise InvalidInput(self.unknown(name))
            if name in names[:number]:
                raise InvalidInput(f"the header names column '{name}' twice")

    def adapt(self, raw: RawColumns) -> RawColumns:
        return raw if isinstance(raw, np.ndarray) else self.assemble(dict(raw))

    def assemble(self, columns: dict[str, Values]) -> Columns:
        """Return n values of every column; an absent nullable column is missing.

        Raises InvalidInput for an unknown or absent column, or different lengths.
        """
        for name in columns:
            if name not in self.table.by_name:
                raise InvalidInput(self.unknown(name))
        lengths = {name: len(values) for name, values in columns.items()}
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
            if column.name not in columns:
                if not column.nullable:
                    raise InvalidInput(f"column '{column.name}' is missing")
                columns[column.name] = column.missing(n)
        return {name: columns[name] for name in self.names}

    def _decode(self, decoder: msgspec.json.Decoder[Any], raw: Any) -> list[Any]:
        try:
            rows: list[Any] = parse(decoder, raw)
        except msgspec.ValidationError as error:
            if decoder is self._rows_of.plain.lists and " length " in str(error):
                raise InvalidInput(self._wrong_length(raw)) from None
            raise InvalidInput(self._sentence(error)) from None
        return rows

    def _wrong_length(self, raw: Json) -> str:
        width = len(self.columns)
        # The rest of the rows has not been read yet, and may not be lists at all.
        for number, row in enumerate(parse(_ROWS, raw)):
            if isinstance(row, list) and len(row) != width:
                return f"row {number}: expected {width} values, found {len(row)}"
        return f"expected {width} values a row"  # pragma: no cover - one has not

    def _sentence(self, error: msgspec.ValidationError) -> str:
        message, path = located(error)
        position = re.match(r"\[(\d+)\](?:\[(\d+)\]|\.(.*))?$", path, re.DOTALL)
        if not position:
            return f"rows: {plain(error)}"
        row, index, name = position.groups()
        if unknown := re.match(
            r"Object contains unknown field `(.*)`$", message, re.DOTALL
        ):
            return f"row {row}: {self.unknown(unknown[1])}"
        if absent := re.match(
            r"Object missing required field `(.*)`$", message, re.DOTALL
        ):
            return f"row {row}: column '{self._rows_of.real(absent[1])}' is missing"
        if index is not None:
            name = self.names[int(index)]
        whole_row = message.startswith(("Expected `object`", "Expected `array`"))
        if name is None and len(self.columns) == 1 and not whole_row:
            name = self.names[0]
        where = f", column '{self._rows_of.real(name)}'" if name is not None else ""
        return f"row {row}{where}: {plain(error)}"

    def unknown(self, name: str) -> str:
        """Return the message for a name that no column has."""
        more = ", …" if len(self.names) > LISTED else ""
        listed = f"; the columns are {', '.join(self.names[:LISTED])}{more}"
        hint = nearest(name[:80], self.names) or listed
        return f"there is no column '{name[:80]}'{hint}"

    # Schemas. Ranges and categories of training are described and not required: a model
    # answers beyond them.

    def named_row_schema(self) -> Schema:
        return self._object_schema({c.name: c.json_schema() for c in self.columns})

    def row_schemas(self) -> list[Schema]:
        values = [column.json_schema() for column in self.columns]
        length = {"minItems": len(values), "maxItems": len(values)}
        in_order = {"type": "array", "prefixItems": values, **length}
        bare = values if len(values) == 1 else []
        return [self.named_row_schema(), in_order, *bare]

    def columns_schema(self, max_rows: int) -> Schema:
        return {
            "description": "The values of each column, of one length.",
            **self._object_schema(
                {c.name: list_schema(c.json_schema(), max_rows) for c in self.columns}
            ),
        }

    def _object_schema(self, properties: dict[str, Schema]) -> Schema:
        return {
            "type": "object",
            "properties": properties,
            "required": [c.name for c in self.columns if not c.nullable],
            "additionalProperties": False,
        }


def _raw_values(
    column: AnyColumn, read: Callable[[Sequence[Any]], Values], values: Sequence[Any]
) -> Values:
    """Read the values of a column; any value is ignored if it was empty in training."""
    return column.missing(len(values)) if column.was_empty else read(values)

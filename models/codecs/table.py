"""Rows and columns of a table, from JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property
from itertools import chain
from types import GenericAlias
from typing import Any, cast

import msgspec
import numpy as np

from models.codecs.blocks import BLOCK, fits
from models.codecs.datatypes import Misfit, as_array, element, from_bytes, require
from models.codecs.decoder import (
    ANY_NUMBER,
    Decoder,
    Tensor,
    check_widths,
    json_list,
    list_schema,
)
from models.codecs.json import Json, located, opening, parse, plain
from models.codecs.tensor import TensorDecoder
from models.errors import InvalidInput, TooManyRows, nearest
from models.features.columns import Floats, Schema, Values
from models.features.inputs import RawColumns
from models.features.table import Columns, TableInput
from models.features.tensor import TensorInput

_ROWS = msgspec.json.Decoder(list[Any])
#: Characters that msgspec refuses in the name of a field, since it would escape them.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')


class TableDecoder(Decoder):
    """Decodes rows and columns of one table signature."""

    def __init__(self, table: TableInput) -> None:
        self.table = table
        self.columns = table.columns
        self.names = [column.name for column in table.columns]
        self.n_columns = len(self.names)
        self.row_values = 4 * self.n_columns + 4
        types: list[Any] = [column.json_type | None for column in self.columns]
        # Such a column is decoded under an alias that begins in the private use area.
        self._alias = {
            name: f"\ue000{i}"
            for i, name in enumerate(self.names)
            if _ESCAPED.search(name)
        }
        self._name_of = {alias: name for name, alias in self._alias.items()}
        optional = [column.nullable for column in self.columns]
        #: The columns in the order of an object's fields.
        self._order = np.argsort(np.argsort(optional, kind="stable"))
        self._objects, self._lists = self._row_decoders(types)
        scalar = types[0] if len(types) == 1 else Any
        self._scalars = msgspec.json.Decoder(list[scalar])  # type: ignore[valid-type]
        self._type_of = dict(zip(self.names, types, strict=True))
        self._raw_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
        self._raw_columns = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def _row_decoders(self, types: list[Any]) -> tuple[msgspec.json.Decoder[Any], ...]:
        """Return the decoders of rows by name and of rows in order."""
        fields = [f"c{i}" for i in range(len(types))]
        columns = list(zip(fields, types, self.columns, strict=True))
        options: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
        by_name = msgspec.defstruct(
            "Row",
            # Fields without a default must come first.
            [(field, kind) for field, kind, column in columns if not column.nullable]
            + [
                (field, kind, None)
                for field, kind, column in columns
                if column.nullable
            ],
            rename={
                field: self._alias.get(column.name, column.name)
                for field, _, column in columns
            },
            **options,
        )
        in_order = msgspec.defstruct(
            "ListRow", [column[:2] for column in columns], array_like=True, **options
        )
        return (
            msgspec.json.Decoder(list[by_name]),  # type: ignore[valid-type]
            msgspec.json.Decoder(list[in_order]),  # type: ignore[valid-type]
        )

    @cached_property
    def _wrapped(self) -> tuple[msgspec.json.Decoder[Any], ...]:
        """The decoders of rows whose values may be lists of one."""
        types = self._type_of.values()
        return self._row_decoders([kind | GenericAlias(tuple, kind) for kind in types])

    def _row_values(self, of_lists: bool, raw: Json) -> list[Any]:
        """Decode rows, lists or objects, to a sequence of values a row."""
        decoder = (self._objects, self._lists)[of_lists]
        try:
            return list(map(msgspec.structs.astuple, self._decode(decoder, raw)))
        except InvalidInput as error:
            # TensorFlow Serving's clients send values of shape [1].
            if "got a list" not in str(error):
                raise
            with suppress(msgspec.ValidationError):
                rows = map(msgspec.structs.astuple, parse(self._wrapped[of_lists], raw))
                return [[v[0] if type(v) is tuple else v for v in row] for row in rows]
            raise

    def _rows(self, raw: Json) -> Columns:
        """Decode a list of rows: objects by name, lists in order, or bare values.

        Raises InvalidInput. Returns n values a column.
        """
        shape = opening(raw)
        if shape == "[{":
            rows = self._row_values(False, self._renamed(raw))
            values: list[Any] = list(zip(*rows, strict=True))
            values = [values[i] for i in self._order]
        elif shape[:2] == "[[":
            values = list(zip(*self._row_values(True, raw), strict=True))
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
            column.name: column.from_json(v)
            for column, v in zip(self.columns, values, strict=True)
        }

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
        for name, values in lists.items():
            require_rows(values, max_rows)
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
        values = _one_column(self._type_of[name], name, raw)
        return self.table.by_name[name].from_json(values)

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
        Raises InvalidInput.
        """
        column = self.table.by_name.get(name)
        if column is None:
            raise InvalidInput(self.unknown(name))
        stated = f"input '{name}': shape {list(shape[:8])}"
        if tuple(shape[1:]) not in ((), (1,)) or not shape or shape[0] < 0:
            raise InvalidInput(f"{stated} is not a column's, expected [n] or [n, 1]")
        if shape[0] > max_rows:
            raise TooManyRows(max_rows)
        try:
            require(datatype, column.datatype)
            if isinstance(data, memoryview):
                elements: Any = from_bytes(data, datatype, shape[0])
            else:
                require_rows(data, max_rows)
                elements = _one_column(element(datatype) | None, name, data)
                if len(elements) != shape[0]:
                    raise InvalidInput(
                        f"{stated} does not fit {len(elements)} values, expected "
                        f"[{len(elements)}]"
                    )
            if datatype == "BYTES":
                return column.from_json(elements)
            return _numbers(elements, datatype)
        except Misfit as misfit:
            row = misfit.element
            where = "input" if row is None else f"row {row}, column"
            raise InvalidInput(f"{where} '{name}': {misfit}") from None

    def from_tensors(
        self, tensors: Sequence[Tensor], max_rows: int = ANY_NUMBER
    ) -> Columns:
        if len(tensors) == 1 and self._is_matrix(tensors[0]):
            return self._from_matrix(tensors[0], max_rows)
        return self.assemble(
            {
                tensor.name: self.column_of(
                    tensor.name, tensor.data, tensor.shape, tensor.datatype, max_rows
                )
                for tensor in tensors
            }
        )

    def _is_matrix(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is a whole table of numbers, as KServe's examples send.

        It has any name but a column's.
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
            values = cast(Floats, _numbers(numbers.ravel(), datatype))
        except Misfit as misfit:
            row = (misfit.element or 0) // self.n_columns
            raise InvalidInput(f"row {row}, input '{name[:80]}': {misfit}") from None
        if not len(values):
            raise InvalidInput("expected at least one row, found none")
        columns = values.reshape(-1, self.n_columns).T
        return dict(zip(self.names, columns, strict=True))

    def _frame(self, names: list[str] | None, rows: list[list[msgspec.Raw]]) -> Columns:
        names = self.names if names is None else names
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
        self._check_header(names)
        names = names or self.names
        check_widths(rows, len(names))
        return self.assemble(
            {
                name: self.table.by_name[name].from_text(texts)
                for name, texts in zip(names, zip(*rows, strict=True), strict=True)
            }
        )

    def is_header(self, fields: list[str]) -> bool:
        return 2 * len(self.table.by_name.keys() & set(fields)) > len(fields)

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

    def _renamed(self, raw: Json) -> Json:
        """Return rows with aliases for the names that have one."""
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
            return f"row {row}: column '{self.real(absent[1])}' is missing"
        if index is not None:
            name = self.names[int(index)]
        whole_row = message.startswith(("Expected `object`", "Expected `array`"))
        if name is None and len(self.columns) == 1 and not whole_row:
            name = self.names[0]
        where = f", column '{self.real(name)}'" if name is not None else ""
        return f"row {row}{where}: {plain(error)}"

    def real(self, name: str) -> str:
        """Return the name of the column with an alias."""
        return self._name_of.get(name, name)

    def unknown(self, name: str) -> str:
        """Return the message for a name that no column has."""
        return f"there is no column '{name[:80]}'{nearest(name[:80], self.names)}"

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


def require_rows(raw: Json, max_rows: int) -> None:
    """Raise TooManyRows for a JSON list of more items, or of more values in them."""
    if not fits(raw, max_rows, 4 * max_rows + BLOCK):
        raise TooManyRows(max_rows)


def _one_column(kind: Any, name: str, raw: Json) -> list[Any]:
    """Decode a list of values, or of lists of one value, of a type."""
    nested = opening(raw)[:2] == "[["
    try:
        values: list[Any] = parse(_lists(kind, nested), raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(_in_column(error, name)) from None
    return [value for (value,) in values] if nested else values


@cache
def _lists(kind: Any, nested: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[tuple[kind] if nested else kind])  # type: ignore[misc]


def _numbers(elements: Any, datatype: str) -> Values:
    """Return numbers or booleans as float64. Raises Misfit for infinity."""
    if isinstance(elements, list):
        elements = as_array(elements, datatype)
    values: Floats = elements.astype(np.float64, copy=False)
    if len(infinite := np.flatnonzero(np.isinf(values))):
        raise Misfit("expected a number, found infinity", int(infinite[0]))
    return values


def _in_column(error: msgspec.ValidationError, name: str) -> str:
    if "`array` of length 1" in str(error):
        return f"column '{name}': expected one value a row"
    row = re.match(r"\[(\d+)\]", located(error)[1])
    where = f"row {row[1]}, column '{name}'" if row else f"column '{name}'"
    return f"{where}: {plain(error)}"

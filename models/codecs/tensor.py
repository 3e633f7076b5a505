"""Rows of a tensor, from JSON."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.codecs.blocks import fits
from models.codecs.datatypes import Misfit, as_array, element, from_bytes, require
from models.codecs.decoder import (
    ANY_NUMBER,
    Decoder,
    Tensor,
    check_widths,
    json_list,
)
from models.codecs.json import Json, located, opening, parse, plain
from models.errors import InvalidInput, TooManyRows
from models.features.columns import Schema
from models.features.inputs import RawColumns
from models.features.tensor import TensorInput
from models.features.text import parse_number

#: The least number that float32 rounds to infinity: half a step beyond its largest.
BEYOND_FLOAT32 = (2.0 - 2.0**-24) * 2.0**127
#: The largest number that float32 does not round to infinity.
LARGEST_FLOAT32 = float(np.nextafter(BEYOND_FLOAT32, 0.0))
_NUMBER: Schema = {
    "type": "number",
    "minimum": -LARGEST_FLOAT32,
    "maximum": LARGEST_FLOAT32,
}


class TensorDecoder(Decoder):
    """Decodes rows of one tensor signature, nested as its shape or flat."""

    def __init__(
        self, tensor: TensorInput, name: str = "x", *, missing: bool = False
    ) -> None:
        """Messages name the input; `missing` allows null in place of a number."""
        self.tensor = tensor
        self._where, self._missing = f"input '{name}'", missing
        self.row_size = tensor.size
        self.row_values = 2 * len(tensor.shape) * tensor.size + 4
        self._objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
        self._object = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def joined(self, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return arrays (n, …) as one."""
        return np.concatenate(parts)

    def _rows(self, raw: Json) -> NDArray[np.float32]:
        """Decode a list of rows, each a nested or flat list, or `{"x": …}`: (n, …).

        Raises InvalidInput.
        """
        if opening(raw) == "[{":
            rows = self._decode(self._objects, raw)
            raw = (
                b"["
                + b",".join(bytes(self._x(row, n)) for n, row in enumerate(rows))
                + b"]"
            )
        return self.float32(self._nested(raw, "FP64"))

    def by_column(
        self,
        raw: Json,
        max_rows: int = ANY_NUMBER,
        prepare: Callable[[Json], Json] = lambda values: values,
    ) -> RawColumns:
        """Decode `{"x": rows}` or the bare rows: (n, …). Raises InvalidInput."""
        if opening(raw)[:1] == "{":
            if not fits(raw, 1):
                raise InvalidInput("expected the one input 'x', found more names")
            raw = self._x(parse(self._object, raw), None)
        return self.rows(raw, max_rows)

    def tensor_of(
        self,
        data: Json | memoryview,
        shape: Sequence[int],
        datatype: str = "FP32",
        max_rows: int = ANY_NUMBER,
    ) -> NDArray[np.float32]:
        """Decode a tensor of a stated shape (n, …) to rows. Raises InvalidInput."""
        return self.float32(self.numbers_of(data, shape, datatype, max_rows))

    def numbers_of(
        self,
        data: Json | memoryview,
        shape: Sequence[int],
        datatype: str,
        max_rows: int,
    ) -> NDArray[Any]:
        """Decode a tensor of a stated shape, row-major, to numbers (n, …) or flat (m,).

        The data is JSON or, as a view, bytes; those of an FP32 are not copied. JSON
        numbers are rounded to their datatype, so that both give the same values.
        Raises InvalidInput, or TooManyRows.
        """
        size = self.tensor.size
        if not shape or tuple(shape[1:]) not in (self.tensor.shape, (size,)):
            raise InvalidInput(
                f"{self._where}: expected shape {[-1, *self.tensor.shape]}, "
                f"found {list(shape[:8])}"
            )
        if shape[0] > max_rows:
            raise TooManyRows(max_rows)
        count, stated = shape[0] * size, f"{self._where}: shape {list(shape)} needs"
        try:
            require(datatype, self.tensor.datatype)
            if isinstance(data, memoryview):
                numbers = cast(NDArray[Any], from_bytes(data, datatype, count))
            else:
                nested = opening(data)[:2] == "[["
                most, unit = (shape[0], "rows") if nested else (count, "values")
                decode = self._nested if nested else self._flat
                numbers = self._in_blocks(
                    data, most, lambda block: decode(block, datatype)
                )
                if len(numbers) != most:
                    raise InvalidInput(f"{stated} {most} {unit}, found {len(numbers)}")
        except TooManyRows:
            raise InvalidInput(f"{stated} {most} {unit}, found more") from None
        except Misfit as misfit:
            at = misfit.element
            where = self._where if at is None else f"row {at // size}"
            raise InvalidInput(f"{where}: {misfit}") from None
        return numbers

    def from_tensors(
        self, tensors: Sequence[Tensor], max_rows: int = ANY_NUMBER
    ) -> NDArray[np.float32]:
        if [tensor.name for tensor in tensors] != [self.tensor.name]:
            raise InvalidInput(f"expected the one input '{self.tensor.name}'")
        (only,) = tensors
        return self.tensor_of(only.data, only.shape, only.datatype, max_rows)

    def _frame(
        self, names: list[str] | None, rows: list[list[msgspec.Raw]]
    ) -> NDArray[np.float32]:
        if names == [self.tensor.name]:
            check_widths(rows, 1)
            return self._rows(json_list(row[0] for row in rows))
        check_widths(rows, self.tensor.size)
        return self._rows(json_list(map(json_list, rows)))

    def from_text(self, names: list[str], rows: list[list[str]]) -> NDArray[np.float32]:
        check_widths(rows, self.tensor.size)
        return self.float32(
            self._stacked([_numbers(row, n) for n, row in enumerate(rows)], "FP64")
        )

    def float32(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """Return numbers (n, …) as rows. Raises InvalidInput beyond float32."""
        if not len(numbers):
            raise InvalidInput("expected at least one row, found none")
        # Of a NaN neither is true.
        if not float(np.maximum.reduce(np.abs(numbers), None)) < BEYOND_FLOAT32:
            raise InvalidInput(self._not_float32(numbers))
        X = numbers.astype(np.float32, copy=False)
        return X.reshape(-1, *self.tensor.shape)

    def _x(self, row: dict[str, msgspec.Raw], number: int | None) -> msgspec.Raw:
        where = "" if number is None else f"row {number}: "
        for name in row:
            if name != "x":
                raise InvalidInput(f"{where}there is no input '{name[:80]}'; it is 'x'")
        if "x" not in row:
            raise InvalidInput(f"{where}input 'x' is missing")
        return row["x"]

    def _flat(self, raw: Json, datatype: str) -> NDArray[Any]:
        """Decode numbers (n,). Raises Misfit with the first that does not fit."""
        try:
            values = parse(_lists(datatype, 1, self._missing), raw)
        except msgspec.ValidationError as error:
            at = re.search(r"\[(\d+)\]", located(error)[1])
            raise Misfit(plain(error), int(at[1]) if at else None) from None
        return as_array(values, datatype) if values else np.zeros(0)

    def _decode(self, decoder: msgspec.json.Decoder[Any], raw: Any) -> list[Any]:
        try:
            rows: list[Any] = parse(decoder, raw)
        except msgspec.ValidationError as error:
            at = re.findall(r"\[(\d+)\]", located(error)[1])
            where = f"row {at[0]}" if at else self._where
            if len(at) > 1:
                where += f", position {', '.join(at[1:])}"
            raise InvalidInput(f"{where}: {plain(error)}") from None
        return rows

    def _nested(self, raw: Json, datatype: str) -> NDArray[Any]:
        """Decode rows that are nested as the shape, flat, or one bare number."""
        brackets, rank = opening(raw), len(self.tensor.shape)
        if self.tensor.size == 1 and brackets == "[":
            rank = 0
        elif len(brackets) == 2 and rank > 1:
            rank = 1
        return self._stacked(
            self._decode(_lists(datatype, 1 + rank, self._missing), raw), datatype
        )

    def _stacked(self, rows: list[Any], datatype: str) -> NDArray[Any]:
        if not rows:
            raise InvalidInput("expected at least one row, found an empty list")
        try:
            numbers = as_array(rows, datatype)
        except ValueError:
            raise InvalidInput(self._ragged(rows)) from None
        shape = numbers.shape[1:]
        if shape not in (self.tensor.shape, (self.tensor.size,)) and not (
            self.tensor.size == 1 and not shape
        ):
            raise InvalidInput(
                f"row 0: expected shape {list(self.tensor.shape)}, found {list(shape)}"
            )
        return numbers

    def _not_float32(self, numbers: NDArray[Any]) -> str:
        rows = numbers.astype(np.float64).reshape(-1, self.tensor.size)
        small = (np.abs(rows) < BEYOND_FLOAT32).all(axis=1)
        row = int(np.flatnonzero(~small)[0])
        reason = (
            "a number is too large for float32"
            if np.isfinite(rows[row]).all()
            else "expected numbers, found NaN or infinity"
        )
        return f"row {row}: {reason}"

    def _ragged(self, rows: list[Any]) -> str:
        for number, row in enumerate(rows):
            try:
                shape = np.array(row, np.float64).shape
            except ValueError:
                return f"row {number}: its lists are of different lengths"
            if shape not in (self.tensor.shape, (self.tensor.size,)):
                return (
                    f"row {number}: expected shape {list(self.tensor.shape)}, "
                    f"found {list(shape)}"
                )
        return "rows are of different shapes"  # pragma: no cover - one of them is off

    def named_row_schema(self) -> Schema:
        return self.row_schemas()[-1]

    def row_schemas(self) -> list[Schema]:
        shape, size = self.tensor.shape, self.tensor.size
        forms = [_nested_schema(shape)]
        if len(shape) > 1:
            forms.append(_nested_schema((size,)))
        if size == 1:
            forms.append(_NUMBER)
        return [*forms, _object_schema({"anyOf": forms})]

    def columns_schema(self, max_rows: int) -> Schema:
        rows = self.rows_schema(max_rows)
        return {"anyOf": [_object_schema(rows), rows]}


def _object_schema(value: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"x": value},
        "required": ["x"],
        "additionalProperties": False,
    }


def _nested_schema(shape: tuple[int, ...]) -> Schema:
    schema = _NUMBER
    for length in reversed(shape):
        exactly = {"minItems": length, "maxItems": length}
        schema = {"type": "array", "items": schema, **exactly}
    return schema


def _numbers(row: list[str], row_number: int) -> list[float]:
    values: list[float] = []
    for text in row:
        try:
            values.append(parse_number(text))
        except ValueError:
            raise InvalidInput(
                f"row {row_number}, position {len(values)}: expected a finite number"
            ) from None
    return values


@cache
def _lists(datatype: str, depth: int, missing: bool) -> msgspec.json.Decoder[Any]:
    """Return the decoder of lists, nested to a depth, of one datatype or of null."""
    nested = element(datatype) | None if missing else element(datatype)
    for _ in range(depth):
        nested = types.GenericAlias(list, nested)
    return msgspec.json.Decoder(nested)

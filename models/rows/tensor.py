"""Rows of a tensor, from JSON."""

from __future__ import annotations

import re
import types
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput
from models.rows.json import Json, located, opening, parse, plain
from models.tensor import TensorInput


class TensorDecoder:
    """Decodes rows of one tensor signature, nested as its shape or flat."""

    def __init__(self, tensor: TensorInput) -> None:
        self.tensor = tensor
        nested: Any = float
        for _ in range(1 + len(tensor.shape)):
            nested = types.GenericAlias(list, nested)
        self._nested = msgspec.json.Decoder(nested)
        self._flat_rows = msgspec.json.Decoder(list[list[float]])
        self._flat = msgspec.json.Decoder(list[float])
        self._objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
        self._object = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def rows(self, raw: Json) -> NDArray[np.float32]:
        """Decode a list of rows, each a nested or flat list, or `{"x": …}`."""
        brackets = opening(raw)
        if brackets == "[{":
            rows = self._decode(self._objects, raw)
            raw = (
                b"["
                + b",".join(bytes(self._x(row, n)) for n, row in enumerate(rows))
                + b"]"
            )
            brackets = opening(raw)
        if self.tensor.size == 1 and brackets == "[":
            return self.array(self._decode(self._flat, raw))
        flat = len(brackets) == 2 and len(self.tensor.shape) > 1
        return self.array(self._decode(self._flat_rows if flat else self._nested, raw))

    def by_column(self, raw: Json) -> NDArray[np.float32]:
        """Decode `{"x": rows}` or the bare rows."""
        if opening(raw)[:1] == "{":
            raw = self._x(parse(self._object, raw), None)
        return self.rows(raw)

    def tensor_of(self, raw: Json, shape: Sequence[int]) -> NDArray[np.float32]:
        """Decode row-major data, flat or nested, of a stated shape (n, …)."""
        size = self.tensor.size
        trailing = tuple(shape[1:])
        if not shape or trailing not in (self.tensor.shape, (size,)):
            raise InvalidInput(
                f"input 'x': expected shape {[-1, *self.tensor.shape]}, "
                f"found {list(shape)[:8]}"
            )
        if opening(raw)[:2] == "[[":
            X = self.rows(raw)
        else:
            values = self._decode(self._flat, raw, size)
            if not values or len(values) != shape[0] * size:
                raise InvalidInput(
                    f"input 'x': shape {list(shape)} needs {shape[0] * size} values, "
                    f"found {len(values)}"
                )
            X = self._float32(np.array(values, np.float64))
        if len(X) != shape[0]:
            raise InvalidInput(
                f"input 'x': shape {list(shape)} needs {shape[0]} rows, found {len(X)}"
            )
        return X

    def _x(self, row: dict[str, msgspec.Raw], number: int | None) -> msgspec.Raw:
        where = "" if number is None else f"row {number}: "
        for name in row:
            if name != "x":
                raise InvalidInput(f"{where}there is no input '{name[:80]}'; it is 'x'")
        if "x" not in row:
            raise InvalidInput(f"{where}input 'x' is missing")
        return row["x"]

    def _decode(
        self, decoder: msgspec.json.Decoder[Any], raw: Any, row: int = 1
    ) -> list[Any]:
        """Decode a list of which `row` items are a row."""
        try:
            rows: list[Any] = parse(decoder, raw)
        except msgspec.ValidationError as error:
            at = re.findall(r"\[(\d+)\]", located(error)[1])
            where = f"row {int(at[0]) // row}" if at else "input 'x'"
            if len(at) > 1:
                where += f", position {', '.join(at[1:])}"
            raise InvalidInput(f"{where}: {plain(error)}") from None
        return rows

    def array(self, rows: list[Any]) -> NDArray[np.float32]:
        """Return decoded rows as one array; InvalidInput where one does not fit."""
        if not rows:
            raise InvalidInput("expected at least one row, found an empty list")
        try:
            wide = np.array(rows, np.float64)
        except ValueError:
            raise InvalidInput(self._ragged(rows)) from None
        shape = wide.shape[1:]
        if shape not in (self.tensor.shape, (self.tensor.size,)) and not (
            self.tensor.size == 1 and not shape
        ):
            raise InvalidInput(
                f"row 0: expected shape {list(self.tensor.shape)}, found {list(shape)}"
            )
        return self._float32(wide)

    def _float32(self, wide: NDArray[np.float64]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            X = wide.astype(np.float32).reshape(-1, self.tensor.size)
        bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
        if len(bad):
            raise InvalidInput(f"row {bad[0]}: a number is too large for float32")
        return X.reshape(-1, *self.tensor.shape)

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

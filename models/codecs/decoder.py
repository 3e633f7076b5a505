"""The base of the decoders: from a request to the raw rows of one signature."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from models.codecs.blocks import BLOCK, blocks
from models.codecs.datatypes import Misfit
from models.codecs.json import Json, located, opening, parse, plain
from models.errors import InvalidInput
from models.features.columns import Schema
from models.features.inputs import RawColumns

_cells = msgspec.json.Decoder(list[list[msgspec.Raw]])
#: More rows than any text has.
ANY_NUMBER = 1 << 63


class Tensor(NamedTuple):
    """One tensor of a request; `data` is JSON, or a view of its bytes."""

    name: str
    shape: Sequence[int]
    datatype: str
    data: Json | memoryview


class Decoder(ABC):
    """Decodes requests to one signature; threads may share it.

    All methods that decode raise InvalidInput with the row and the column.
    """

    #: The numbers in a row of a tensor; 0 for a table.
    row_size: int = 0
    #: The columns of a table; 0 for a tensor.
    n_columns: int = 0
    #: JSON values, lists and objects that a row has at most, in any form.
    row_values: int

    def rows(
        self,
        raw: Json,
        max_rows: int = ANY_NUMBER,
        prepare: Callable[[Json], Json] = lambda block: block,
        size: int = BLOCK,
    ) -> RawColumns:
        """Decode a JSON list of n rows, in blocks of about `size` bytes.

        `prepare` rewrites a block before it is decoded. Raises InvalidInput.
        """
        rows: RawColumns = self._in_blocks(
            raw, max_rows, lambda block: self._rows(prepare(block)), size
        )
        return rows

    def from_frame(
        self, names: list[str] | None, raw: Json, max_rows: int = ANY_NUMBER
    ) -> RawColumns:
        """Decode a JSON list of n lists, with the names of their columns, if given.

        Returns n values a column, or (n, …). Raises InvalidInput.
        """
        rows: RawColumns = self._in_blocks(
            raw, max_rows, lambda block: self._frame(names, cells_of(block))
        )
        return rows

    def _in_blocks(
        self,
        raw: Json,
        most: int,
        decode: Callable[[Json], Any],
        size: int = BLOCK,
    ) -> Any:
        """Decode a JSON list of at most `most` rows, block by block if it is long."""
        if len(raw) <= size or opening(raw)[:1] != "[":
            return decode(raw)
        parts: list[Any] = []
        first = 0
        for block in blocks(raw, most, self.row_values, size):
            with numbered_from(first):
                parts.append(decode(block))
            first += n_rows(parts[-1])
        return self.joined(parts)

    @abstractmethod
    def joined(self, parts: Sequence[Any]) -> RawColumns:
        """Return the rows of one or more parts as one."""

    @abstractmethod
    def _rows(self, raw: Json) -> RawColumns:
        """Decode a JSON list of n rows. Raises InvalidInput."""

    @abstractmethod
    def _frame(
        self, names: list[str] | None, rows: list[list[msgspec.Raw]]
    ) -> RawColumns:
        """Decode n rows of JSON values. Raises InvalidInput."""

    @abstractmethod
    def by_column(
        self,
        raw: Json,
        max_rows: int = ANY_NUMBER,
        prepare: Callable[[Json], Json] = lambda values: values,
    ) -> RawColumns:
        """Decode a JSON object of inputs, each with n values. Raises InvalidInput."""

    @abstractmethod
    def from_tensors(
        self, tensors: Sequence[Tensor], max_rows: int = ANY_NUMBER
    ) -> RawColumns:
        """Decode named tensors (n, …). Raises InvalidInput."""

    @abstractmethod
    def from_text(self, names: list[str], rows: list[list[str]]) -> RawColumns:
        """Decode n rows of CSV fields; without names they are in signature order.

        Returns n values a column, or (n, …). Raises InvalidInput.
        """

    def is_header(self, fields: list[str]) -> bool:
        """Tell whether the first line of a CSV is a header."""
        return False

    def adapt(self, raw: RawColumns) -> RawColumns:
        """Return raw rows of a similar signature as rows (n, …) of this one.

        Raises InvalidInput if they do not fit.
        """
        return raw

    @abstractmethod
    def row_schemas(self) -> list[Schema]:
        """Return the JSON Schema of every form of a row."""

    @abstractmethod
    def named_row_schema(self) -> Schema:
        """Return the JSON Schema of a row as an object by name."""

    @abstractmethod
    def columns_schema(self, max_rows: int) -> Schema:
        """Return the JSON Schema of values by column, or of a tensor by its name."""

    def rows_schema(self, max_rows: int) -> Schema:
        """Return the JSON Schema of a list of rows, in every form of a row."""
        forms = [list_schema(form, max_rows) for form in self.row_schemas()]
        return {"description": "Rows, all of one form.", "anyOf": forms}


def list_schema(items: Schema, max_rows: int) -> Schema:
    """Return the JSON Schema of a list of one to `max_rows` items."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": max_rows}


def check_widths(rows: Sequence[Sequence[Any]], width: int) -> None:
    """Raise InvalidInput if there is no row, or one without `width` values."""
    if not rows:
        raise InvalidInput("expected at least one row, found none")
    for number, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(
                f"row {number}: expected {width} values, found {len(row)}"
            )


def json_list(items: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Return a JSON list of JSON values."""
    return b"[" + b",".join(items) + b"]"


def cells_of(rows: Json) -> list[list[msgspec.Raw]]:
    """Return the JSON values of each row. Raises InvalidInput if one is no list."""
    try:
        cells: list[list[msgspec.Raw]] = parse(_cells, rows)
    except msgspec.ValidationError as error:
        row = re.match(r"\[(\d+)\]", located(error)[1])
        where = f"row {row[1]}" if row else "rows"
        raise InvalidInput(f"{where}: {plain(error)}") from None
    return cells


@contextmanager
def numbered_from(first: int) -> Iterator[None]:
    """Count the rows in messages of InvalidInput from `first` and not from 0."""
    try:
        yield
    except Misfit as misfit:
        misfit.element = misfit.element and misfit.element + first
        raise
    except InvalidInput as error:
        if not (first and (row := re.match(r"row (\d+)", str(error)))):
            raise
        number, rest = first + int(row[1]), str(error)[row.end() :]
        raise InvalidInput(f"row {number}{rest}") from None


def n_rows(raw: Any) -> int:
    """Return the number of rows of raw columns, of an array, or of predictions."""
    return len(next(iter(raw.values())) if isinstance(raw, dict) else raw)

"""The base of the decoders: from a request to the raw rows of one signature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from models.codecs.json import Json, plain
from models.errors import InvalidInput
from models.features.columns import Schema
from models.features.inputs import RawColumns

_row = msgspec.json.Decoder(list[msgspec.Raw])


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

    @abstractmethod
    def rows(self, raw: Json) -> RawColumns:
        """Decode a JSON list of n rows. Raises InvalidInput."""

    @abstractmethod
    def by_column(self, raw: Json) -> RawColumns:
        """Decode a JSON object of inputs, each with n values. Raises InvalidInput."""

    @abstractmethod
    def from_tensors(self, tensors: Sequence[Tensor]) -> RawColumns:
        """Decode named tensors (n, …). Raises InvalidInput."""

    @abstractmethod
    def from_frame(
        self, names: list[str] | None, rows: Sequence[msgspec.Raw]
    ) -> RawColumns:
        """Decode n rows, each a JSON list, with the names of their columns, if given.

        Returns n values a column, or (n, …). Raises InvalidInput.
        """

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


def cells_of(rows: Sequence[msgspec.Raw]) -> list[list[msgspec.Raw]]:
    """Return the JSON values of each row. Raises InvalidInput if one is no list."""
    cells = []
    for number, row in enumerate(rows):
        try:
            cells.append(_row.decode(row))
        except msgspec.ValidationError as error:
            raise InvalidInput(f"row {number}: {plain(error)}") from None
    return cells

"""Columns in a file instead of in memory: a table may be larger than memory.

A column is written when it is read from its source, and read back when it is asked for:
8 bytes a number, 4 bytes a text and each different text once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Values
from models.features.stored_columns import StoredColumns
from trainer.data.unnamed_file import UnnamedFile


class Stored(NamedTuple):
    """Where a column begins, the type of its numbers, and the texts they stand for."""

    start: int
    dtype: np.dtype[Any]
    texts: tuple[str | None, ...] | None


class ColumnFile(StoredColumns):
    """Raw columns of one table; `taken` (n,) are the numbers of the rows that count."""

    def __init__(
        self,
        file: UnnamedFile | None = None,
        columns: Mapping[str, Stored] | None = None,
        rows: int | None = None,
        taken: NDArray[np.intp] | None = None,
    ) -> None:
        self._file = file or UnnamedFile()
        self._columns = dict(columns or {})
        self._rows, self._taken = rows, taken

    @property
    def rows(self) -> int:
        if self._taken is not None:
            return len(self._taken)
        return self._rows or 0

    def __setitem__(self, name: str, values: Values) -> None:
        """Write a column (n,), as long as the others."""
        self._rows = len(values)
        texts: dict[str | None, int] = {}
        if isinstance(values, np.ndarray):
            numbers: NDArray[Any] = values.astype(np.float64, copy=False)
        else:
            codes = (texts.setdefault(text, len(texts)) for text in values)
            numbers = np.fromiter(codes, np.int32, len(values))
        kept = None if isinstance(values, np.ndarray) else tuple(texts)
        start = self._file.size
        self._columns[name] = Stored(start, numbers.dtype, kept)
        self._file.write(start, numbers)

    def __delitem__(self, name: str) -> None:
        del self._columns[name]

    def __getitem__(self, name: str) -> Values:
        return self._read(name, self._taken)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def block(self, start: int, stop: int) -> dict[str, Values]:
        rows = np.arange(start, stop)
        if self._taken is not None:
            rows = self._taken[start:stop]
        return {name: self._read(name, rows) for name in self}

    def only(self, names: Collection[str]) -> ColumnFile:
        columns = {name: self._columns[name] for name in names}
        return ColumnFile(self._file, columns, self._rows, self._taken)

    def take(self, rows: NDArray[np.intp]) -> ColumnFile:
        taken = rows if self._taken is None else self._taken[rows]
        return ColumnFile(self._file, self._columns, self._rows, taken)

    def _read(self, name: str, rows: NDArray[np.intp] | None) -> Values:
        """Return a column at row numbers (n,), or at all of them."""
        column, first, last = self._columns[name], 0, self._rows or 0
        if rows is not None:
            # The extremes of no rows would be an error.
            first = int(rows.min(initial=last))
            last = max(int(rows.max(initial=-1)) + 1, first)
        numbers = np.empty(last - first, column.dtype)
        self._file.read(column.start + first * column.dtype.itemsize, numbers)
        if rows is not None:
            numbers = numbers[rows - first]
        if column.texts is None:
            return numbers
        texts = column.texts
        return [texts[code] for code in numbers.tolist()]

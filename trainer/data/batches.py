"""The rows of files, a few thousand at a time: memory does not grow with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainer.data.csv import read_parts
from trainer.data.files import (
    damage_said,
    folder_values,
    is_parquet,
    list_files,
    name_below,
)
from trainer.data.table import Part, Table, typed

if TYPE_CHECKING:
    import polars as pl

#: Rows of a batch: enough for matrix products, a few megabytes of most tables.
ROWS = 1 << 16


class Tables(Protocol):
    """A table that comes in parts."""

    @property
    def name(self) -> str:
        """The name for messages."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of each column."""

    def batches(self, wanted: Collection[str]) -> Iterator[Table]:
        """Yield the rows in order, at most ROWS at a time, of the columns wanted.

        Raises DataError.
        """


@dataclass(frozen=True)
class WholeTable:
    """A table in memory, such as the rows of a query."""

    table: Table

    @property
    def name(self) -> str:
        return self.table.parts[0].file

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        return self.table.frame.schema

    def batches(self, wanted: Collection[str]) -> Iterator[Table]:
        (part,) = self.table.parts
        yield from _sliced(part)


@dataclass(frozen=True)
class TableFile:
    """A file of CSV or Parquet, and its path below the folder of its table."""

    path: Path
    below: Path

    @property
    def folders(self) -> Mapping[str, str | None]:
        """The columns that folders around it name, and their value."""
        return folder_values(self.below)

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The type of each column; raises DataError if the file is damaged."""
        import polars as pl

        if is_parquet(self.path):
            with damage_said(self.path):
                schema = dict(pl.read_parquet_schema(self.path))
        else:
            with closing(read_parts(self.path)) as parts:
                schema = dict(next(parts).frame.schema)
        folders = {name: pl.String() for name in self.folders if name not in schema}
        return {**schema, **folders}

    def batches(self, wanted: Collection[str]) -> Iterator[Table]:
        parts = self._parquet(wanted) if is_parquet(self.path) else self._csv()
        for part in parts:
            yield from _sliced(part)

    def _csv(self) -> Iterator[Part]:
        for part in read_parts(self.path):
            yield self._part(part.frame, part.numbers)

    def _parquet(self, wanted: Collection[str]) -> Iterator[Part]:
        import polars as pl

        start = 0
        with damage_said(self.path):
            rows = pl.scan_parquet(self.path, glob=False, hive_partitioning=False)
            names = rows.collect_schema().names()
            # Without any column the number of rows would be lost.
            columns = [name for name in names if name in wanted] or names[:1]
            batches = rows.select(columns).collect_batches(
                chunk_size=ROWS, lazy=True, engine="streaming"
            )
            for frame in batches:
                numbers = np.arange(start + 1, start + len(frame) + 1)
                start += len(frame)
                yield self._part(typed(frame), numbers)
            if not start:
                none = rows.select(columns).head(0).collect()
                yield self._part(typed(none), np.arange(0))

    def _part(self, frame: pl.DataFrame, numbers: np.typing.NDArray[np.intp]) -> Part:
        import polars as pl

        added = {
            name: pl.lit(text, pl.String)
            for name, text in self.folders.items()
            if name not in frame.columns
        }
        return Part(
            str(self.path), self.path.name, frame.with_columns(**added), numbers
        )


def table_files(path: Path) -> list[TableFile]:
    """Return the files of a folder or glob in the order of their names.

    Raises DataError if there are none, or of two formats.
    """
    return [TableFile(file, name_below(file, path)) for file in list_files(path)]


def _sliced(part: Part) -> Iterator[Table]:
    """Yield the rows of a part, at most ROWS at a time, and at least one table."""
    for start in range(0, max(len(part.frame), 1), ROWS):
        frame = part.frame[start : start + ROWS]
        numbers = part.numbers[start : start + ROWS]
        yield Table(frame, (Part(part.file, part.name, frame, numbers),))

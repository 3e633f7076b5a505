"""The columns of Parquet files, one at a time: the table may be larger than memory.

Parquet stores each column by itself, so that reading all columns one after the other
reads the files once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from models.errors import DataError
from trainer.data.files import damage_said, list_files, with_folders
from trainer.data.table import Part, Table, join_parts, typed

if TYPE_CHECKING:
    import polars as pl

#: Bytes that a run in memory takes for each value of the table, at most: its raw value,
#: copies of it, and its encoding for the networks that are fitted at once. A run of one
#: network was measured at 21.
BYTES_A_VALUE = 40
#: The share of the memory that a run may take before its columns are stored.
SHARE = 0.6
#: Bytes of a value on disk: as it was read, and encoded.
BYTES_STORED = 8 + 4
_LIMIT = Path("/sys/fs/cgroup/memory.max")


class ParquetColumns:
    """A frame of which only one column is in memory.

    It has what reading a training set asks of a frame: the names of its columns, its
    length, and each column.
    """

    def __init__(self, path: Path, files: Sequence[Path] = ()) -> None:
        """Raise DataError, with file and column, if the files disagree.

        They are all files of the path, unless some of them are given.
        """
        import polars as pl

        self._path = path
        parts = []
        for file in files or list_files(path):
            with damage_said(file):
                rows = pl.scan_parquet(file, glob=False, hive_partitioning=False)
                n = rows.select(pl.len()).collect().item()
                none = typed(rows.head(0).collect())
            numbers = np.arange(1, n + 1)
            parts.append(with_folders(Part(str(file), file.name, none, numbers), path))
        self.parts = tuple(parts)
        self._types = join_parts(parts).frame
        self.columns = self._types.columns

    def __len__(self) -> int:
        return sum(len(part.numbers) for part in self.parts)

    def __getitem__(self, name: str) -> pl.Series:
        return join_parts([self._read(part, name) for part in self.parts]).frame[name]

    @property
    def texts(self) -> pl.DataFrame:
        """The columns without types, which are those of folders."""
        import polars as pl

        names = [c.name for c in self._types if c.dtype == pl.String]
        return pl.DataFrame([self[name] for name in names])

    def _read(self, part: Part, name: str) -> Part:
        """Return a part with the rows of one column."""
        import polars as pl

        file = Path(part.file)
        with damage_said(file):
            rows = pl.scan_parquet(file, glob=False, hive_partitioning=False)
            if name in rows.collect_schema():
                frame = rows.select(name).collect(engine="streaming")
                return replace(part, frame=typed(frame))
        index = pl.DataFrame({"": part.numbers})
        part = with_folders(replace(part, frame=index), self._path)
        return replace(part, frame=part.frame.select(name))


def read_stored(path: Path, files: Sequence[Path] = ()) -> Table:
    """Return the table of Parquet files whose columns are read one at a time.

    They are all files of the path, unless some of them are given. Raises DataError if
    the files disagree, or the disk has too little room for the columns.
    """
    frame = ParquetColumns(path, files)
    needed = len(frame) * len(frame.columns) * BYTES_STORED
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{path}: its columns need {needed / 1e9:.1f} GB in {folder}, which has "
            f"{free / 1e9:.1f} GB free; TMPDIR names another folder"
        )
    return Table(cast("pl.DataFrame", frame), frame.parts)


def is_large(path: Path) -> bool:
    """Tell whether Parquet files are too large for a run in memory."""
    import polars as pl

    values = 0
    for file in list_files(path):
        with damage_said(file):
            rows = pl.scan_parquet(file, glob=False, hive_partitioning=False)
            n = rows.select(pl.len()).collect().item()
            values += n * len(rows.collect_schema())
    return values * BYTES_A_VALUE > SHARE * memory()


def memory() -> int:
    """Return the bytes of memory that this process may use."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _LIMIT.read_text().strip() if _LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))

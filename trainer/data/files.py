"""Reads the files of a table: one, a folder or a glob, as CSV or Parquet.

    data.csv   data/*.parquet   data/region=north/part-0.parquet

Folders named `column=value` give a column, as Hive and Spark write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from glob import glob
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from models.errors import DataError
from trainer.data.csv import read_csv
from trainer.data.table import Part, Table, join_parts, typed

CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET = (".parquet", ".pq")
#: Hive's name of a missing value.
_NOTHING = "__HIVE_DEFAULT_PARTITION__"


def read_files(path: Path) -> Table:
    """Return the rows of the files; raise DataError that names a file at fault."""
    parts = []
    for file in list_files(path):
        part = _read_parquet(file) if is_parquet(file) else read_csv(file)
        parts.append(with_folders(part, path))
    return join_parts(parts)


def is_parquet(file: Path) -> bool:
    """Tell by its name whether a file is Parquet."""
    return file.name.lower().endswith(PARQUET)


def is_table(name: str) -> bool:
    """Tell by its name whether a file is CSV or Parquet, and not hidden."""
    return name.lower().endswith(CSV + PARQUET) and not name.startswith(".")


def list_files(path: Path) -> list[Path]:
    """Return the files of a table in the order of their names, all of one format.

    Raises DataError if there are none, or of two formats.
    """
    if path.is_dir():
        files = _walk(path)
    elif not path.name.lower().endswith(CSV + PARQUET):
        sheet = path.suffix.lower() in (".xlsx", ".xls", ".ods")
        raise DataError(
            f"{path}: expected .csv, .tsv, .txt, .csv.gz, .parquet, .npz, an "
            "IDX file, builtin:NAME or a database (postgresql://…, sqlite:///…)"
            + ("; save the sheet as CSV UTF-8" if sheet else "")
        )
    else:
        files = [path] if path.exists() else [Path(name) for name in glob(str(path))]
    files = sorted(file for file in files if is_table(file.name))
    if not files:
        raise DataError(f"{path}: there is no .csv, .tsv, .txt or .parquet file")
    if len({is_parquet(file) for file in files}) > 1:
        raise DataError(
            f"{path}: expected files of one format, found .csv and .parquet; choose "
            "some of them by a glob"
        )
    return files


def _walk(folder: Path) -> list[Path]:
    """Return the files of a folder, and of the folders in it named `column=value`."""
    files: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            files.append(entry)
        elif "=" in entry.name:
            files += _walk(entry)
    return files


def _read_parquet(file: Path) -> Part:
    import polars as pl

    with damage_said(file):
        frame = pl.read_parquet(file, glob=False, hive_partitioning=False)
        frame = typed(frame)
    return Part(str(file), file.name, frame, np.arange(1, len(frame) + 1))


@contextmanager
def damage_said(file: Path) -> Iterator[None]:
    """Raise DataError in place of what polars raises on a file that is damaged."""
    import polars as pl

    try:
        yield
    # polars panics on some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{file}: {str(error).splitlines()[0]}") from None


def folder_values(below: Path) -> dict[str, str | None]:
    """Return the columns that the folders of a path name, and their value."""
    values: dict[str, str | None] = {}
    for folder in below.parts[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name:
            values[name] = None if value == _NOTHING else unquote(value)
    return values


def with_folders(part: Part, base: Path) -> Part:
    """Add the columns that the folders of a part below the base name."""
    import polars as pl

    below = name_below(Path(part.file), base)
    columns = {
        name: pl.lit(text, pl.String)
        for name, text in folder_values(below).items()
        if name not in part.frame.columns
    }
    if not columns:
        return part
    return replace(part, name=str(below), frame=part.frame.with_columns(**columns))


def name_below(file: Path, base: Path) -> Path:
    """Return the path of a file below the folder, or the fixed folders of the glob."""
    if base.is_dir():
        return file.relative_to(base)
    fixed = takewhile(lambda name: not set(name) & set("*?["), base.parts)
    return Path(*file.parts[len(list(fixed)) :]) if base != file else Path(file.name)

"""Reads the files of a table: one, a folder or a glob, as CSV or Parquet.

    data.csv   data/*.parquet   data/region=north/part-0.parquet

Folders named `column=value` give a column, as Hive and Spark write them.
"""

from __future__ import annotations

from dataclasses import replace
from glob import glob
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from models.errors import DataError
from trainer.data.csv import read_csv
from trainer.data.table import Part, Table, join_parts, typed_text

CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET = (".parquet", ".pq")
#: Hive's name of a missing value.
_NOTHING = "__HIVE_DEFAULT_PARTITION__"


def read_files(path: Path) -> Table:
    """Return the rows of the files; raise DataError that names a file at fault."""
    files = _files(path)
    parts = []
    for file in files:
        part = _read_parquet(file) if _is(file, PARQUET) else read_csv(file)
        parts.append(_with_folders(part, file, path))
    return join_parts(parts)


def _is(file: Path, endings: tuple[str, ...]) -> bool:
    return file.name.lower().endswith(endings)


def _files(path: Path) -> list[Path]:
    """Return the files of a table in the order of their names, all of one format."""
    if path.is_dir():
        files = [file for file in _walk(path) if _is(file, CSV + PARQUET)]
    elif not _is(path, CSV + PARQUET):
        raise DataError(
            f"{path}: expected .csv, .tsv, .txt, .csv.gz, .parquet, .npz, an "
            "IDX file, builtin:NAME or a database (postgresql://…, sqlite:///…)"
        )
    else:
        files = [path] if path.exists() else [Path(name) for name in glob(str(path))]
    files = sorted(file for file in files if not file.name.startswith("."))
    if not files:
        raise DataError(f"{path}: there is no .csv, .tsv, .txt or .parquet file")
    if len({_is(file, PARQUET) for file in files}) > 1:
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

    try:
        frame = pl.read_parquet(file, glob=False, hive_partitioning=False)
        frame = pl.DataFrame([typed_text(column) for column in frame])
    # polars panics on some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{file}: {str(error).splitlines()[0]}") from None
    return Part(str(file), file.name, frame, np.arange(1, len(frame) + 1))


def _with_folders(part: Part, file: Path, base: Path) -> Part:
    """Add the columns that the folders below the base name."""
    import polars as pl

    columns = {}
    for folder in _below(file, base).parts[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name and name not in part.frame.columns:
            text = None if value == _NOTHING else unquote(value)
            columns[name] = pl.lit(text, pl.String)
    if not columns:
        return part
    name = str(_below(file, base))
    return replace(part, name=name, frame=part.frame.with_columns(**columns))


def _below(file: Path, base: Path) -> Path:
    """Return the path of a file below the folder, or the fixed folders of the glob."""
    if base.is_dir():
        return file.relative_to(base)
    fixed = takewhile(lambda name: not set(name) & set("*?["), base.parts)
    return Path(*file.parts[len(list(fixed)) :]) if base != file else Path(file.name)

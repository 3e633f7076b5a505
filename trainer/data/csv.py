"""Reads CSV: `.csv` and `.csv.gz`, UTF-8, a header, comma or semicolon or tab."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from models.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def read_csv(path: Path) -> pl.DataFrame:
    """Return the file as a frame of text; DataError for what is not a table.

    polars would fill a short line with missing values and stop at an odd byte without
    saying where, so the file is walked once before it is parsed.
    """
    import polars as pl

    separator, header = _check(path)
    try:
        frame = pl.read_csv(
            path,
            separator=separator,
            infer_schema=False,
            has_header=True,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None
    frame.columns = header
    return frame


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _check(path: Path) -> tuple[str, list[str]]:
    """Return the separator and the header of a well-formed table."""
    try:
        with _open(path) as file:
            first = file.readline()
            if not first.strip():
                raise DataError(f"{path}: the file is empty")
            separator = _separator(first)
            file.seek(0)
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            rows = _rows(csv.reader(text, delimiter=separator, strict=True), path)
            header = next(rows)
            _check_header(header, path)
            width = len(header)
            for number, row in enumerate(rows, 2):
                if len(row) != width:
                    raise DataError(
                        f"{path}, line {number}: expected {width} fields as in the "
                        f"header, found {len(row)}"
                    )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.object[error.start]:#04x}); "
            "save it as UTF-8"
        ) from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error})") from None
    return separator, header


def _rows(reader: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None  # type: ignore[attr-defined]


def _separator(first: bytes) -> str:
    counts = {mark: first.count(mark.encode()) for mark in (",", ";", "\t")}
    return max(counts, key=lambda mark: counts[mark])


def _check_header(header: list[str], path: Path) -> None:
    for position, name in enumerate(header, 1):
        if not name:
            raise DataError(f"{path}: column {position} has no name in the header")
        if header.count(name) > 1:
            raise DataError(f"{path}: the header names column '{name}' twice")

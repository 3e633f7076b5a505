"""Reads CSV: `.csv` and `.csv.gz`, UTF-8, with a header; comma, semicolon or tab."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from models.errors import DataError

if TYPE_CHECKING:
    from _csv import Reader

    import polars as pl

#: Rows held as Python objects at once; a frame takes much less memory.
CHUNK = 50_000


def read_csv(path: Path) -> pl.DataFrame:
    """Return the file as a frame of text; raise DataError if it is not a table.

    Python's reader can name the line of an error. polars is faster, but fills a short
    line with missing values. Blank lines are skipped; in a table of one column they are
    missing values.
    """
    try:
        with io.TextIOWrapper(_open(path), "utf-8-sig", newline="") as text:
            return _frame(text, path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected UTF-8 text, found byte "
            f"{error.object[error.start]:#04x}; save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error})") from None


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _frame(text: IO[str], path: Path) -> pl.DataFrame:
    import polars as pl

    first, blank = text.readline(), 0
    while first and not first.strip():
        first, blank = text.readline(), blank + 1
    if not first:
        raise DataError(f"{path}: the file is empty")
    lines = csv.reader(chain([first], text), delimiter=_separator(first), strict=True)
    rows = _rows(lines, blank, path)
    header = next(rows)
    _check_header(header, path)
    schema = dict.fromkeys(header, pl.String)
    frames = [pl.DataFrame(schema=schema)]
    while chunk := list(islice(rows, CHUNK)):
        columns = dict(zip(header, zip(*chunk, strict=True), strict=True))
        frames.append(pl.DataFrame(columns, schema))
    return pl.concat(frames)


def _rows(lines: Reader, blank: int, path: Path) -> Iterator[list[str]]:
    """Yield the rows, all of one width, after a number of blank lines."""
    width = 0
    while True:
        number = blank + lines.line_num + 1
        try:
            row = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}, line {number}: {_reason(error)}") from None
        width = width or len(row)
        if not row and width == 1:
            row = [""]
        if row and len(row) != width:
            raise DataError(
                f"{path}, line {number}: expected {width} fields as in the header, "
                f"found {len(row)}"
            )
        if row:
            yield row


def _reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote is not closed"
    if "field limit" in str(error):
        return (
            f"a field has over {csv.field_size_limit():,} characters; a quote may not "
            "be closed"
        )
    return str(error)


def _separator(first: str) -> str:
    bare = re.sub('"[^"]*"', "", first)
    return max((",", ";", "\t"), key=bare.count)


def _check_header(header: list[str], path: Path) -> None:
    for position, name in enumerate(header, 1):
        if not name:
            raise DataError(f"{path}: column {position} has no name in the header")
        if header.count(name) > 1:
            raise DataError(f"{path}: the header names column '{name}' twice")

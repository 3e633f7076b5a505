"""Reads CSV: UTF-8 or marked UTF-16, gzipped or not; comma, semicolon, tab or bar.

polars reads the file, and this module makes sure that it is a table: polars fills a
short line with missing values. If anything is doubtful, Python's reader reads the file
again, which is slower and can name the line of an error.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from models.errors import DataError
from models.storage.artefact import Finding
from trainer.data.headings import NAMELESS, TITLE, without_headings
from trainer.data.table import Part

if TYPE_CHECKING:
    from _csv import Reader

    import polars as pl

SEPARATORS = (",", ";", "\t", "|")
#: pandas' name of a column without a name, as its index is.
INDEX = "Unnamed: 0"
#: Excel's way to keep the zeros of a code: ="00012".
_FORMULA = r'^="(.*)"$'
#: Rows held as Python objects at once; a frame takes much less memory.
CHUNK = 50_000
#: A file of more bytes is not read at once where its rows can be taken in parts.
WHOLE = 1 << 25
#: Bytes that show the separator.
HEAD = 1 << 16
#: The share of zero bytes from which text is taken for UTF-16.
ZEROS = 0.05
_LINE = re.compile(rb"[^\r\n]*[\r\n]*")
_MARKED = re.compile(rb"sep=(.)\r?\n", re.IGNORECASE)
#: How files of other formats begin, which are saved under a name of CSV as well.
OTHERS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1\x15": "Parquet",
    b"SQLite format 3\0": "a SQLite database",
    b"%PDF-": "PDF",
    b"BZh91AY": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"<html": "HTML",
    b"<!DOCTYPE": "HTML",
    b"<table": "HTML",
    b"<?xml": "XML",
}


def read_csv(path: Path) -> Part:
    """Return the rows of a file as text; raise DataError if it is not a table.

    Blank lines are skipped; in a table of one column they are missing values. A row of
    units below the header and a header that is repeated are left out, with a finding.
    """
    import polars as pl

    with _readable(path):
        with _opened(path) as stream:
            data = stream.read()
        frame = _fast(data)
        if frame is None:
            frame = pl.concat(_careful(io.BytesIO(data), path))
    part = without_headings(path, frame)
    comments = data[: _start(data[:HEAD])[1]].count(b"#")
    if not comments:
        return part
    found = f"{path.name}: comments (#) above the header are left out"
    return replace(part, findings=(Finding("heading", (), found), *part.findings))


def read_parts(path: Path) -> Generator[Part]:
    """Yield the rows of a file in parts, as `read_csv` reads them, and at least one.

    A plain file of at most WHOLE bytes is one part. Raises DataError.
    """
    with _readable(path), _opened(path) as stream:
        if isinstance(stream, gzip.GzipFile) or path.stat().st_size > WHOLE:
            start = 0
            for frame in _careful(stream, path):
                yield without_headings(path, frame, start)
                start += len(frame)
            return
    yield read_csv(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file into a DataError that says what is wrong."""
    try:
        yield
    except UnicodeDecodeError as error:
        if error.encoding != "utf-8":
            raise DataError(f"{path}: damaged UTF-16 text ({error.reason})") from None
        near = error.object[max(error.start - 10, 0) : error.start + 10]
        raise DataError(
            f"{path}: expected UTF-8 text, found byte "
            f"{error.object[error.start]:#04x} in {near.decode('cp1252', 'replace')!r} "
            "(as Windows would read it); save it as UTF-8 (in Excel 'CSV UTF-8')"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged gzip data ({error})") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as UTF-8, behind the mark that it may begin with."""
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=file) if gzipped else file)
        start = stream.read(HEAD)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            stream.seek(0)
            yield io.BytesIO(stream.read().decode("utf-16").encode())
            return
        other = next((o for mark, o in OTHERS.items() if start.startswith(mark)), "")
        if other or start.count(0) > ZEROS * len(start):
            raise DataError(
                f"{path}: expected UTF-8 text, found {other or 'UTF-16'}; save it as "
                "UTF-8 CSV"
            )
        stream.seek(3 if start.startswith(b"\xef\xbb\xbf") else 0)
        yield stream


def _start(data: bytes) -> tuple[str, int]:
    """Return the separator, and where the header begins.

    Spreadsheets write the separator into a line before the header: `sep=;`. The last
    line that begins with # is the header if it has as many fields as the next.
    """
    if mark := _MARKED.match(data):
        return mark[1].decode("latin-1"), mark.end()
    start = last = len(data) - len(data.lstrip(b"\r\n"))
    while data.startswith(b"#", start):
        last = start
        start = _LINE.match(data, start).end()  # type: ignore[union-attr]
    header = _unquoted_line(data, start)
    separator = max(SEPARATORS, key=lambda mark: header.count(mark.encode()))
    fields = header.count(separator.encode())
    if _unquoted_line(data, last).count(separator.encode()) == fields:
        start = last
    return separator, start


def _unquoted_line(data: bytes, start: int) -> bytes:
    line = data[start : data.find(b"\n", start) + 1 or len(data)]
    return re.sub(b'"[^"]*"', b"", line)


def _fast(data: bytes) -> pl.DataFrame | None:
    """Return the file as polars reads it, or None if that may be wrong."""
    import polars as pl

    separator, start = _start(data)
    returns = data.count(b"\r")
    if returns and returns != data.count(b"\r\n"):
        return None  # an old Mac's line end
    if b"\0" in data or _has_stray_quotes(data, separator):
        return None
    blank_lines = (b"\n\n", b"\n\r\n") if returns else (b"\n\n",)
    try:
        body = data[start:]  # a copy only if there is something before it
        if body.endswith(blank_lines):
            body = body.rstrip(b"\r\n") + b"\n"
        if body.endswith(separator.encode()):
            body += b"\n"  # else polars accepts more fields in the last line
        if any(blank in body for blank in blank_lines):
            return None  # a blank line would count as a row below
        header = next(
            csv.reader([body[: body.find(b"\n")].decode()], delimiter=separator)
        )
        names = _header(header)
        if names is None:
            return None
        frame = pl.read_csv(
            body,
            has_header=False,
            skip_lines=1,
            separator=separator,
            infer_schema=False,
            schema=dict.fromkeys(names, pl.String),
        )
    # OSError: polars takes the header `x^2` for the start of compressed data.
    except (
        *(pl.exceptions.PolarsError, csv.Error, StopIteration),
        *(UnicodeDecodeError, OSError),
    ):
        return None
    marks = body.count(separator.encode())
    if b'"' in body:
        inner = pl.all().str.count_matches(separator, literal=True).sum()
        marks -= sum(value or 0 for value in frame.select(inner).row(0))
        marks -= sum(name.count(separator) for name in header)
    width = len(names)
    if width == 1 or marks != (len(frame) + 1) * (width - 1):
        return None
    return _without_formulas(frame) if b'="' in data else frame


def _without_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.all().str.replace(_FORMULA, "$1"))


def _has_stray_quotes(data: bytes, separator: str) -> bool:
    """Tell whether a quote is not at the edge of a field: polars drops some of them."""
    if b'"' not in data:
        return False
    characters = np.frombuffer(data, np.uint8)
    is_edge = np.zeros(256, bool)
    is_edge[[*b'"\r\n', ord(separator)]] = True
    inner = np.flatnonzero(characters[1:-1] == ord('"')) + 1
    beside = is_edge[characters[inner - 1]] | is_edge[characters[inner + 1]]
    return not beside.all()


def _header(header: list[str]) -> list[str] | None:
    """Return the names of the columns, or None if there is something wrong."""
    names = [
        name.strip() or f"{NAMELESS}{position}"
        for position, name in enumerate(header, 1)
    ]
    if len(names) == 1 and names[0].startswith(NAMELESS):
        return None
    if names and names[0].startswith(NAMELESS):
        names[0] = INDEX
    return names if names and len(set(names)) == len(names) else None


@contextmanager
def _long_fields() -> Iterator[None]:
    """Accept fields of any length for a while: the limit is the whole process's."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _careful(stream: IO[bytes], path: Path) -> Iterator[pl.DataFrame]:
    """Yield the rows of a stream, CHUNK at a time, and at least one frame."""
    begin = stream.tell()
    separator, start = _start(head := stream.read(HEAD))
    blank = head[:start].count(b"\n")
    stream.seek(begin + start)
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    try:
        first = text.readline()
        if not first.strip():
            raise DataError(f"{path}: the file is empty")
        given = _text_lines(chain([first], text), blank, path)
        lines = csv.reader(given, delimiter=separator, strict=True)
        yield from _frames(_rows(lines, blank, path), path)
    finally:
        text.detach()  # the stream is the caller's to close


def _text_lines(lines: Iterable[str], blank: int, path: Path) -> Iterator[str]:
    """Yield the lines after a number of blank ones; DataError for a zero byte."""
    for number, line in enumerate(lines, blank + 1):
        if "\0" in line:
            raise DataError(
                f"{path}, line {number}: expected text, found a zero byte; leave it "
                "out, or export the table again"
            )
        yield line


def _frames(rows: Iterator[list[str]], path: Path) -> Iterator[pl.DataFrame]:
    import polars as pl

    with _long_fields():
        header = next(rows)
    names = _header(header) or _refuse_header(header, path)
    schema = dict.fromkeys(names, pl.String)
    is_first = True
    while True:
        with _long_fields():
            chunk = list(islice(rows, CHUNK))
        if not chunk and not is_first:
            return
        columns = dict(zip(names, zip(*chunk, strict=True), strict=bool(chunk)))
        yield _without_formulas(pl.DataFrame(columns, schema))
        is_first = False


def _rows(lines: Reader, blank: int, path: Path) -> Iterator[list[str]]:
    """Yield the rows, all of one width, after a number of blank lines."""
    width, title = 0, f"; {TITLE}"
    while True:
        number = blank + lines.line_num + 1
        try:
            row = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "unexpected end" in reason:
                reason = "a quote is not closed"
            elif "expected after" in reason:
                reason = "text after a closing quote (a quote in a text is doubled)"
            raise DataError(f"{path}, line {number}: {reason}") from None
        width = width or len(row)
        if not row and width == 1:
            row = [""]
        if row and len(row) != width:
            raise DataError(
                f"{path}, line {number}: expected {width} fields as in the header, "
                f"found {len(row)}{title if width == 1 else ''}"
                f"{'; a note below the table has to go' if len(row) == 1 else ''}"
            )
        if row:
            yield row


def _refuse_header(header: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in header]
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(
                f"{path}: the header names column '{name}' twice; rename one of them"
            )
    raise DataError(f"{path}: expected names of columns in the header")

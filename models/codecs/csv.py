"""Rows from CSV, each value read as the trainer reads it.

Clients write tables with a header (pandas, MLflow) or without (SageMaker). If the
request does not say which, the first line of a table is a header if most of its fields
are names of columns. The first line of a tensor is a row unless the request says
otherwise.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain

from models.codecs.decoder import ANY_NUMBER, Decoder, numbered_from
from models.errors import InvalidInput, TooManyRows
from models.features.inputs import RawColumns

#: Fields that are decoded at once.
FIELDS = 1 << 14
#: A line may have this many characters for each of the commas allowed in it.
MOST_PER_FIELD = 200
#: Commas that the texts of a row may have, beside those between its fields.
MOST_COMMAS = 10_000


def csv_rows(
    decoder: Decoder,
    raw: bytes,
    header: bool | None = None,
    max_rows: int = ANY_NUMBER,
) -> RawColumns:
    """Decode n comma-separated rows to raw rows: n values a column, or (n, …).

    `header` tells whether the first line is a header; None finds out. In a table an
    empty field is a missing value. The row of a tensor is its numbers, row-major.
    Raises InvalidInput for rows that do not fit, TooManyRows for more than `max_rows`.
    """
    lines = _lines(raw, decoder.n_columns, decoder.row_values + MOST_COMMAS)
    first = next(lines, None)
    names: list[str] = []
    if first is not None:
        if decoder.is_header(first) if header is None else header:
            names = first
        else:
            lines = chain([first], lines)
    width = len(names) or decoder.n_columns or decoder.row_size
    parts: list[RawColumns] = []
    n = 0
    while rows := _block(lines, width):
        if n + len(rows) > max_rows:
            raise TooManyRows(max_rows)
        with numbered_from(n):
            parts.append(decoder.from_text(names, rows))
        n += len(rows)
    return decoder.joined(parts) if parts else decoder.from_text(names, [])


def _block(lines: Iterator[list[str]], width: int) -> list[list[str]]:
    """Return the next rows of some thousand fields in all.

    The block ends early with the first row that has not `width` fields.
    """
    rows: list[list[str]] = []
    for fields in lines:
        rows.append(fields)
        if len(fields) != width or len(rows) * width >= FIELDS:
            break
    return rows


def _lines(raw: bytes, width: int, most: int) -> Iterator[list[str]]:
    """Yield the fields of each line; a blank line is a row only if `width` is 1.

    Raises InvalidInput for a row of more than `most` commas, of a longer line, or with
    a zero byte.
    """
    text = io.TextIOWrapper(io.BytesIO(raw), "utf-8-sig", newline="")
    commas = 0

    def counted() -> Iterator[str]:
        nonlocal commas
        longest = most * MOST_PER_FIELD
        while line := text.readline(longest):
            if "\0" in line:
                raise InvalidInput("CSV: expected text, found a zero byte")
            commas += line.count(",")
            if commas > most or len(line) == longest:
                raise InvalidInput(
                    f"CSV: expected at most {most} commas and {longest} characters "
                    "in a row"
                )
            yield line

    lines = csv.reader(counted(), strict=True)
    try:
        for fields in lines:
            commas = 0
            if fields:
                width = width and len(fields)
                yield fields
            elif width == 1:
                yield [""]
    except csv.Error as error:
        raise InvalidInput(f"CSV line {lines.line_num}: {error}") from None
    except UnicodeDecodeError:
        raise InvalidInput("not CSV: the text is not UTF-8") from None

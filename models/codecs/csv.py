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
from itertools import islice

from models.codecs.decoder import Decoder
from models.errors import InvalidInput
from models.features.inputs import RawColumns


def csv_rows(
    decoder: Decoder,
    raw: bytes,
    header: bool | None = None,
    max_rows: int | None = None,
) -> RawColumns:
    """Decode n comma-separated rows to raw rows: n values a column, or (n, …).

    `header` tells whether the first line is a header; None finds out. In a table an
    empty field is a missing value. The row of a tensor is its numbers, row-major.
    Raises InvalidInput for rows that do not fit, and for more than `max_rows` before
    any is decoded.
    """
    rows = list(islice(_lines(raw, decoder.n_columns), max_rows and max_rows + 2))
    names: list[str] = []
    if rows and (decoder.is_header(rows[0]) if header is None else header):
        names = rows.pop(0)
    if max_rows is not None and len(rows) > max_rows:
        raise InvalidInput(f"expected {max_rows} rows at most, found more")
    return decoder.from_text(names, rows)


def _lines(raw: bytes, width: int) -> Iterator[list[str]]:
    """Yield the fields of each line; a blank line is a row only if `width` is 1."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("not CSV: the text is not UTF-8") from None
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in lines:
            if fields:
                width = width and len(fields)
                yield fields
            elif width == 1:
                yield [""]
    except csv.Error as error:
        raise InvalidInput(f"CSV line {lines.line_num}: {error}") from None

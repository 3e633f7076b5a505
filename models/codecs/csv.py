"""Rows from CSV, each value read as the trainer reads it.

Clients write tables with a header (pandas, MLflow) or without (SageMaker). Where the
request does not say which, it is seen: a header holds names of columns mostly. A tensor
has names for nothing, so its header must be said.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.codecs.table import TableDecoder, raw_values
from models.codecs.tensor import TensorDecoder
from models.errors import InvalidInput
from models.features.columns import (
    MISSING,
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
)
from models.features.table import Columns

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TRUTH = {"true": True, "false": False}


def csv_rows(
    decoder: TableDecoder | TensorDecoder,
    raw: bytes,
    header: bool | None = None,
    most: int | None = None,
) -> Columns | NDArray[np.float32]:
    """Decode comma-separated rows; `header` tells whether names stand above them.

    In a table an empty field is a missing value; without a header its values stand in
    the signature's order. A tensor's row is its numbers, row-major. More than `most`
    rows are refused before they are looked at.
    """
    width = len(decoder.names) if isinstance(decoder, TableDecoder) else 0
    rows = list(islice(_lines(raw, width), most and most + 2))
    names: list[str] = []
    if rows and (_is_header(decoder, rows[0]) if header is None else header):
        names = rows.pop(0)
    if most is not None and len(rows) > most:
        raise InvalidInput(f"expected {most} rows at most, found more")
    if isinstance(decoder, TensorDecoder):
        check_widths(rows, decoder.tensor.size)
        return decoder.array([_numbers(row, number) for number, row in enumerate(rows)])
    return _columns(decoder, names, rows)


def _is_header(decoder: TableDecoder | TensorDecoder, first: list[str]) -> bool:
    if isinstance(decoder, TensorDecoder):
        return False
    return 2 * len(decoder.table.by_name.keys() & set(first)) > len(first)


def _columns(decoder: TableDecoder, names: list[str], rows: list[list[str]]) -> Columns:
    _check(decoder, names)
    names = names or decoder.names
    check_widths(rows, len(names))
    return decoder.assemble(
        {
            name: _values(decoder.table.by_name[name], texts)
            for name, texts in zip(names, zip(*rows, strict=True), strict=True)
        }
    )


def _lines(raw: bytes, width: int) -> Iterator[list[str]]:
    """Yield the fields of each line; a blank one is a row only where `width` is 1."""
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


def check_widths(rows: Sequence[Sequence[Any]], width: int) -> None:
    """Raise InvalidInput for the first row of other than `width` values, or no row."""
    if not rows:
        raise InvalidInput("expected at least one row, found none")
    for number, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(
                f"row {number}: expected {width} values, found {len(row)}"
            )


def _check(decoder: TableDecoder, names: list[str]) -> None:
    for place, name in enumerate(names):
        if not name:
            raise InvalidInput(
                f"field {place} of the header is empty; is it an index, which is no "
                "column of the model?"
            )
        if name not in decoder.table.by_name:
            raise InvalidInput(decoder.unknown(name))
        if name in names[:place]:
            raise InvalidInput(f"the header names column '{name}' twice")


def _values(column: AnyColumn, texts: Sequence[str]) -> Any:
    if isinstance(column, CategoricalColumn):
        return [text or None for text in texts]
    parse, expected = _KINDS[type(column)]
    values: list[Any] = []
    for row, text in enumerate(texts):
        bare = text.strip()
        try:
            values.append(None if not bare or bare in MISSING else parse(text))
        except ValueError:
            raise InvalidInput(
                f"row {row}, column '{column.name}': expected {expected}, or nothing "
                "where it is missing"
            ) from None
    return raw_values(column, values)


def _numbers(row: list[str], number: int) -> list[float]:
    values: list[float] = []
    for text in row:
        try:
            values.append(_number(text))
        except ValueError:
            raise InvalidInput(
                f"row {number}, position {len(values)}: expected a finite number"
            ) from None
    return values


def _number(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError
    return value


def _truth(text: str) -> bool:
    try:
        return _TRUTH[text.lower()]
    except KeyError:
        raise ValueError from None


_KINDS: dict[type, tuple[Callable[[str], Any], str]] = {
    NumericColumn: (_number, "a finite number"),
    BooleanColumn: (_truth, "true or false"),
    DatetimeColumn: (str, "a date"),
}

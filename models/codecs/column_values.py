"""The values of one column, from JSON."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec
import numpy as np

from models.codecs.blocks import BLOCK, fits
from models.codecs.datatypes import Misfit, as_array
from models.codecs.json import Json, located, opening, parse, plain
from models.errors import InvalidInput, TooManyRows
from models.features.columns import Floats, Values


def require_rows(raw: Json, max_rows: int) -> None:
    """Raise TooManyRows for a JSON list of more items, or of more values in them."""
    if not fits(raw, max_rows, 4 * max_rows + BLOCK):
        raise TooManyRows(max_rows)


def column_values(kind: Any, name: str, raw: Json) -> list[Any]:
    """Decode a list of values, or of lists of one value, of a type.

    Raises InvalidInput.
    """
    nested = opening(raw)[:2] == "[["
    try:
        values: list[Any] = parse(_lists(kind, nested), raw)
    except msgspec.ValidationError as error:
        raise InvalidInput(_in_column(error, name)) from None
    return [value for (value,) in values] if nested else values


@cache
def _lists(kind: Any, nested: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[tuple[kind] if nested else kind])  # type: ignore[misc]


def finite_numbers(elements: Any, datatype: str) -> Values:
    """Return numbers or booleans as float64. Raises Misfit for infinity."""
    if isinstance(elements, list):
        elements = as_array(elements, datatype)
    values: Floats = elements.astype(np.float64, copy=False)
    if len(infinite := np.flatnonzero(np.isinf(values))):
        raise Misfit("expected a number, found infinity", int(infinite[0]))
    return values


def _in_column(error: msgspec.ValidationError, name: str) -> str:
    if "`array` of length 1" in str(error):
        return f"column '{name}': expected one value a row"
    row = re.match(r"\[(\d+)\]", located(error)[1])
    where = f"row {row[1]}, column '{name}'" if row else f"column '{name}'"
    return f"{where}: {plain(error)}"

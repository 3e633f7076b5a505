"""From a polars frame to raw columns: the kind of each, and its values.

Columns of a CSV file are text. Their kind is the first that all values match: numbers,
true or false, ISO dates, and so on, else categorical. Parquet files have types. For a
trained model the kinds are those of its signature, and other values are an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.features.columns import COLUMN_KINDS, Values
from models.features.predictions import Label, label_text
from models.features.text import (
    FIRST_SECOND,
    LAST_SECOND,
    MISSING,
    is_number,
    parse_truth,
)
from trainer.data.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl


def dataset(
    frame: pl.DataFrame,
    target: str | None,
    kinds: dict[str, str] | None,
    nullable: frozenset[str] = frozenset(),
) -> Dataset:
    """Return the data set of a frame.

    Without `kinds` every column except the target is an input, its kind inferred. With
    `kinds` exactly those columns are inputs: others are ignored, and an absent one is
    filled with missing values if it is `nullable`. Raises DataError if any other
    column, or the target, is absent.
    """
    if not len(frame):
        raise DataError("expected rows, found only a header")
    names = frame.columns
    if target is not None and target not in names:
        raise DataError(
            f"there is no target column '{target}'{nearest(target, names)}; "
            f"the columns are {', '.join(names[:20])}"
        )
    labels = None if target is None else read_labels(frame[target])
    if kinds is None:
        kinds = {n: infer_kind(frame[n]) for n in names if n != target}
        if not kinds:
            raise DataError(f"there is no input column besides the target '{target}'")
    inputs: dict[str, Values] = {}
    for name, kind in kinds.items():
        if name in names:
            inputs[name] = read_values(frame[name], kind)
        elif name in nullable:
            inputs[name] = COLUMN_KINDS[kind].missing(len(frame))
        else:
            raise DataError(f"column '{name}' is missing{nearest(name, names)}")
    return Dataset(inputs, kinds, target or "", labels)


def infer_kind(column: pl.Series) -> str:
    """Return the kind of a column, from its type or, if it is text, its values.

    Raises DataError for a type that is not supported.
    """
    import polars as pl

    kind = column.dtype
    if kind == pl.String:
        return _infer_text(column)
    if kind.is_numeric():
        return "numeric"
    if kind == pl.Boolean:
        return "boolean"
    if kind in (pl.Date, pl.Datetime):
        return "datetime"
    if kind in (pl.Categorical, pl.Enum):
        return "categorical"
    if kind == pl.Null:
        return "numeric"
    raise DataError(
        f"column '{column.name}': expected numbers, text, booleans or dates, "
        f"found {kind}"
    )


def _infer_text(column: pl.Series) -> str:
    present = column.filter(~_missing(column))
    if not _numbers(present).is_null().any():
        return "numeric"
    texts = present.unique().to_list()
    return next(
        name for name, kind in COLUMN_KINDS.items() if all(map(kind.matches, texts))
    )


def _missing(text: pl.Series) -> pl.Series:
    """Tell which texts stand for a missing value."""
    return text.is_null() | text.str.strip_chars().is_in(["", *MISSING])


def _numbers(text: pl.Series) -> pl.Series:
    import polars as pl

    return text.str.strip_chars().cast(pl.Float64, strict=False)


def read_values(column: pl.Series, kind: str) -> Values:
    """Return the raw values (n,) of a column as a kind.

    Raises DataError for the first row with another value.
    """
    import polars as pl

    is_text = column.dtype == pl.String
    if not is_text and infer_kind(column) != kind != "categorical":
        _refuse(column, ~column.is_null(), COLUMN_KINDS[kind].expected, column.dtype)
        return COLUMN_KINDS[kind].missing(len(column))
    if kind == "categorical":
        texts: list[str | None] = _as_text(column).to_list()
        return [text or None for text in texts]
    if kind == "numeric":
        return _floats(column, is_text)
    if is_text:
        return _parsed(column, kind)
    return _datetimes(column) if kind == "datetime" else _array(column.cast(pl.Float64))


def _as_text(column: pl.Series) -> pl.Series:
    """Return values as text; check dates first, since polars panics on some."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        _datetimes(column)
    return column.cast(pl.String)


def _floats(column: pl.Series, is_text: bool) -> NDArray[np.float64]:
    import polars as pl

    if is_text:
        numbers = _numbers(column)
        wrong = numbers.is_null() & ~_missing(column)
        _refuse(column, wrong, "a number", "text")
    else:
        numbers = column.cast(pl.Float64)
    _refuse(column, numbers.is_nan(), "a number (leave it empty if missing)", "NaN")
    _refuse(column, numbers.is_infinite(), "a finite number", "infinity")
    return _array(numbers)


def _parsed(column: pl.Series, kind: str) -> NDArray[np.float64]:
    """Return the values (n,) of a column of text, as the class of the kind reads it."""
    import polars as pl

    missing, parsed = _missing(column), {}
    for text in column.filter(~missing).unique():
        with contextlib.suppress(ValueError):
            parsed[text] = COLUMN_KINDS[kind].parse_text(text)
    wrong = ~missing & ~column.is_in(list(parsed))
    _refuse(column, wrong, COLUMN_KINDS[kind].expected, "other text")
    return _array(column.replace_strict(parsed, default=None, return_dtype=pl.Float64))


def _datetimes(column: pl.Series) -> NDArray[np.float64]:
    import polars as pl

    if column.dtype == pl.Date:
        moments = column.to_physical().cast(pl.Float64) * 86_400
    else:
        moments = column.cast(pl.Datetime("us")).to_physical() / 1e6
    far = (moments < FIRST_SECOND) | (moments > LAST_SECOND)
    _refuse(column, far, "a date of the years 1 to 9999", "another")
    return _array(moments)


def _array(numbers: pl.Series) -> NDArray[np.float64]:
    """Return a new array (n,) of numbers, NaN if missing."""
    return np.array(numbers.fill_null(np.nan).to_numpy())


def read_labels(column: pl.Series) -> Sequence[Label | None]:
    """Return the values of a target; text becomes numbers only if all of it can.

    Text that is not the canonical form of a number ("007", "1.50") stays text. Raises
    DataError for a type that is not supported or a number that is not finite.
    """
    import polars as pl

    if column.dtype == pl.String:
        return _read_text_labels(column)
    if column.dtype in (pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Decimal):
        column = _as_text(column)
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"target '{column.name}': expected numbers, text, booleans or dates, "
            f"found {column.dtype}"
        )
    values: list[Label | None] = column.to_list()
    for row, value in enumerate(values, 1):
        if isinstance(value, float) and not np.isfinite(value):
            raise DataError(
                f"target '{column.name}', row {row}: expected a finite number, "
                f"found {value}"
            )
    return values


def _read_text_labels(column: pl.Series) -> Sequence[Label | None]:
    texts: list[str | None] = [text or None for text in column.to_list()]
    present = {text for text in texts if text is not None}
    # `NA` is a missing value among numbers and booleans, but a class among words.
    distinct = present - MISSING or present
    for parse in (_parse_whole, float, parse_truth):
        try:
            table = {text: parse(text) for text in distinct}
        except ValueError:
            continue
        if all(label_text(v) == text and np.isfinite(v) for text, v in table.items()):
            return [None if text is None else table.get(text) for text in texts]
    if all(map(is_number, distinct)):
        return [text if text in distinct else None for text in texts]
    return texts


def _parse_whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError("too large for an int64")
    return number


def _refuse(column: pl.Series, bad: pl.Series, expected: object, found: object) -> None:
    """Raise DataError for the first row that is bad; rows are counted from 1."""
    rows = bad.fill_null(False).arg_true()
    if len(rows):
        raise DataError(
            f"column '{column.name}', row {int(rows[0]) + 1}: "
            f"expected {expected}, found {found}"
        )

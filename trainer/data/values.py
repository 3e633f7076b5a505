"""The kind and the values of one column, by its type or by its texts."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.columns import COLUMN_KINDS
from models.features.dates import FIRST_SECOND, LAST_SECOND
from models.features.text import EXACT, plain_text
from trainer.data import kinds
from trainer.data.spelling import Spelling
from trainer.data.table import shown

if TYPE_CHECKING:
    import polars as pl


def is_supported(column: pl.Series) -> bool:
    """Tell whether the values can be an input: numbers, text, booleans or dates."""
    import polars as pl

    kind = column.dtype
    plain = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
    return kind.is_numeric() or kind.is_temporal() or kind in plain


def untyped(column: pl.Series, typed: bool = False) -> pl.Series | None:
    """Return a column of text, also of typed text if `typed`; None for another."""
    import polars as pl

    if column.dtype == pl.String:
        return column
    if typed and column.dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    return None


def inferred(
    column: pl.Series, marks: tuple[str, ...] = (), numbers: pl.Series | None = None
) -> Spelling:
    """Return how a column is read by its type or, if it has none, by its values."""
    import polars as pl

    if column.dtype == pl.String:
        return kinds.infer(column, marks, numbers)
    kind = kind_of_type(column)
    if kind == "categorical":
        # A file with types may still hold its dates as text: those are not categories.
        found = kinds.infer(column.cast(pl.String), marks)
        return found if found.kind == "datetime" else Spelling(kind, marks=marks)
    if column.dtype.is_integer() and _is_long(column.cast(pl.Float64)):
        reason = "more digits than a number can hold"
        return Spelling("categorical", marks=marks, reason=reason)
    format = "h:mm:ss" if column.dtype in (pl.Time, pl.Duration) else ""
    return Spelling(kind, format, marks)


def kind_of_type(column: pl.Series) -> str:
    """Return the kind that a type has; text is categorical."""
    import polars as pl

    if column.dtype.is_numeric() or column.dtype in (pl.Null, pl.Time, pl.Duration):
        return "numeric"
    if column.dtype == pl.Boolean:
        return "boolean"
    return "datetime" if column.dtype in (pl.Date, pl.Datetime) else "categorical"


def value_at(column: pl.Series, index: int) -> str:
    """Return a value for a message; polars cannot write a date after the year 9999."""
    if column.dtype.is_temporal():
        return "a date outside of the years 1 to 9999"
    return shown(column[index])


def require_supported(column: pl.Series) -> None:
    """Raise DataError if the values cannot be an input."""
    if not is_supported(column):
        raise DataError(
            f"column '{column.name}': expected numbers, text, booleans or dates, "
            f"found {column.dtype}"
        )


def _is_long(numbers: pl.Series) -> bool:
    """Tell whether some of the whole numbers are not exact as float64."""
    long = int((numbers.abs() > EXACT).sum())
    return long > 0 and long >= kinds.CODES * len(numbers)


def categories(column: pl.Series, marks: Collection[str] = ()) -> list[str | None]:
    """Return values as text without blanks around it, where `1.0` is `1` if both are.

    So are NFC and NFD of a text.

    Raises DataError for a date that cannot be written.
    """
    texts = as_text(column).str.strip_chars()
    distinct = set(texts.drop_nulls().unique().to_list())
    spelled: dict[str, str | None] = {
        text: plain
        for text in distinct
        if (plain := plain_text(text)) != text
        and (plain in distinct or column.dtype.is_numeric())
    }
    spelled |= dict.fromkeys({"", *marks} & distinct)
    values: list[str | None] = texts.to_list()
    if not spelled:
        return values
    return [spelled.get(text, text) if text is not None else None for text in values]


def as_text(column: pl.Series) -> pl.Series:
    """Return values as text; check dates first, since polars panics on some."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        _, far = _datetimes(column)
        refuse(column, far, "a date of the years 1 to 9999", "another")
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.cast(pl.String)


def numbers_of(
    column: pl.Series, spelling: Spelling, numbers: pl.Series | None = None
) -> tuple[NDArray[np.float64], list[int]]:
    """Return the raw values (n,) of a column that is no text, as training takes them.

    They are NaN where one is missing or odd; the indices of odd ones come second.
    `numbers` (n,) are those of plain text, if they are known.
    """
    text = untyped(column, typed=True)
    if text is None:
        values, odd = typed_values(column, spelling.kind)
    else:
        values, odd = kinds.read_numbers(text, spelling, numbers)
    if marks := [_number(mark, spelling) for mark in spelling.marks]:
        values = np.where(np.isin(values, marks), np.nan, values)
    return values, odd


def _number(mark: str, spelling: Spelling) -> float:
    try:
        return COLUMN_KINDS[spelling.kind].parse_text(mark, spelling.format)
    except ValueError:
        return np.nan


def typed_values(column: pl.Series, kind: str) -> tuple[NDArray[np.float64], list[int]]:
    """Return the values (n,) of a typed column, and the indices of those not finite."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        numbers, far = _datetimes(column)
    elif column.dtype in (pl.Time, pl.Duration):
        ticks = column.cast(pl.Duration("us")).to_physical()
        numbers, far = ticks / 1e6, ticks.is_null() & False
    else:
        numbers = column.cast(pl.Float64)
        far = numbers.is_infinite()
    far = far.fill_null(False)
    return _array(numbers.set(far, None)), far.arg_true().to_list()


def _datetimes(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return seconds since 1970 (n,), and which have no year of 1 to 9999 (n,).

    PostgreSQL's infinity is such a date.
    """
    import polars as pl

    if column.dtype == pl.Date:
        moments = column.to_physical().cast(pl.Float64) * 86_400
    else:
        moments = column.cast(pl.Datetime("us")).to_physical() / 1e6
    return moments, (moments < FIRST_SECOND) | (moments > LAST_SECOND)


def _array(numbers: pl.Series) -> NDArray[np.float64]:
    """Return a new array (n,) of numbers, NaN if missing."""
    return np.array(numbers.fill_null(np.nan).to_numpy())


def refuse(column: pl.Series, bad: pl.Series, expected: object, found: object) -> None:
    """Raise DataError for the first row that is bad; rows are counted from 1."""
    rows = bad.fill_null(False).arg_true()
    if len(rows):
        raise DataError(
            f"column '{column.name}', row {int(rows[0]) + 1}: "
            f"expected {expected}, found {found}"
        )

"""From a polars frame to raw columns: what kind each is, and its values.

A CSV file is text, so each of its columns is looked at whole: numeric when every
value is a number, boolean when every one is true or false, datetime when every one is
an ISO date; else categorical. Parquet says its types itself. With a model at hand its
own kinds are asked for instead, and a value that does not fit is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.features.columns import FIRST_SECOND, LAST_SECOND, MISSING, Values, seconds
from models.features.predictions import Label, label_text
from trainer.data.dataset import Dataset

if TYPE_CHECKING:
    import polars as pl

_TRUTH = {"true": 1.0, "false": 0.0}
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_EXPECTED = {"numeric": "a number", "boolean": "true or false", "datetime": "a date"}
_DATE = r"^\d{4}-\d{2}-\d{2}([T ].*)?$"


def dataset(
    frame: pl.DataFrame,
    target: str | None,
    kinds: dict[str, str] | None,
    nullable: frozenset[str] = frozenset(),
) -> Dataset:
    """Make a data set of a frame.

    Without `kinds` every column but the target is an input, its kind inferred. With
    `kinds` exactly those are inputs: further columns are ignored, an absent one is
    missing where it is `nullable`, else a DataError. The same holds for the target.
    """
    if not len(frame):
        raise DataError("there are no rows, only a header")
    names = frame.columns
    if target is not None and target not in names:
        raise DataError(
            f"there is no target column '{target}'{nearest(target, names)}; "
            f"the columns are {', '.join(names[:20])}"
        )
    labels = None if target is None else labels_of(frame[target])
    if kinds is None:
        kinds = {n: infer_kind(frame[n]) for n in names if n != target}
        if not kinds:
            raise DataError(f"there is no column besides the target '{target}'")
    inputs: dict[str, Values] = {}
    for name, kind in kinds.items():
        if name in names:
            inputs[name] = values_of(frame[name], kind)
        elif name in nullable:
            inputs[name] = absent(kind, len(frame))
        else:
            raise DataError(f"column '{name}' is missing{nearest(name, names)}")
    return Dataset(inputs, kinds, target or "", labels)


def absent(kind: str, n: int) -> Values:
    """Return a column without a value."""
    return [None] * n if kind == "categorical" else np.full(n, np.nan)


def infer_kind(column: pl.Series) -> str:
    """Return the kind of a column, from its type or, where it is text, its values."""
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
        f"column '{column.name}' holds {kind}; expected numbers, text, booleans, dates"
    )


def _infer_text(column: pl.Series) -> str:
    present = column.filter(~_missing(column))
    if not len(present):
        return "numeric"
    if not _numbers(present).is_null().any():
        return "numeric"
    if present.str.to_lowercase().is_in(list(_TRUTH)).all():
        return "boolean"
    if present.str.contains(_DATE).all() and _are_dates(present):
        return "datetime"
    return "categorical"


def _are_dates(present: pl.Series) -> bool:
    try:
        for text in present.unique():
            seconds(text)
    except ValueError:
        return False
    return True


def _missing(text: pl.Series) -> pl.Series:
    """Tell where a text stands for no value."""
    return text.is_null() | text.str.strip_chars().is_in(["", *MISSING])


def _numbers(text: pl.Series) -> pl.Series:
    import polars as pl

    return text.str.strip_chars().cast(pl.Float64, strict=False)


def values_of(column: pl.Series, kind: str) -> Values:
    """Return the raw values of a column as a kind; DataError if they are not that."""
    import polars as pl

    is_text = column.dtype == pl.String
    if not is_text and infer_kind(column) != kind != "categorical":
        _refuse(column, ~column.is_null(), _EXPECTED[kind], column.dtype)
        return absent(kind, len(column))
    if kind == "categorical":
        texts: list[str | None] = _spelled(column).to_list()
        return [text or None for text in texts]
    if kind == "datetime":
        return _datetimes(column, is_text)
    if kind == "boolean":
        return _booleans(column, is_text)
    return _floats(column, is_text)


def _spelled(column: pl.Series) -> pl.Series:
    """Return values as text; dates are looked at, since polars panics over some."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        _datetimes(column, is_text=False)
    return column.cast(pl.String)


def _floats(column: pl.Series, is_text: bool) -> NDArray[np.float64]:
    import polars as pl

    if is_text:
        numbers = _numbers(column)
        _refuse(column, numbers.is_null() & ~_missing(column), "a number", "text")
    else:
        numbers = column.cast(pl.Float64)
    _refuse(column, numbers.is_nan(), "a number (leave it empty if missing)", "NaN")
    _refuse(column, numbers.is_infinite(), "a finite number", "infinity")
    return _array(numbers)


def _booleans(column: pl.Series, is_text: bool) -> NDArray[np.float64]:
    import polars as pl

    if not is_text:
        return _array(column.cast(pl.Float64))
    lower = column.str.to_lowercase()
    numbers = lower.replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    wrong = numbers.is_null() & ~_missing(column)
    _refuse(column, wrong, _EXPECTED["boolean"], "other text")
    return _array(numbers)


def _datetimes(column: pl.Series, is_text: bool) -> NDArray[np.float64]:
    import polars as pl

    if not is_text:
        if column.dtype == pl.Date:
            moments = column.to_physical().cast(pl.Float64) * 86_400
        else:
            moments = column.cast(pl.Datetime("us")).to_physical() / 1e6
        far = (moments < FIRST_SECOND) | (moments > LAST_SECOND)
        _refuse(column, far, "a date of the years 1 to 9999", "another")
        return _array(moments)
    parsed: dict[str, float] = {}
    for text in column.filter(~_missing(column)).unique():
        try:
            parsed[text] = seconds(text)
        except ValueError:
            _refuse(column, column == text, "an ISO 8601 date", "other text")
    return _array(column.replace_strict(parsed, default=None, return_dtype=pl.Float64))


def _array(numbers: pl.Series) -> NDArray[np.float64]:
    """Return numbers as an array of its own, NaN where they are missing."""
    return np.array(numbers.fill_null(np.nan).to_numpy())


def labels_of(column: pl.Series) -> Sequence[Label | None]:
    """Return a target's values as they are spelled: numbers only if all are plain.

    Text that is not the canonical spelling of a number ("007", "1.50") stays text.
    """
    import polars as pl

    if column.dtype == pl.String:
        return _labels_of_text(column)
    if column.dtype in (pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Decimal):
        column = _spelled(column)
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"target '{column.name}' holds {column.dtype}; "
            "expected numbers, text, booleans, dates"
        )
    values: list[Label | None] = column.to_list()
    for row, value in enumerate(values, 1):
        if isinstance(value, float) and not np.isfinite(value):
            raise DataError(
                f"target '{column.name}', row {row}: expected a finite number, "
                f"found {value}"
            )
    return values


def _labels_of_text(column: pl.Series) -> Sequence[Label | None]:
    texts: list[str | None] = [text or None for text in column.to_list()]
    present = {text for text in texts if text is not None}
    # Among numbers and truths `NA` is a missing one, among words it may be a class.
    distinct = present - MISSING or present
    for kind in (_whole, float, _truth):
        try:
            table = {text: kind(text) for text in distinct}
        except (ValueError, KeyError):
            continue
        if all(label_text(v) == text and np.isfinite(v) for text, v in table.items()):
            return [None if text is None else table.get(text) for text in texts]
    if all(map(is_number, distinct)):
        return [text if text in distinct else None for text in texts]
    return texts


def is_number(text: str) -> bool:
    """Tell whether text is written as a number, and not as a code such as 007."""
    return bool(_NUMBER.fullmatch(text.strip()))


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError("no format of numbers holds it")
    return number


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _refuse(column: pl.Series, bad: pl.Series, expected: object, found: object) -> None:
    """Raise for the first row where `bad` is true; rows count from 1, as people do."""
    rows = bad.fill_null(False).arg_true()
    if len(rows):
        raise DataError(
            f"column '{column.name}', row {int(rows[0]) + 1}: "
            f"expected {expected}, found {found}"
        )

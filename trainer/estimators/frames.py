"""From what people have in a notebook to rows that the trainer reads.

A data frame, of polars or pandas, is a table. So is an array (n, columns), whose
columns are named x0, x1, …; an array of more dimensions holds images.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.features.predictions import label_text
from trainer.data import ArraySource, FrameSource, Source

if TYPE_CHECKING:
    import polars as pl

#: The type of the values of a column, by the first of these that all are.
_TYPES: tuple[type | tuple[type, ...], ...] = (
    str,
    (bool, np.bool_),
    numbers.Integral,
    (numbers.Real, decimal.Decimal),
    datetime.datetime,
    datetime.date,
)
_ANY = (str, bool, np.bool_, numbers.Real, decimal.Decimal, datetime.date)


@dataclass(frozen=True)
class Rows:
    """Rows of inputs: a frame, or images (n, …).

    `names` are the column names of a data frame, or None for an array without names.
    """

    frame: pl.DataFrame | None
    images: NDArray[Any] | None
    names: list[str] | None

    @property
    def n_features(self) -> int:
        """The number of columns, or of values in a row of images."""
        if self.images is not None:
            return int(np.prod(self.images.shape[1:]))
        assert self.frame is not None
        return self.frame.width

    def __len__(self) -> int:
        return len(self.images if self.frame is None else self.frame)  # type: ignore[arg-type]

    def source(self, target: pl.Series | None = None) -> Source:
        """Return the rows as data of the trainer, with their target if given."""
        if self.images is not None:
            y = None if target is None else target.to_numpy()
            y = y.astype(str) if y is not None and y.dtype == object else y
            return ArraySource("an array", X=self.images, y=y)
        assert self.frame is not None
        columns = [] if target is None else [target]
        return FrameSource("a data frame", frame=self.frame.with_columns(columns))


def read_rows(X: Any) -> Rows:
    """Return the rows of a data frame or an array.

    Raises TypeError for sparse matrices and for values that are neither numbers, text,
    truth values nor dates, and ValueError for rows of no or one dimension.
    """
    import polars as pl

    if hasattr(X, "toarray") or hasattr(X, "tocsr"):
        raise TypeError("sparse matrices are not supported: use X.toarray()")
    if isinstance(X, pl.LazyFrame):
        X = X.collect()
    if not hasattr(X, "columns") or not hasattr(X, "dtypes"):
        return _require_size(_array_rows(np.asarray(X)))
    names = list(X.columns)
    texts = [isinstance(name, str) for name in names]
    if any(texts) and not all(texts):
        raise TypeError(
            "Feature names are only supported if all input features have string names, "
            "but your input has other names too: use X.columns = X.columns.map(str)"
        )
    if isinstance(X, pl.DataFrame):
        return _require_size(Rows(X, None, names))
    columns = [
        series(name if isinstance(name, str) else f"x{i}", X.iloc[:, i])
        for i, name in enumerate(names)
    ]
    return _require_size(
        Rows(pl.DataFrame(columns), None, names if all(texts) else None)
    )


def _array_rows(X: NDArray[Any]) -> Rows:
    import polars as pl

    if X.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead. "
            "Reshape your data either using array.reshape(-1, 1) if your data has a "
            "single feature or array.reshape(1, -1) if it contains a single sample."
        )
    if X.dtype.kind == "c":
        raise ValueError("Complex data not supported")
    if X.ndim > 2:
        return Rows(None, X, None)
    columns = [series(f"x{i}", X[:, i]) for i in range(X.shape[1])]
    return Rows(pl.DataFrame(columns), None, None)


def _require_size(rows: Rows) -> Rows:
    n, width = len(rows), rows.n_features
    for count, what in ((width, "feature"), (n, "sample")):
        if not count:
            shape = (n, width)
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is "
                "required."
            )
    return rows


def series(name: str, values: Any) -> pl.Series:
    """Return values (n,) of pandas, polars, NumPy or a list as a series of polars.

    Raises TypeError for values that are neither numbers, text, truth values nor dates.
    """
    import polars as pl

    if isinstance(values, pl.Series):
        return values.alias(name)
    if getattr(getattr(values, "dtype", None), "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    array = values if isinstance(values, np.ndarray) else None
    if array is None and isinstance(getattr(values, "dtype", None), np.dtype):
        array = np.asarray(values)
    if array is not None and array.dtype.kind in "biufM":
        array = array.astype(np.float32) if array.dtype == np.float16 else array
        array = array.astype("M8[us]") if array.dtype.kind == "M" else array
        # An array of its own, in the byte order of this machine, as polars needs it.
        return pl.Series(name, array.astype(array.dtype.newbyteorder("="), order="C"))
    missing = values.isna().tolist() if hasattr(values, "isna") else None
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    if missing is not None:
        pairs = zip(listed, missing, strict=True)
        listed = [None if is_missing else value for value, is_missing in pairs]
    return _from_list(name, listed)


def _from_list(name: str, values: Sequence[Any]) -> pl.Series:
    """Return values as the narrowest type that all have; as text if they differ."""
    import polars as pl

    values = [None if value is None or value != value else value for value in values]
    present = [value for value in values if value is not None]
    for value in present:
        if not isinstance(value, _ANY):
            raise TypeError(
                f"column '{name}': argument must be a string, a number, a truth value "
                f"or a date, not '{type(value).__name__}'"
            )
    for kind in _TYPES:
        if all(isinstance(value, kind) for value in present):
            dtype = pl.Float64 if kind == _TYPES[3] else None
            return pl.Series(name, values, dtype=dtype, strict=False)
    return pl.Series(name, [None if v is None else label_text(v) for v in values])

"""Columns that tell which row it is, and so are no input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Values
from models.features.text import EXACT
from models.storage.artefact import Finding

if TYPE_CHECKING:
    import polars as pl

#: Fewer rows do not show that a column identifies them.
MIN_ROWS = 50
#: The share of different values from which a column of text identifies rows.
UNIQUE = 0.95


def identifies(column: pl.Series, values: Values) -> Finding | None:
    """Report a column that tells which row it is, and is left out."""
    if isinstance(values, np.ndarray):
        if not numbers_rows(values):
            return None
        reason, way = "numbers the rows", f", data.time={column.name} splits by it"
    else:
        distinct = column.n_unique() - bool(column.null_count())
        present = len(column) - column.null_count()
        if present < MIN_ROWS or distinct < UNIQUE * present:
            return None
        reason, way = f"has {distinct:,} different texts in {present:,} rows", ""
    name = column.name
    return Finding(
        "unused",
        (name,),
        f"column '{name}' {reason}, and is left out as an identifier "
        f"(data.columns.{name}.kind keeps it{way})",
    )


def numbers_rows(values: NDArray[np.float64]) -> bool:
    """Tell whether whole numbers (n,), distinct and in even steps, number n rows."""
    if len(values) < MIN_ROWS or not np.isfinite(values).all():
        return False
    if (
        (values[:MIN_ROWS] % 1).any()
        or (values != np.floor(values)).any()
        or np.abs(values).max() > EXACT
    ):
        return False
    steps = np.diff(np.sort(values))
    step = steps.min()
    return bool(step > 0 and np.ptp(values) / step < 1.1 * len(values))

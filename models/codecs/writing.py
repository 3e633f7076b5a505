"""The way back: raw rows as the JSON a client would send."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
    Values,
    iso,
)
from models.features.table import Columns, TableInput
from models.features.tensor import TensorInput


def json_rows(
    inputs: TableInput | TensorInput, raw: Columns | NDArray[Any], rows: slice
) -> list[Any]:
    """Return the chosen rows as objects by column name, or as nested lists.

    A missing value is None; a nullable column stays in the row all the same.
    """
    if isinstance(inputs, TensorInput):
        nested: list[Any] = np.asarray(raw, np.float32)[rows].tolist()
        return nested
    columns = {
        column.name: _plain(column, cast(Columns, raw)[column.name][rows])
        for column in inputs.columns
    }
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def _plain(column: AnyColumn, values: Values) -> list[Any]:
    if isinstance(column, CategoricalColumn):
        return list(values)
    floats = np.asarray(values, np.float64).tolist()
    present: list[Any] = [None if x != x else x for x in floats]
    if isinstance(column, BooleanColumn):
        return [x if x is None else bool(x) for x in present]
    if isinstance(column, DatetimeColumn):
        return [x if x is None else iso(x, column.has_time) for x in present]
    if isinstance(column, NumericColumn) and column.integer:
        return [int(x) if x is not None and x.is_integer() else x for x in present]
    return present

"""Warnings: which raw values are unlike all that a model has seen in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.features.inputs import Inputs, RawColumns

#: Values that are named in one reply; the others are counted.
MAX_WARNINGS = 100


def warnings(inputs: Inputs, raw: RawColumns) -> list[dict[str, Any]]:
    """Return row, column and reason of each such value of n raw rows.

    Values are missing where none was in training, categories that were never seen, or
    numbers and dates beyond the range of training. After `MAX_WARNINGS` the last entry
    is the number of the others.
    """
    found: list[dict[str, Any]] = []
    others = 0
    for column, is_unlike, reason in inputs.doubts(raw):
        rows = np.flatnonzero(is_unlike)
        named = rows[: MAX_WARNINGS - len(found)].tolist()
        found += [{"row": row, "column": column, "warning": reason} for row in named]
        others += len(rows) - len(named)
    return [*found, {"warning": f"{others} more"}] if others else found

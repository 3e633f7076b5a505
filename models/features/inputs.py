"""The types shared by all kinds of input, and raw rows in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from models.features.stored_columns import StoredColumns
from models.features.table import Columns, TableInput
from models.features.tensor import TensorInput
from models.types import Array

#: The signature of a model.
Inputs: TypeAlias = TableInput | TensorInput
#: Raw rows: columns of a table, or one array (n, …).
RawColumns: TypeAlias = Columns | NDArray[Any]

#: Rows that are encoded at once: a multiple of what a network takes at once.
BLOCK = 1 << 16


def length(raw: RawColumns) -> int:
    """Return the number of rows."""
    if isinstance(raw, StoredColumns):
        return raw.rows
    return len(raw if isinstance(raw, np.ndarray) else next(iter(raw.values())))


def blocks(raw: RawColumns) -> Iterator[tuple[int, RawColumns]]:
    """Yield the number of a first row, and the rows from there on: at most BLOCK."""
    if isinstance(raw, StoredColumns):
        for start in range(0, max(raw.rows, 1), BLOCK):
            yield start, raw.block(start, min(start + BLOCK, raw.rows))
        return
    n = length(raw)
    for start in range(0, max(n, 1), BLOCK):
        rows = slice(start, start + BLOCK)
        if n <= BLOCK:
            yield start, raw
        elif isinstance(raw, np.ndarray):
            yield start, raw[rows]
        else:
            yield start, {name: values[rows] for name, values in raw.items()}


def encode(inputs: Inputs, raw: RawColumns) -> Array:
    """Return n raw rows as a network takes them, X (n, …), encoded block by block."""
    X: Array | None = None
    for start, block in blocks(raw):
        encoded = inputs.encode(cast(Any, block))
        if len(encoded) == length(raw):
            return encoded
        if X is None:
            X = np.empty((length(raw), *encoded.shape[1:]), encoded.dtype)
        X[start : start + len(encoded)] = encoded
    assert X is not None
    return X

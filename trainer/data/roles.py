"""Columns that say something about the rows and are no inputs of the model.

group    names the rows that belong together, as text
time     orders the rows, as a number or as seconds since 1970
weight   what a row counts, as a number of 0 or more
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.features.columns import Floats, Texts, Values
from models.features.table import Columns
from models.features.text import is_missing, seconds
from trainer.data.dataset import Dataset

Role: TypeAlias = Literal["group", "time", "weight"]

#: Larger weights might not be added up in float64.
HEAVIEST = 1e100


def set_aside(data: Dataset, roles: Mapping[Role, str]) -> Dataset:
    """Move the column of each role from the inputs to `aside`, in the form it needs.

    DataError where there is no such column, or where a row that has a target has no
    value in it, or one that does not fit.
    """
    if not roles:
        return data
    inputs, aside = dict(_columns(data, roles)), {}
    counted = np.array([label is not None for label in data.target or ()])
    for role, name in roles.items():
        if name not in inputs:
            why = ": it is the target" if name == data.target_name else ""
            raise DataError(
                f"there is no column '{name}' among the inputs for data.{role}"
                f"{why or nearest(name, inputs)}"
            )
        column = _Column(f"column '{name}' (data.{role})", data.kinds[name], counted)
        aside[name] = _READERS[role](column, inputs[name])
    kinds = {name: kind for name, kind in data.kinds.items() if name not in aside}
    if not kinds:
        raise DataError(f"there is no input besides {', '.join(map(repr, aside))}")
    kept = {name: inputs[name] for name in kinds}
    return replace(data, inputs=kept, kinds=kinds, aside=aside)


def _columns(data: Dataset, roles: Mapping[Role, str]) -> Columns:
    if isinstance(data.inputs, np.ndarray):
        role = next(iter(roles))
        raise DataError(f"data.{role} names a column, and these data are arrays")
    return data.inputs


class _Column:
    """What a column is called, and which of its rows must hold a value."""

    def __init__(self, name: str, kind: str, counted: NDArray[np.bool_]) -> None:
        self.name, self.kind, self.counted = name, kind, counted

    def require(self, fits: NDArray[np.bool_], expected: str, found: str) -> None:
        """Refuse the first row that counts and does not fit; rows count from 1."""
        bad = np.flatnonzero(self.counted & ~fits)
        if len(bad):
            raise DataError(
                f"{self.name}, row {bad[0] + 1}: expected {expected}, found {found}"
            )

    def parsed(
        self, texts: Texts, parse: Callable[[str], float], expected: str
    ) -> Floats:
        """Return texts as numbers, NaN where one is missing; refuse other text."""
        table: dict[str | None, float] = {None: np.nan}
        for text in {text for text in texts if text is not None}:
            if is_missing(text):
                table[text] = np.nan
                continue
            try:
                table[text] = parse(text)
            except ValueError:
                continue
        fits = np.array([text in table for text in texts])
        self.require(fits, expected, "other text")
        return np.array([table.get(text, np.nan) for text in texts])


def _groups(column: _Column, values: Values) -> Values:
    texts = group_text(values)
    present = np.array([text is not None for text in texts])
    column.require(present, "the name of a group", "none")
    return texts


def group_text(values: Values) -> Texts:
    """Return values as text: a group is the same however its column is typed."""
    if not isinstance(values, np.ndarray):
        return values
    distinct, inverse = np.unique(values, return_inverse=True)
    texts = [
        None if np.isnan(x) else repr(x + 0.0).removesuffix(".0")
        for x in distinct.tolist()
    ]
    return [texts[i] for i in inverse.tolist()]


def _times(column: _Column, values: Values) -> Floats:
    expected = "a number or an ISO 8601 date"
    if column.kind == "boolean":
        raise DataError(f"{column.name}: expected {expected}, found true and false")
    if not isinstance(values, np.ndarray):
        values = column.parsed(values, seconds, expected)
    column.require(~np.isnan(values), expected, "none")
    return values


def _weights(column: _Column, values: Values) -> Floats:
    expected = "a number of 0 or more"
    if column.kind not in ("numeric", "categorical"):
        raise DataError(f"{column.name}: expected numbers, found {column.kind} values")
    if not isinstance(values, np.ndarray):
        values = column.parsed(values, float, expected)
    column.require(np.isfinite(values), expected, "none")
    column.require(values >= 0, expected, "a negative one")
    column.require(values <= HEAVIEST, f"a number of at most {HEAVIEST:g}", "a larger")
    if not (values[column.counted] > 0).any():
        raise DataError(f"{column.name} is 0 in every row: nothing counts")
    return values


_READERS: dict[Role, Callable[[_Column, Any], Values]] = {
    "group": _groups,
    "time": _times,
    "weight": _weights,
}

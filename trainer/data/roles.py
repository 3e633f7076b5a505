"""Columns that describe the rows and are not inputs of the model.

group    the rows of equal text belong together
time     orders the rows, as a number or as seconds since 1970
weight   how much a row counts, a number of at least 0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.features.columns import Floats, Texts, Values
from models.features.dates import seconds
from models.features.stored_columns import StoredColumns
from models.features.table import Columns
from models.features.text import is_missing, parse_number
from trainer.data.dataset import Dataset

Role: TypeAlias = Literal["group", "time", "weight"]

#: The sum of larger weights might overflow float64.
MAX_WEIGHT = 1e100


def set_aside(data: Dataset, roles: Mapping[Role, str]) -> Dataset:
    """Move the column of each role from the inputs to `aside`, converted for the role.

    Raises DataError if there is no such column, or if a row with a target has no value
    in it or one that does not fit.
    """
    if not roles:
        return data
    inputs, aside = _columns(data, roles), {}
    has_target = np.array([label is not None for label in data.target or ()])
    for role, name in roles.items():
        if name not in inputs:
            if name == data.target_name:
                raise DataError(f"data.{role}={name} names the target: name another")
            raise DataError(
                f"data.{role}: there is no column '{name}'{nearest(name, inputs)}"
            )
        column = _Column(f"column '{name}' (data.{role})", data.kinds[name], has_target)
        aside[name] = _READERS[role](column, inputs[name])
    kinds = {name: kind for name, kind in data.kinds.items() if name not in aside}
    if not kinds:
        names = ", ".join(map(repr, aside))
        raise DataError(f"there is no input column besides {names}")
    if isinstance(inputs, StoredColumns):
        inputs = inputs.only(kinds)
    else:
        inputs = {name: inputs[name] for name in kinds}
    return replace(data, inputs=inputs, kinds=kinds, aside=aside)


def _columns(data: Dataset, roles: Mapping[Role, str]) -> Columns:
    if isinstance(data.inputs, np.ndarray):
        role = next(iter(roles))
        raise DataError(f"data.{role} names a column, but these data are an array")
    return data.inputs


class _Column:
    """A column's name and kind, and which of its rows must have a value."""

    def __init__(self, name: str, kind: str, has_target: NDArray[np.bool_]) -> None:
        self.name, self.kind, self.has_target = name, kind, has_target

    def require(self, fits: NDArray[np.bool_], expected: str, found: str) -> None:
        """Raise DataError for the first row with a target that does not fit."""
        bad = np.flatnonzero(self.has_target & ~fits)
        if len(bad):
            raise DataError(
                f"{self.name}, row {bad[0] + 1}: expected {expected}, found {found}"
            )

    def parsed(
        self, texts: Texts, parse: Callable[[str], float], expected: str
    ) -> Floats:
        """Return texts as numbers (n,), NaN if missing; DataError for other text."""
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
    column.require(present, "the name of a group", "no value")
    return texts


def group_text(values: Values) -> Texts:
    """Return values as text, so that a group is the same whatever its column's type."""
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
        values = column.parsed(values, _moment, expected)
    column.require(~np.isnan(values), expected, "no value")
    return values


def _moment(text: str) -> float:
    """Return a number of more digits than float64 holds, or a date, as a number."""
    return parse_number(text) if text.lstrip("+-").isdigit() else seconds(text)


def _weights(column: _Column, values: Values) -> Floats:
    expected = "a number of at least 0"
    if column.kind not in ("numeric", "categorical"):
        raise DataError(f"{column.name}: expected numbers, found {column.kind} values")
    if not isinstance(values, np.ndarray):
        values = column.parsed(values, float, expected)
    column.require(np.isfinite(values), expected, "no value")
    column.require(values >= 0, expected, "a negative number")
    column.require(values <= MAX_WEIGHT, f"a number of at most {MAX_WEIGHT:g}", "more")
    if not (values[column.has_target] > 0).any():
        raise DataError(f"{column.name} is 0 in every row: no row counts")
    return values


_READERS: dict[Role, Callable[[_Column, Any], Values]] = {
    "group": _groups,
    "time": _times,
    "weight": _weights,
}

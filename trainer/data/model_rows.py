"""The rows of a table for a model that exists, as it was trained on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.errors import DataError, nearest
from models.features.columns import COLUMN_KINDS, CategoricalColumn, Column, Values
from models.features.predictions import Label, Output, Regression
from models.features.table import TableInput
from trainer.data import kinds
from trainer.data.dataset import Dataset
from trainer.data.labels import read_labels
from trainer.data.spelling import Spelling, conflict
from trainer.data.table import Table, require_target, shown
from trainer.data.totals import totals
from trainer.data.values import (
    categories,
    inferred,
    kind_of_type,
    refuse,
    require_supported,
    typed_values,
    untyped,
    value_at,
)

if TYPE_CHECKING:
    import polars as pl


def model_rows(
    table: Table,
    inputs: TableInput,
    target: str | None,
    output: Output | None = None,
    also: Collection[str] = (),
) -> Dataset:
    """Return the columns of a model, and those of `also` that are there.

    An absent column is filled with missing values if it is nullable. Raises DataError
    if any other column, or the target, is absent, or if a value does not fit.
    """
    frame = table.frame
    labels = None
    require_target(frame, target)
    if target is not None:
        labels = _labels(table, frame[target], output)
        if totals(frame, table.place, _kept(table, inputs)):
            labels = [*labels[:-1], None]
    values: dict[str, Values] = {}
    read_as: dict[str, str] = {}
    for column in inputs.columns:
        values[column.name] = _model_values(table, column)
        read_as[column.name] = column.kind
    for name in also:
        if name in frame.columns and name not in values:
            spelling = inferred(frame[name])
            read_as[name] = spelling.kind
            values[name] = _strict_values(table, frame[name], spelling)
    return Dataset(values, read_as, target or "", labels)


def _kept(table: Table, inputs: TableInput) -> set[str]:
    """Return the columns whose training rows had what looks like a row of totals."""
    frame, kept = table.frame, set()
    for column in inputs.columns:
        if column.name in frame.columns and len(frame):
            text = frame[column.name][-1]
            known = isinstance(column, CategoricalColumn) and text in column.categories
            if column.nullable or known:
                kept.add(column.name)
    return kept


def _labels(
    table: Table, column: pl.Series, output: Output | None
) -> Sequence[Label | None]:
    """Return the labels (n,) of a target, spelled as the model's training data did."""
    marks = () if output is None else output.marks
    format = output.format if isinstance(output, Regression) else ""
    if format and (text := untyped(column)) is not None:
        _refuse_conflict(table, text, Spelling("numeric", format, marks))
    labels, _ = read_labels(column, table.place, _kind(output), format or None, marks)
    return labels


def _kind(output: Output | None) -> str | None:
    """Return how the target of a model is read."""
    classes = () if output is None else output.classes
    if output is None or any(isinstance(label, bool) for label in classes):
        return None
    texts = any(isinstance(label, str) for label in classes)
    return "categorical" if texts else "numeric"


def _model_values(table: Table, column: Column) -> Values:
    name, frame = column.name, table.frame
    if name in frame.columns:
        spelling = Spelling(column.kind, column.format, column.marks)
        values = _strict_values(table, frame[name], spelling)
        return values if isinstance(values, np.ndarray) else column.from_json(values)
    if column.nullable:
        return column.missing(len(frame))
    raise DataError(f"column '{name}' is missing{nearest(name, frame.columns)}")


def _strict_values(table: Table, column: pl.Series, spelling: Spelling) -> Values:
    """Return the raw values (n,) of a column; raise DataError for an odd one."""
    require_supported(column)
    if spelling.is_text:
        return categories(column, spelling.marks)
    kind = COLUMN_KINDS[spelling.kind]
    text = untyped(column, typed=True)
    if text is not None:
        _refuse_conflict(table, text, spelling)
        values, odd = kinds.read_numbers(text, spelling)
    elif kind_of_type(column) != spelling.kind:
        refuse(column, ~column.is_null(), kind.expected, column.dtype)
        return kind.missing(len(column))
    else:
        values, odd = typed_values(column, spelling.kind)
    if odd:
        raise DataError(
            f"column '{column.name}', {table.place(odd[0])}: expected {kind.expected}, "
            f"found {value_at(column, odd[0])}; leave it empty if it is missing"
        )
    return values


def _refuse_conflict(table: Table, text: pl.Series, spelling: Spelling) -> None:
    """Raise DataError if thousands separators are decimal marks as well."""
    if spelling.kind != "numeric" or not spelling.format:
        return
    if both := conflict(text.drop_nulls(), spelling):
        row, other = (table.place(int((text == each).arg_max() or 0)) for each in both)
        raise DataError(
            f"column '{text.name}', {row}: expected numbers as {spelling.format}, "
            f"found {shown(both[0])}: what is {shown(both[1])} ({other}) then?"
        )

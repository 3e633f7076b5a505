"""Values that are unlike those of training are named, with their row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
)
from models.features.dates import seconds
from models.features.table import TableInput
from models.features.tensor import TensorInput
from models.features.warnings import MAX_WARNINGS, warnings

NAN = float("nan")
DAYS = np.array([seconds("2024-01-01"), seconds("2024-12-31")])
COLUMNS: dict[str, AnyColumn] = {
    "age": NumericColumn.fit("age", np.array([18.0, 90.0])),
    "pay": NumericColumn.fit("pay", np.array([NAN, 1.0])),
    "never": NumericColumn.fit("never", np.array([NAN, NAN])),
    "flag": BooleanColumn.fit("flag", np.array([0.0, 1.0])),
    "day": DatetimeColumn.fit("day", DAYS),
    "home": CategoricalColumn.fit("home", ["owner", "rent"]),
    "many": CategoricalColumn(name="many", categories=("a",), rare=3, nullable=True),
}


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("age", 18.0, ""),
        ("age", 17.9, "below the range of training, 18 to 90"),
        ("age", 91.0, "above the range of training, 18 to 90"),
        ("age", NAN, "missing, as none was in training"),
        ("pay", NAN, ""),
        ("never", 7.0, ""),
        ("flag", 1.0, ""),
        ("flag", NAN, "missing, as none was in training"),
        ("day", DAYS[0] - 1, "below the range of training, 2024-01-01 to 2024-12-31"),
        ("day", DAYS[1], ""),
        ("home", "rent", ""),
        ("home", "castle", "never seen"),
        ("home", None, "missing, as none was in training"),
        ("many", None, ""),
        ("many", "b", "rare or never seen in training"),
    ],
)
def test_a_value_unlike_training_is_named(column: str, value: Any, reason: str) -> None:
    table = TableInput((COLUMNS[column],))
    raw = {column: [value] if isinstance(value, str | None) else np.array([value])}
    expected = [{"row": 0, "column": column, "warning": reason}] if reason else []
    assert warnings(table, raw) == expected


def test_the_first_are_named_and_the_others_counted() -> None:
    n = MAX_WARNINGS + 5
    raw = {"home": ["castle"] * n, "age": np.full(n, 1.0)}
    table = TableInput((COLUMNS["home"], COLUMNS["age"]))
    *named, last = warnings(table, raw)
    assert [one["row"] for one in named] == list(range(MAX_WARNINGS))
    assert last == {"warning": f"{n + 5} more"}


def test_rows_of_a_tensor_are_named() -> None:
    X = np.array([[0.0, 1.0], [-1.0, 1.0], [0.5, 9.0]], np.float32)
    found = warnings(TensorInput((2,), 0.0, 1.0, [0.0], [1.0]), X)
    assert [(one["row"], one["warning"].split(",")[0]) for one in found] == [
        (1, "has numbers below the range of training"),
        (2, "has numbers above the range of training"),
    ]


def test_unknown_categories_are_counted() -> None:
    table = TableInput((COLUMNS["home"], COLUMNS["age"]))
    raw = {"home": ["rent", "castle", None, "hut"], "age": np.zeros(4)}
    assert list(table.unknown(raw)) == [("home", 2)]

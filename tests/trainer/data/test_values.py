"""A typed column says what it is."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from trainer.data.values import inferred

PLUS_TWO = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pl.Series("c", [1, None], pl.Int8), "numeric"),
        (pl.Series("c", [1], pl.UInt64), "numeric"),
        (pl.Series("c", [1.5], pl.Float32), "numeric"),
        (pl.Series("c", ["1.50"]).cast(pl.Decimal(10, 2)), "numeric"),
        (pl.Series("c", [None], pl.Null), "numeric"),
        (pl.Series("c", [True, None]), "boolean"),
        (pl.Series("c", [dt.date(2024, 1, 1)]), "datetime"),
        (pl.Series("c", [dt.datetime(2024, 1, 1, tzinfo=PLUS_TWO)]), "datetime"),
        (pl.Series("c", ["a"], pl.Categorical), "categorical"),
        (pl.Series("c", ["a"], pl.Enum(["a", "b"])), "categorical"),
        (pl.Series("c", ["1", "2"]), "numeric"),
        # Text by its type is text, but dates are often written as text.
        (pl.Series("c", ["1", "2"], pl.Categorical), "categorical"),
        (pl.Series("c", ["2024-01-31"], pl.Categorical), "datetime"),
        (pl.Series("c", [1577134800018164904, 1]), "categorical"),
        (pl.Series("c", [1 << 53, 1]), "numeric"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_typed_column_says_its_kind(column: pl.Series, kind: str) -> None:
    assert inferred(column).kind == kind

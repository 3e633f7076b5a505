"""Files whose columns have other types are one table."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import DataError
from trainer.data import read
from trainer.data.table import shown


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


MONTHS: list[dict[str, Any]] = [
    {
        "n": pl.Series([1, 2], dtype=pl.Int64),
        "t": pl.Series([datetime(2024, 1, 1)] * 2, dtype=pl.Datetime("ns")),
        "z": pl.Series([datetime(2024, 1, 1)] * 2).dt.replace_time_zone("UTC"),
        "s": pl.Series(["a", "b"]),
        "m": pl.Series([None, None], dtype=pl.Null),
        "d": pl.Series(["1.5", "2.5"]).cast(pl.Decimal(10, 1)),
        "y": [0, 1],
    },
    {
        "n": pl.Series([1.5, None], dtype=pl.Float32),
        "t": pl.Series([datetime(2024, 2, 1), None], dtype=pl.Datetime("us")),
        "z": pl.Series([date(2024, 2, 1), None]),
        "s": pl.Series(["c", None], dtype=pl.Categorical),
        "m": pl.Series([True, False]),
        "d": pl.Series(["1.25", None]).cast(pl.Decimal(12, 2)),
        "y": [1.0, None],
    },
]


def test_months_of_other_types_are_widened(
    write_parquet: Callable[..., Path], tmp_path: Path
) -> None:
    for number, month in enumerate(MONTHS):
        write_parquet(month, f"months/{number}.parquet")
    found = read(str(tmp_path / "months"), "y")
    assert isinstance(found.inputs, dict)
    assert found.inputs["s"] == ["a", "b", "c", None]
    first, second = 1704067200.0, 1706745600.0
    for name, expected in {
        "n": [1, 2, 1.5, math.nan],
        "t": [first, first, second, math.nan],
        "z": [first, first, second, math.nan],
        "m": [math.nan, math.nan, 1, 0],
        "d": [1.5, 2.5, 1.25, math.nan],
    }.items():
        np.testing.assert_array_equal(found.inputs[name], expected, name)
    assert found.target == [0, 1, 1, None]


def test_a_column_of_text_and_numbers_is_told_with_its_file(
    write_parquet: Callable[..., Path], tmp_path: Path
) -> None:
    write_parquet({"x": [1, 2], "y": [0, 1]}, "months/1.parquet")
    second = write_parquet({"x": ["a", "b"], "y": [0, 1]}, "months/2.parquet")
    assert refused(read, str(tmp_path / "months"), "y").startswith(
        f"{second}: column 'x' is Categorical, but Int64 in another file"
    )


def test_a_value_is_shown_on_one_line_and_short() -> None:
    assert shown("two\nlines\u200b") == r"'two\nlines\u200b'"
    assert shown("x" * 90) == f"'{'x' * 39}…'"

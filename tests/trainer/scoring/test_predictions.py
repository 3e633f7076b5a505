"""Predictions as columns: their names and types."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import ConfigError
from models.features.predictions import Classification, Label, Regression
from trainer.scoring import predictions


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        ((False, True), pl.Boolean),
        ((0, 1, 2), pl.Int64),
        ((0.5, 1.5), pl.Float64),
        (("a", "b"), pl.String),
        ((0, "other"), pl.String),
        ((0, 1 << 70), pl.String),
    ],
    ids=str,
)
@pytest.mark.parametrize("rows", [0, 3])
def test_columns_are_of_the_types_announced(
    rows: int, classes: tuple[Label, ...], dtype: Any
) -> None:
    output = Classification(classes)
    answer = output.decode(np.zeros((1, rows, output.width), np.float32))
    for as_text in (False, True):
        types = predictions.column_types(output, None, as_text)
        found = pl.DataFrame(predictions.columns(output, answer, as_text))
        assert dict(found.schema) == types
        assert types["prediction"] == (pl.String if as_text else dtype)


def test_a_number_has_the_ends_of_its_interval() -> None:
    output = Regression(0.0, 1.0)
    assert list(predictions.column_types(output, None)) == ["prediction"]
    answer = {name: np.ones(2) for name in ("value", "lower", "upper")}
    found = predictions.columns(output, answer)
    assert list(found) == list(predictions.column_types(output, 0.9))
    with pytest.raises(ConfigError, match="--keep lower"):
        predictions.require_distinct(["id", "lower"], found)

"""Every form of rows that a notebook has becomes a frame, or images."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest

from trainer.estimators.frames import read_rows, series


def test_an_array_is_a_table_without_names() -> None:
    rows = read_rows(np.array([[1.0, np.nan], [3.0, 4.0]]))
    assert rows.frame is not None and rows.names is None
    assert rows.frame.columns == ["x0", "x1"] and rows.n_features == 2
    images = read_rows(np.zeros((3, 2, 2)))
    assert images.frame is None and (len(images), images.n_features) == (3, 4)


def test_a_frame_keeps_its_names_and_types() -> None:
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    for given in (frame, frame.lazy()):
        rows = read_rows(given)
        assert rows.names == ["a", "b"] and rows.frame is not None
        assert rows.frame.equals(frame)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1, 2], ">i4"), pl.Int32),
        (np.array([1.5, 2], "f2"), pl.Float32),
        (np.array(["2026-01-01", "NaT"], "M8[s]"), pl.Datetime),
        (np.array([True, None], object), pl.Boolean),
        (np.array([1, 2.5, np.nan], object), pl.Float64),
        (["a", None, "b"], pl.String),
        ([datetime.date(2026, 1, 1), None], pl.Date),
        ([Decimal("1.5"), 2], pl.Float64),
        ([1, "two"], pl.String),
    ],
)
def test_values_get_the_narrowest_type(values: Any, dtype: Any) -> None:
    found = series("a", values)
    assert found.dtype == dtype and len(found) == len(values)


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        (np.zeros(3), ValueError, "Reshape your data"),
        (np.zeros((0, 3)), ValueError, "0 sample"),
        (np.zeros((3, 0)), ValueError, "0 feature"),
        (np.zeros((2, 2), complex), ValueError, "Complex"),
        (np.array([[{}], [1]], object), TypeError, "not 'dict'"),
    ],
)
def test_other_forms_are_errors(rows: Any, error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        read_rows(rows)

"""The baseline is a row like any other, and typical."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.predictions import Regression
from models.features.reference import Reference
from models.features.table import TableInput, fit_column
from models.features.tensor import TensorInput


def of(inputs: Any, raw: Any) -> Any:
    answer = {"value": np.zeros(2)}
    return inputs.baseline(
        Reference.fit(inputs, raw, Regression(0.0, 1.0), answer).inputs
    )


def column(kind: str, values: Any) -> Any:
    raw = {"c": values}
    inputs = TableInput((fit_column("c", kind, values),))
    return of(inputs, raw)["c"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(0, 3))
def test_a_number_has_its_median(values: list[float], gaps: int) -> None:
    found = column("numeric", np.array(values + [np.nan] * gaps))
    assert found.tolist() == [pytest.approx(np.median(values), abs=1e-6)]


@given(st.lists(st.booleans(), min_size=1), st.integers(0, 3))
def test_a_truth_value_is_the_more_frequent(values: list[bool], gaps: int) -> None:
    found = column("boolean", np.array([float(v) for v in values] + [np.nan] * gaps))
    assert found.tolist() == [float(2 * sum(values) > len(values))]


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(0, 3))
def test_a_category_is_the_most_frequent(values: list[str], gaps: int) -> None:
    (found,) = column("categorical", values + [None] * gaps)
    assert values.count(found) == max(map(values.count, values))


def test_a_column_without_a_value_has_none() -> None:
    assert column("categorical", [None, None]) == [None]


def test_images_have_the_empty_one_and_matrices_the_mean() -> None:
    images = np.arange(3.0, 27.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        of(TensorInput.fit(images), images), np.full((1, 3, 4), 3.0)
    )
    matrix = np.array([[1.0, 10.0], [3.0, 30.0]])
    np.testing.assert_allclose(of(TensorInput.fit(matrix), matrix), [[2.0, 20.0]])


def test_it_encodes_and_answers_like_a_row(made: Any) -> None:
    manifest = made.manifest
    one = manifest.inputs.baseline(manifest.reference.inputs)
    answer = made.model.predict(one)
    assert all(len(values) == 1 for values in answer.values())

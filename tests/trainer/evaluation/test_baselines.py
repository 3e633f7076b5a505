"""Two simple models, checked against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from models.features.predictions import Classification, Regression
from models.features.table import TableInput, fit_column
from trainer.evaluation.baselines import constant, linear


def inputs(n: int = 400) -> tuple[TableInput, dict[str, Any]]:
    rng = np.random.default_rng(0)
    raw: dict[str, Any] = {
        "x": rng.normal(size=n),
        "z": rng.normal(5, 2, n),
        "c": [f"c{k}" for k in rng.integers(0, 12, n)],
    }
    kinds = {"x": "numeric", "z": "numeric", "c": "categorical"}
    fitted = (fit_column(name, kind, raw[name]) for name, kind in kinds.items())
    return TableInput(tuple(fitted)), raw


def one_hot(table: TableInput, raw: dict[str, Any]) -> Any:
    Z = table.encode(raw).astype(float)
    codes = np.eye(12)[Z[:, 2].astype(int)]
    A = np.column_stack([Z[:, :2], codes])
    return (A - A.mean(axis=0)) / A.std(axis=0)


def test_the_constant_is_the_mean_or_the_shares_of_the_classes() -> None:
    target, weights = np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0])
    found = constant(Regression(0.0, 1.0), target, weights, 2)["value"]
    assert found.tolist() == [3.75, 3.75]
    codes = np.array([0, 0, 1] * 100)
    P = constant(Classification(("a", "b")), codes, None, 2)["probabilities"]
    np.testing.assert_allclose(P, [[2 / 3, 1 / 3]] * 2, atol=1e-4)


def test_ridge_regression_is_that_of_scikit_learn() -> None:
    table, raw = inputs()
    y = 2 * raw["x"] - raw["z"] + np.random.default_rng(1).normal(size=400)
    X = table.encode(raw)
    found = linear(table, Regression(0.0, 1.0), (X, y, None), X)
    assert found is not None
    A = one_hot(table, raw)
    expected = Ridge(alpha=1.0).fit(A, y).predict(A).clip(y.min(), y.max())
    np.testing.assert_allclose(found["value"], expected, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_is_nearly_that_of_scikit_learn(classes: int) -> None:
    table, raw = inputs()
    score = 2 * raw["x"] + np.random.default_rng(1).logistic(size=400)
    y = np.digitize(score, np.linspace(-1, 1, classes + 1)[1:-1])
    X = table.encode(raw)
    output = Classification(tuple(range(classes)))
    found = linear(table, output, (X, y, None), X)
    assert found is not None
    # The softmax of two classes has half the penalty of one logit.
    strength = 1.0 if classes > 2 else 2.0
    A = one_hot(table, raw)
    expected = LogisticRegression(C=strength, max_iter=1000).fit(A, y).predict_proba(A)
    np.testing.assert_allclose(found["probabilities"], expected, atol=0.02)


def test_too_many_inputs_have_no_linear_model() -> None:
    X = np.zeros((10, 2000))
    wide = TableInput(
        tuple(fit_column(f"x{i}", "numeric", np.arange(10.0)) for i in range(2000))
    )
    output = Regression(0.0, 1.0)
    assert linear(wide, output, (X, np.arange(10.0), None), X) is None

"""Coefficients on raw columns; test_baselines.py has scikit-learn's as an oracle."""

from __future__ import annotations

import numpy as np

from models.features.predictions import Classification, Regression
from trainer.evaluation.linear_model import fit_linear, one_hot


def test_a_line_is_found() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(3, 2, (300, 2)), rng.integers(0, 3, 300)])
    y = 2 * X[:, 0] - X[:, 1] + np.array([0.0, 5.0, 1.0])[X[:, 2].astype(int)]
    model = fit_linear(Regression(0.0, 1.0), X, (3,), y, None)
    assert model is not None
    np.testing.assert_allclose(model.predict(one_hot(X, (3,)))[:, 0], y, atol=0.1)
    np.testing.assert_allclose(model.W[:2, 0], [2.0, -1.0], atol=0.02)


def test_a_row_of_weight_two_counts_as_two() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    weights = np.where(np.arange(60) < 20, 2.0, 1.0)
    twice = np.repeat(np.arange(60), weights.astype(int))
    output = Classification(("no", "yes"))
    one = fit_linear(output, X, (), y, weights)
    two = fit_linear(output, X[twice], (), y[twice], None)
    assert one is not None and two is not None
    # The penalty counts rows, and inputs are scaled by their spread over rows.
    np.testing.assert_allclose(one.predict(X), two.predict(X[:]), atol=0.15)

"""Units are silent at random in training, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from models.nn.architectures import mlp
from models.nn.layers import Dropout, DropoutSpec
from trainer.training.gradcheck import TOLERANCE, check_gradients
from trainer.training.losses import mean_squared_error


def test_it_keeps_the_expectation() -> None:
    X = np.full((500, 400), 2.0)
    Y = Dropout(DropoutSpec(0.3)).forward(X, True, np.random.default_rng(0))
    # Six standard deviations of a mean of 200,000 draws.
    assert Y.mean() == pytest.approx(2, abs=6 * 2 * np.sqrt(0.3 / 0.7 / X.size))
    assert (Y == 0).mean() == pytest.approx(0.3, abs=6 * np.sqrt(0.21 / X.size))
    kept = 1 - round(256 * 0.3) / 256  # the rate is kept to a byte
    np.testing.assert_allclose(Y[Y != 0], 2 / kept, rtol=1e-15)


def test_the_mask_comes_from_the_generator() -> None:
    layer, X = Dropout(DropoutSpec(0.5)), np.ones((20, 30))
    rng = np.random.default_rng(1)
    first, second = (layer.forward(X, True, rng).copy() for _ in range(2))
    again = layer.forward(X, True, np.random.default_rng(1))
    np.testing.assert_array_equal(again, first)
    assert (first != second).any()


def test_the_gradient_passes_where_the_signal_passed() -> None:
    layer, X = Dropout(DropoutSpec(0.5)), np.ones((20, 30))
    Y = layer.forward(X, True, np.random.default_rng(1)).copy()
    np.testing.assert_array_equal(layer.backward(np.ones_like(X), True), Y)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_it_is_off_when_answering_and_at_rate_zero(rate: float, training: bool) -> None:
    layer, X = Dropout(DropoutSpec(rate)), np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(layer.forward(X, training, None), X)
    np.testing.assert_array_equal(layer.backward(2 * X, True), 2 * X)
    np.testing.assert_array_equal(layer.predict(X), X)


def test_training_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="needs an rng"):
        Dropout(DropoutSpec(0.5)).forward(np.ones((2, 2)), True, None)


def test_backward_is_the_derivative_under_a_held_mask() -> None:
    rng = np.random.default_rng(4)
    X, T = rng.standard_normal((9, 5)), rng.standard_normal(9)
    spec = mlp([5, 8, 6, 1], "mish", dropout=0.4)
    for finding in check_gradients(spec, mean_squared_error, X, T):
        assert finding.error < TOLERANCE, finding

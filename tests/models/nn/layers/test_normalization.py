"""Batch norm while training, and what it remembers for answering."""

from __future__ import annotations

import numpy as np
import pytest

from models.nn.architectures import mlp
from models.nn.layers import BatchNorm, BatchNormSpec
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.training.gradcheck import TOLERANCE, check_gradients
from trainer.training.losses import mean_squared_error, softmax_cross_entropy

MOMENTUM, EPSILON = 0.3, 1e-3


def normed(width: int = 4) -> tuple[Network, BatchNorm]:
    spec = BatchNormSpec(width, MOMENTUM, EPSILON)
    network = Network(NetworkSpec(width, (spec,)), np.float64)
    network.initialize(np.random.default_rng(0))
    (layer,) = network.layers
    assert isinstance(layer, BatchNorm)
    return network, layer


def batches(rows: int, n: int) -> list[Array]:
    rng = np.random.default_rng(1)
    return [3 + 2 * rng.standard_normal((rows, 4)) for _ in range(n)]


def test_it_starts_as_a_layer_that_changes_nothing_but_epsilon() -> None:
    network, _ = normed()
    (X,) = batches(5, 1)
    expected = X / np.sqrt(1 + EPSILON)
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-14)


@pytest.mark.parametrize("rows", [2, 8])
def test_a_batch_is_normalised_by_its_own_statistics(rows: int) -> None:
    network, layer = normed()
    layer.gamma[...] = [1, 2, 3, 4]
    layer.beta[...] = [0, -1, 5, 2]
    (X,) = batches(rows, 1)
    mean = sum(X) / rows
    variance = sum((row - mean) ** 2 for row in X) / rows
    expected = layer.gamma * (X - mean) / np.sqrt(variance + EPSILON) + layer.beta
    np.testing.assert_allclose(network.forward(X, training=True), expected, rtol=1e-12)


def test_running_statistics_are_the_textbook_averages() -> None:
    network, layer = normed()
    mean, variance = np.zeros(4), np.ones(4)
    for X in batches(8, 5):
        network.forward(X, training=True)
        mean = (1 - MOMENTUM) * mean + MOMENTUM * X.mean(axis=0)
        # Unbiased, as the paper's algorithm 2 has it.
        variance = (1 - MOMENTUM) * variance + MOMENTUM * X.var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
    np.testing.assert_allclose(layer.running_variance, variance, rtol=1e-13)
    np.testing.assert_array_equal(
        network.state, [*layer.running_mean, *layer.running_variance]
    )


def test_an_answer_comes_from_the_running_statistics() -> None:
    network, layer = normed()
    network.parameters[...] = np.arange(1.0, 9)
    network.state[...] = np.arange(2.0, 10)
    (X,) = batches(3, 1)
    expected = [1, 2, 3, 4] * (X - [2, 3, 4, 5]) / np.sqrt(
        np.array([6, 7, 8, 9]) + EPSILON
    ) + [5, 6, 7, 8]
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-13)
    np.testing.assert_array_equal(layer.running_mean, [2, 3, 4, 5])


def test_a_batch_of_one_row_trains_as_it_is_answered() -> None:
    network, _ = normed()
    network.forward(batches(8, 1)[0], training=True)
    state = network.state.copy()
    row = batches(1, 1)[0]
    Y = network.forward(row, training=True)
    np.testing.assert_allclose(Y, network.predict(row), rtol=1e-13)
    np.testing.assert_array_equal(network.state, state)


def test_a_pass_without_training_remembers_nothing() -> None:
    network, _ = normed()
    state = network.state.copy()
    network.forward(batches(8, 1)[0], training=False)
    np.testing.assert_array_equal(network.state, state)


def test_a_unit_that_does_not_vary_stays_finite() -> None:
    network, _ = normed()
    Y = network.forward(np.full((6, 4), 7.0), training=True)
    np.testing.assert_array_equal(Y, 0)
    assert np.isfinite(network.backward(np.ones_like(Y), input_gradient=True)).all()


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_backward_is_the_derivative_of_the_training_pass(rows: int) -> None:
    rng = np.random.default_rng(4)
    X, T = rng.standard_normal((rows, 5)), rng.integers(0, 3, rows)
    spec = mlp([5, 6, 4, 3], "tanh", batch_norm=True)
    for finding in check_gradients(spec, softmax_cross_entropy, X, T):
        assert finding.error < TOLERANCE, finding


def test_backward_without_batch_statistics_is_the_derivative_too() -> None:
    network, _ = normed()
    rng = np.random.default_rng(2)
    network.parameters += rng.standard_normal(8)
    network.state += rng.uniform(0, 1, 8)
    (X,) = batches(3, 1)
    T = rng.standard_normal(3)

    def loss(X: Array) -> float:
        return mean_squared_error(network.forward(X), T, None)[0]

    dZ = np.zeros((3, 4))
    dZ[:, :1] = mean_squared_error(network.forward(X), T, None)[1]
    dX = network.backward(dZ, input_gradient=True)
    numeric = np.zeros_like(X)
    for at in np.ndindex(X.shape):
        step = np.zeros_like(X)
        step[at] = 1e-5
        numeric[at] = (loss(X + step) - loss(X - step)) / 2e-5
    np.testing.assert_allclose(dX, numeric, atol=1e-8)


def test_a_wrong_number_of_units_does_not_fit() -> None:
    with pytest.raises(ValueError, match="batch normalization of 4 units got 3"):
        BatchNormSpec(4).width(3)

"""Y = X W + b."""

from __future__ import annotations

import numpy as np
import pytest

from models.nn.initializers import INITIALIZERS
from models.nn.layers import LinearSpec
from models.nn.network import Network, NetworkSpec


def test_it_multiplies_adds_and_takes_the_transposes_back() -> None:
    rng = np.random.default_rng(0)
    network = Network(NetworkSpec(3, (LinearSpec(3, 2),)), np.float64)
    W, b = rng.standard_normal((3, 2)), rng.standard_normal(2)
    network.parameters[...] = [*W.ravel(), *b]
    X, dY = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))

    np.testing.assert_allclose(network.forward(X), X @ W + b, rtol=1e-14)
    dX = network.backward(dY, input_gradient=True)
    np.testing.assert_allclose(dX, dY @ W.T, rtol=1e-14)
    expected = [*(X.T @ dY).ravel(), *dY.sum(axis=0)]
    np.testing.assert_allclose(network.gradients, expected, rtol=1e-14)


def test_no_input_gradient_leaves_the_parameter_gradients_whole() -> None:
    network = Network(NetworkSpec(3, (LinearSpec(3, 2),)), np.float64)
    network.initialize(np.random.default_rng(0))
    X = np.random.default_rng(1).standard_normal((5, 3))
    network.backward(np.cos(network.forward(X)), input_gradient=True)
    whole = network.gradients.copy()
    network.gradients[...] = np.nan
    network.backward(np.cos(network.forward(X)), input_gradient=False)
    np.testing.assert_array_equal(network.gradients, whole)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_weights_start_by_their_rule_and_biases_at_zero(initializer: str) -> None:
    spec = LinearSpec(30, 20, initializer)  # type: ignore[arg-type]
    network = Network(NetworkSpec(30, (spec,)), np.float64)
    network.parameters[...] = np.nan
    network.initialize(np.random.default_rng(3))
    W = np.empty((30, 20))
    INITIALIZERS[initializer](W, np.random.default_rng(3))  # type: ignore[index]
    np.testing.assert_array_equal(network.parameters[:600].reshape(30, 20), W)
    np.testing.assert_array_equal(network.parameters[600:], 0)


def test_a_wrong_number_of_inputs_does_not_fit() -> None:
    with pytest.raises(ValueError, match="linear layer of 3 inputs got 4"):
        LinearSpec(3, 2).width(4)
    assert LinearSpec(3, 2).width(3) == 2

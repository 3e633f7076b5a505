"""Y = X * s."""

from __future__ import annotations

import numpy as np
import pytest

from models.nn.layers import LinearSpec, ScalingSpec
from models.nn.network import Network, NetworkSpec
from trainer.training.gradcheck import TOLERANCE, check_gradients
from trainer.training.losses import mean_squared_error


def test_it_multiplies_and_takes_the_products_back() -> None:
    rng = np.random.default_rng(0)
    network = Network(NetworkSpec(3, (ScalingSpec(3),)), np.float64)
    s = network.parameters[...] = rng.standard_normal(3)
    X, dY = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    for found in network.predict(X), network.forward(X, training=True):
        np.testing.assert_array_equal(found, X * s)
    np.testing.assert_array_equal(network.backward(dY, True), dY * s)
    np.testing.assert_allclose(network.gradients, (X * dY).sum(axis=0), rtol=1e-14)


def test_it_starts_by_changing_nothing() -> None:
    network = Network(NetworkSpec(3, (ScalingSpec(3),)))
    network.parameters[...] = np.nan
    network.initialize(np.random.default_rng(0))
    X = np.random.default_rng(1).standard_normal((5, 3), np.float32)
    np.testing.assert_array_equal(network.parameters, 1)
    np.testing.assert_array_equal(network.predict(X), X)
    np.testing.assert_array_equal(network.forward(X, training=True), X)


def test_its_numbers_are_a_block_of_their_own_kind() -> None:
    (block,) = Network(NetworkSpec(3, (ScalingSpec(3),))).blocks
    assert block.name == "layer 1 (scaling)"
    assert (block.kind, block.shape) == ("scale", (3,))


@pytest.mark.parametrize("rows", [1, 9])
def test_backward_is_the_derivative_of_forward(rows: int) -> None:
    rng = np.random.default_rng(4)
    X, T = rng.standard_normal((rows, 5)), rng.standard_normal(rows)
    layers = (ScalingSpec(5), LinearSpec(5, 4), ScalingSpec(4), LinearSpec(4, 1))
    spec = NetworkSpec(5, layers)
    for finding in check_gradients(spec, mean_squared_error, X, T):
        assert finding.error < TOLERANCE, finding


def test_a_wrong_number_of_inputs_does_not_fit() -> None:
    with pytest.raises(ValueError, match="scaling layer of 3 inputs got 4"):
        ScalingSpec(3).width(4)
    assert ScalingSpec(3).width(3) == 3

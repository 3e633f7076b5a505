"""What holds for every layer: one answer by two ways, held memory, shared threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.nn.layers import (
    LAYER_SPECS,
    ActivationSpec,
    BatchNormSpec,
    DropoutSpec,
    EmbeddingsSpec,
    LayerSpec,
    LinearSpec,
    ScalingSpec,
)
from models.nn.layers.activations import FUNCTIONS
from models.nn.network import Network, NetworkSpec
from models.types import Array

WIDTH = 4
SPECS: list[LayerSpec] = [
    LinearSpec(WIDTH, 3),
    *(ActivationSpec(function) for function in FUNCTIONS),
    BatchNormSpec(WIDTH),
    DropoutSpec(0.4),
    *(ActivationSpec(function, WIDTH) for function in FUNCTIONS),
    ScalingSpec(WIDTH),
    EmbeddingsSpec(WIDTH, 0),
    EmbeddingsSpec(0, WIDTH),
    EmbeddingsSpec(1, 1, (2, 3), frequencies=5, number_width=3, category_width=2),
    EmbeddingsSpec(0, 0, (2, 1, 3, 2)),
]
every_layer = pytest.mark.parametrize("spec", SPECS, ids=str)


def alone(spec: LayerSpec) -> Network:
    """A network of one layer, its numbers and its running statistics random."""
    network = Network(NetworkSpec(WIDTH, (spec,)), np.float64)
    rng = np.random.default_rng(0)
    network.initialize(rng)
    network.parameters += rng.standard_normal(len(network.parameters))
    network.state += rng.uniform(0, 1, len(network.state))
    return network


def batch(rows: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, WIDTH))


def trained(network: Network, X: Array) -> tuple[Array, Array, Array]:
    """Output, parameter gradients and input gradient of one training pass."""
    Y = network.forward(X, training=True, rng=np.random.default_rng(5)).copy()
    dX = network.backward(np.cos(Y), input_gradient=True).copy()
    return Y, network.gradients.copy(), dX


def test_every_kind_of_layer_is_tested_here() -> None:
    assert {type(spec) for spec in SPECS} == set(LAYER_SPECS)


@every_layer
def test_forward_without_training_is_predict(spec: LayerSpec) -> None:
    network, X = alone(spec), batch(7)
    np.testing.assert_allclose(
        network.forward(X), network.predict(X), rtol=1e-13, atol=1e-15
    )


@every_layer
def test_predict_and_forward_leave_the_input_alone(spec: LayerSpec) -> None:
    network, X = alone(spec), batch(7)
    held = X.copy()
    network.predict(X)
    trained(network, X)
    np.testing.assert_array_equal(X, held)


@every_layer
def test_predict_between_forward_and_backward_changes_nothing(
    spec: LayerSpec,
) -> None:
    network, X = alone(spec), batch(7)
    _, gradients, dX = trained(network, X)
    network.forward(X, training=True, rng=np.random.default_rng(5))
    Y = network.forward(X, training=True, rng=np.random.default_rng(5))
    network.predict(batch(7, seed=2))
    again = network.backward(np.cos(Y), input_gradient=True)
    np.testing.assert_array_equal(again, dX)
    np.testing.assert_array_equal(network.gradients, gradients)


@every_layer
def test_the_same_memory_serves_every_step(spec: LayerSpec) -> None:
    network = alone(spec)
    first = network.forward(batch(7), training=True, rng=np.random.default_rng(5))
    dX = network.backward(np.ones_like(first), input_gradient=True)
    second = network.forward(
        batch(7, seed=2), training=True, rng=np.random.default_rng(5)
    )
    assert np.shares_memory(first, second)
    assert np.shares_memory(
        dX, network.backward(np.ones_like(second), input_gradient=True)
    )


@every_layer
@pytest.mark.parametrize("rows", [3, 11])
def test_a_batch_of_another_size_is_as_right_as_the_first(
    spec: LayerSpec, rows: int
) -> None:
    used = alone(spec)
    trained(used, batch(7))
    used.state[...] = alone(spec).state
    fresh = trained(alone(spec), batch(rows, seed=2))
    for found, expected in zip(trained(used, batch(rows, seed=2)), fresh, strict=True):
        np.testing.assert_array_equal(found, expected)


@every_layer
def test_threads_share_a_layer_for_predict(spec: LayerSpec) -> None:
    network = alone(spec)
    batches = [batch(50 + i, seed=i) for i in range(40)]
    expected = [network.predict(X) for X in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network.predict, batches * 5))
    for Y, Z in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(Y, Z)


@every_layer
def test_float32_stays_float32(spec: LayerSpec) -> None:
    network = Network(NetworkSpec(WIDTH, (spec,)))
    network.initialize(np.random.default_rng(0))
    X = batch(7).astype(np.float32)
    Y = network.forward(X, training=True, rng=np.random.default_rng(5))
    dX = network.backward(np.ones_like(Y), input_gradient=True)
    for found in Y, dX, network.gradients, network.state, network.predict(X):
        assert found.dtype == np.float32

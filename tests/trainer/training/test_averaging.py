"""The running mean against the definition of a mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nn.architectures import mlp
from models.nn.network import Network
from trainer.optimization.optimizers import BLOCK
from trainer.training.averaging import Average


def walk(network: Network, average: Average, steps: int) -> tuple[Any, Any]:
    """Move the numbers at random; return what they were after each step."""
    rng = np.random.default_rng(steps)
    seen = []
    for _ in range(steps):
        for vector in (network.parameters, network.state):
            vector += rng.normal(size=vector.shape).astype(vector.dtype)
        average.update()
        seen.append((network.parameters.copy(), network.state.copy()))
    return tuple(map(np.array, zip(*seen, strict=True)))


def mean(after: Any, horizon: float) -> Any:
    """Return Σ share_t w_t, each step's share written out."""
    shares = np.zeros(len(after))
    for t in range(len(after)):
        share = 1 / min(t + 1, horizon)
        shares *= 1 - share
        shares[t] = share
    assert shares.sum() == pytest.approx(1.0)
    return np.tensordot(shares, after.astype(np.float64), 1)


@given(st.integers(1, 30), st.floats(1.0, 40.0))
@settings(deadline=None)
def test_it_is_the_mean_of_the_latest(steps: int, horizon: float) -> None:
    network = Network(mlp([2, 3, 1], batch_norm=True), np.float64)
    average = Average(network, horizon)
    parameters, state = walk(network, average, steps)
    for found, after in ((average.parameters, parameters), (average.state, state)):
        np.testing.assert_allclose(found, mean(after, horizon), rtol=1e-12, atol=1e-12)


def test_until_the_horizon_it_is_the_plain_mean_of_the_steps() -> None:
    # What the network started from is no step.
    network = Network(mlp([2, 3, 1]), np.float64)
    network.parameters[...] = 1e9
    average = Average(network, 10.0)
    parameters, _ = walk(network, average, 10)
    np.testing.assert_allclose(average.parameters, parameters.mean(axis=0), rtol=1e-12)


def test_with_a_horizon_of_one_step_it_is_the_latest() -> None:
    network = Network(mlp([2, 3, 1]))
    average = Average(network, 1.0)
    parameters, _ = walk(network, average, 5)
    np.testing.assert_allclose(average.parameters, parameters[-1], rtol=1e-6)


def test_every_block_is_averaged() -> None:
    network = Network(mlp([BLOCK // 4, 9, 1]))
    assert len(network.parameters) > 2 * BLOCK
    assert len(network.parameters) % BLOCK
    average = Average(network, 3.0)
    parameters, _ = walk(network, average, 6)
    np.testing.assert_allclose(
        average.parameters, mean(parameters, 3.0), rtol=1e-4, atol=1e-5
    )


def test_swap_puts_the_mean_into_the_network_and_back() -> None:
    network = Network(mlp([2, 3, 1], batch_norm=True))
    average = Average(network, 4.0)
    walk(network, average, 6)
    held = network.parameters.copy(), network.state.copy()
    means = average.parameters.copy(), average.state.copy()
    average.swap()
    np.testing.assert_equal((network.parameters, network.state), means)
    # The layers see it: their numbers are views of the network's.
    first = network.blocks[0]
    np.testing.assert_array_equal(
        network.layers[0].W.ravel(),  # type: ignore[attr-defined]
        means[0][first.slice],
    )
    average.swap()
    np.testing.assert_equal((network.parameters, network.state), held)
    np.testing.assert_equal((average.parameters, average.state), means)

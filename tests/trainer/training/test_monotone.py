"""The penalty's gradient against differences, and where it has nothing to add."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.features.table import Layout
from models.nn.architectures import realmlp
from models.nn.network import Network
from trainer.training.monotone import STRENGTH, MonotonePenalty
from trainer.types import MonotoneInputs

LAYOUT = Layout(3, 2, (4,))


def drawn(seed: int = 0) -> tuple[Network, Any]:
    network, rng = (
        Network(realmlp(LAYOUT, [6, 6], 1), np.float64),
        np.random.default_rng,
    )
    network.initialize(rng(seed))
    network.parameters[...] += 0.1 * rng(seed).normal(size=network.parameters.size)
    X = rng(seed).normal(size=(40, 6))
    X[:, 5] = rng(seed).integers(0, 4, 40)
    return network, X


class Pairs:
    """A network that keeps the pairs it is asked about, and its answers."""

    def __init__(self, network: Network) -> None:
        self.network, self.gradients, self.seen = network, network.gradients, []

    def forward(self, X: Any) -> Any:
        self.seen.append(X)
        return self.network.forward(X)

    def backward(self, dZ: Any) -> Any:
        return self.network.backward(dZ)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_gradient_is_that_of_the_mean_wrong_slope(sign: int) -> None:
    network, X = drawn()
    inputs = MonotoneInputs((1,), (), ()) if sign > 0 else MonotoneInputs((), (1,), ())
    pairs: Any = Pairs(network)
    penalty = MonotonePenalty(pairs, inputs, X)
    network.gradients[...] = 1.0  # of the loss, which stays
    penalty.add_gradient(X, np.random.default_rng(3))
    (both,) = pairs.seen
    steps = both[40:, 1] - both[:40, 1]

    def loss() -> float:
        Z = network.predict(both)[:, 0]
        slopes = sign * (Z[40:] - Z[:40]) / steps
        return STRENGTH * float(np.maximum(-slopes, 0.0).mean())

    assert loss() > 0
    found = network.gradients - 1.0
    for index in range(0, len(found), 7):
        before = network.parameters[index]
        network.parameters[index] = before + 1e-6
        above = loss()
        network.parameters[index] = before - 1e-6
        below = loss()
        network.parameters[index] = before
        assert found[index] == pytest.approx((above - below) / 2e-6, abs=1e-5)


def test_pairs_differ_in_one_input_within_its_range() -> None:
    network, X = drawn()
    pairs: Any = Pairs(network)
    MonotonePenalty(pairs, MonotoneInputs((0,), (2,), (4,)), X).add_gradient(
        X, np.random.default_rng(0)
    )
    for column, both in zip([0, 2], pairs.seen, strict=True):
        low, high = both[:40], both[40:]
        assert (low[:, column] < high[:, column]).all()
        assert low[:, column].min() >= X[:, column].min()
        assert high[:, column].max() <= X[:, column].max() + 1e-12
        assert not both[:, 4].any()  # a value stands where it is moved
        others = [i for i in range(6) if i not in (column, 4)]
        np.testing.assert_array_equal(low[:, others], X[:, others])
        np.testing.assert_array_equal(high[:, others], X[:, others])


def test_an_input_that_does_not_vary_adds_nothing() -> None:
    network, X = drawn()
    X[:, 0] = 1.0
    network.gradients[...] = 1.0
    penalty = MonotonePenalty(network, MonotoneInputs((0,), (), ()), X)
    penalty.add_gradient(X, np.random.default_rng(0))
    assert (network.gradients == 1.0).all()

"""Starting weights have the variance their paper asks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nn.initializers import INITIALIZERS, Initializer, glorot, he, zeros
from models.nn.layers import ActivationSpec, LinearSpec
from models.nn.network import Network, NetworkSpec

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))
every_rule = pytest.mark.parametrize("rule", INITIALIZERS)


def test_he_has_variance_two_over_fan_in() -> None:
    W = np.empty((400, 300))
    he(W, np.random.default_rng(0))
    assert W.var() == pytest.approx(2 / 400, rel=0.03)
    assert abs(W.mean()) < 5 * np.sqrt(2 / 400 / W.size)


def test_glorot_is_uniform_with_variance_two_over_both_fans() -> None:
    W = np.empty((400, 300))
    glorot(W, np.random.default_rng(0))
    limit = np.sqrt(6 / 700)
    assert W.var() == pytest.approx(2 / 700, rel=0.03)
    assert 0.999 * limit < np.abs(W).max() <= limit
    shares, _ = np.histogram(W, bins=10, range=(-limit, limit))
    assert shares.min() > 0.95 * W.size / 10


def test_zeros_are_zero() -> None:
    W = np.full((4, 3), np.nan)
    zeros(W, np.random.default_rng(0))
    np.testing.assert_array_equal(W, 0)


@every_rule
@settings(deadline=None, max_examples=20)
@given(shape=shapes, seed=st.integers(0, 2**32))
def test_the_generator_decides(
    rule: Initializer, shape: tuple[int, int], seed: int
) -> None:
    first, second = np.empty(shape), np.empty(shape)
    INITIALIZERS[rule](first, np.random.default_rng(seed))
    INITIALIZERS[rule](second, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()


@every_rule
def test_weights_are_filled_in_place_in_their_own_precision(rule: Initializer) -> None:
    W = np.full((6, 5), np.nan, np.float32)
    view = W[1:5]
    INITIALIZERS[rule](view, np.random.default_rng(0))
    assert np.isfinite(W[1:5]).all()
    assert np.isnan(W[[0, 5]]).all()


def test_a_signal_neither_fades_nor_explodes_through_he_and_relu() -> None:
    layers = [LinearSpec(256, 256, "he"), ActivationSpec("relu")] * 12
    network = Network(NetworkSpec(256, tuple(layers)))
    network.initialize(np.random.default_rng(0))
    X = np.random.default_rng(1).standard_normal((100, 256)).astype(np.float32)
    assert 0.3 < np.sqrt(np.mean(network.predict(X) ** 2)) < 3

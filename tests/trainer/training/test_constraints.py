"""Max-norm against its definition, and its reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers import Linear
from models.nn.network import Network, NetworkSpec
from trainer.training.constraints import limit_norms

bounded = settings(deadline=None, max_examples=60)
SPECS = [
    mlp([5, 7, 6, 3]),
    mlp([5, 7, 3], batch_norm=True, dropout=0.2),
    mlp([5, 3]),
    realmlp(Layout(3, 1, (4,)), [6, 6], 2),
]


def network(spec: NetworkSpec, seed: int, size: float = 1.0) -> Network:
    found = Network(spec)
    rng = np.random.default_rng(seed)
    found.parameters[...] = size * rng.standard_normal(found.parameters.shape)
    return found


def linears(found: Network) -> list[Linear]:
    return [layer for layer in found.layers if isinstance(layer, Linear)]


def expected(W: Any, limit: float) -> Any:
    """Unit by unit, as Srivastava et al. write it: w <- w * min(1, c / |w|)."""
    short = W.copy()
    for unit in range(W.shape[1]):
        length = float(np.linalg.norm(W[:, unit].astype(float)))
        if length > limit:
            short[:, unit] = W[:, unit] * (limit / length)
    return short


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(len(spec.layers)))
@bounded
@given(
    seed=st.integers(0, 1000),
    limit=st.floats(1e-3, 10.0),
    size=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
)
def test_hidden_units_take_no_more_than_the_limit(
    spec: NetworkSpec, seed: int, limit: float, size: float
) -> None:
    found = network(spec, seed, size)
    before = found.parameters.copy()
    wanted = [expected(layer.W, limit) for layer in linears(found)[:-1]]
    limit_norms(found, limit)
    for layer, W in zip(linears(found)[:-1], wanted, strict=True):
        np.testing.assert_allclose(layer.W, W, rtol=1e-5)
        assert np.linalg.norm(layer.W, axis=0).max() <= limit * (1 + 1e-5)
    # The output layer, biases and everything else stay as they were.
    blocks = [block for block in found.blocks if block.kind == "weight"][:-1]
    untouched = np.ones(len(before), bool)
    for block in blocks:
        untouched[block.slice] = False
    np.testing.assert_array_equal(found.parameters[untouched], before[untouched])


def test_what_is_short_enough_keeps_every_bit() -> None:
    found = network(SPECS[0], 1)
    before = found.parameters.copy()
    limit_norms(found, 1e3)
    np.testing.assert_array_equal(found.parameters, before)

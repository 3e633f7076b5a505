"""What each recipe lets move how fast, and what it pulls towards zero."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers.base import Kind
from models.nn.network import Network, NetworkSpec
from trainer.training import parameter_groups

#: Two numbers, one plain feature, two wide categories; a name for every kind.
REAL = realmlp(Layout(2, 1, (9, 12)), [16, 4], 3, dropout=0.2)
KINDS: set[Kind] = {"wave", "embedding", "scale", "weight", "bias", "slope"}
#: RealMLP's table A.1.
FACTORS = {
    "wave": 0.1,
    "embedding": 1.0,
    "scale": 6.0,
    "bias": 0.1,
    "slope": 0.1,
}
PLAIN = mlp([3, 8, 1], batch_norm=True, dropout=0.1)


def test_realmlp_is_known_by_its_scaling_layer() -> None:
    assert parameter_groups.is_realmlp(Network(REAL))
    assert not parameter_groups.is_realmlp(Network(PLAIN))


def test_these_networks_have_parameters_of_every_kind() -> None:
    assert {block.kind for block in Network(REAL).blocks} == KINDS
    assert {block.kind for block in Network(PLAIN).blocks} == {"weight", "bias", "gain"}


def test_a_plain_network_has_one_rate() -> None:
    assert parameter_groups.rates(Network(PLAIN)) is None


@pytest.mark.parametrize("kind", sorted(KINDS - {"weight"}))
def test_each_kind_has_its_factor_of_the_rate(kind: Kind) -> None:
    network = Network(REAL)
    rates = parameter_groups.rates(network)
    assert rates is not None
    for block in network.blocks:
        if block.kind == kind:
            np.testing.assert_array_equal(rates[block.slice], np.float32(FACTORS[kind]))


def test_weights_move_as_in_the_ntk_form() -> None:
    # W / sqrt(fan_in) of a W of size one: Adam's step of W is a step of this.
    network = Network(REAL)
    rates = parameter_groups.rates(network)
    assert rates is not None
    weights = [block for block in network.blocks if block.kind == "weight"]
    # Two numbers of 4, one plain, two categories of 8: 25 inputs.
    assert [block.shape for block in weights] == [(25, 16), (16, 4), (4, 3)]
    for block, fan_in in zip(weights, (25, 16, 4), strict=True):
        np.testing.assert_allclose(rates[block.slice], 1 / math.sqrt(fan_in), rtol=1e-6)


@pytest.mark.parametrize("spec", [REAL, PLAIN])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_parameter_has_its_factors(spec: NetworkSpec, dtype: type) -> None:
    network = Network(spec, dtype)
    decay, rates = parameter_groups.decay(network), parameter_groups.rates(network)
    for vector in (decay,) if rates is None else (decay, rates):
        assert vector.shape == network.parameters.shape
        assert vector.dtype == dtype
        assert np.isfinite(vector).all() and (vector >= 0).all()
    assert sum(b.slice.stop - b.slice.start for b in network.blocks) == len(decay)


def test_of_a_plain_network_the_weights_alone_decay() -> None:
    # W (3, 8), b, gamma, beta, W (8, 1), b
    np.testing.assert_array_equal(
        parameter_groups.decay(Network(PLAIN)), [1] * 24 + [0] * 24 + [1] * 8 + [0]
    )


def test_of_realmlp_biases_alone_do_not_decay() -> None:
    network = Network(REAL)
    decay = parameter_groups.decay(network)
    for block in network.blocks:
        expected = 0.0 if block.kind == "bias" else FACTORS.get(block.kind, 1.0) ** 2
        np.testing.assert_allclose(decay[block.slice], expected, rtol=1e-6)

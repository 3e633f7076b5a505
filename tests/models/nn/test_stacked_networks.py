"""Networks in one pass say what each says alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.table import Layout
from models.nn import stacked_networks
from models.nn.architectures import mlp, realmlp
from models.nn.layers import ActivationSpec, DropoutSpec
from models.nn.layers.activations import FUNCTIONS
from models.nn.network import Network, NetworkSpec
from models.nn.stacked_networks import StackedNetworks

SPECS = {
    "plain": mlp([4, 6, 3], "relu"),
    "normed": mlp([4, 6, 5, 1], "tanh", batch_norm=True, dropout=0.3),
    "categories": mlp([4, 6, 1], "mish", categories=(3, 5)),
    "real": realmlp(Layout(2, 1, (4,)), [7, 6], 2, "selu", dropout=0.2),
    "numbers": realmlp(Layout(4, 0, ()), [7], 1, "mish"),
    "no numbers": realmlp(Layout(0, 4, ()), [7], 1),
    "only categories": realmlp(Layout(0, 0, (2, 3, 4, 5)), [7], 1),
}


def networks(spec: NetworkSpec, count: int, dtype: Any = np.float32) -> list[Network]:
    """Return networks without a number that is the same as another's."""
    made = []
    for seed in range(count):
        network, rng = Network(spec, dtype), np.random.default_rng(seed)
        for vector in network.parameters, network.state:
            vector[...] = rng.uniform(0.1, 1.0, vector.shape)
            vector *= (
                rng.choice([-1, 1], vector.shape) if vector is not network.state else 1
            )
        made.append(network)
    return made


def rows(n: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    """Return rows of numbers, of which the last may be codes, known or not."""
    rng = np.random.default_rng(seed)
    return np.rint(rng.normal(0, 2, (n, 4))).astype(dtype)


@pytest.mark.parametrize("name", SPECS)
@given(count=st.integers(1, 4), n=st.integers(0, 9), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_it_says_what_each_says(name: str, count: int, n: int, seed: int) -> None:
    alone = networks(SPECS[name], count, np.float64)
    X = rows(n, seed, np.float64)
    found = StackedNetworks(alone).predict(X)
    assert found.shape == (count, n, SPECS[name].n_out)
    for Z, network in zip(found, alone, strict=True):
        np.testing.assert_allclose(Z, network.predict(X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_activation_takes_several(function: Any) -> None:
    alone = networks(mlp([4, 5, 2], function), 3)
    found = StackedNetworks(alone).predict(rows(6))
    for Z, network in zip(found, alone, strict=True):
        np.testing.assert_allclose(Z, network.predict(rows(6)), rtol=1e-5)


def test_networks_without_numbers_say_the_same() -> None:
    spec = NetworkSpec(4, (DropoutSpec(0.5), ActivationSpec("tanh")))
    found = StackedNetworks(networks(spec, 3)).predict(rows(5))
    np.testing.assert_allclose(found, np.stack([np.tanh(rows(5))] * 3), rtol=1e-6)


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = networks(SPECS["real"], 3)
    whole = StackedNetworks(alone).predict(rows(10))
    for chunk in (1, 7, 9):
        monkeypatch.setattr(stacked_networks, "CHUNK", chunk)
        np.testing.assert_allclose(
            StackedNetworks(alone).predict(rows(10)), whole, rtol=1e-5
        )


def test_its_networks_share_its_memory_and_say_the_same() -> None:
    alone = networks(SPECS["real"], 3)
    found = StackedNetworks(alone)
    for own, network in zip(found.networks, alone, strict=True):
        np.testing.assert_array_equal(own.parameters, network.parameters)
        np.testing.assert_array_equal(own.state, network.state)
        assert not np.shares_memory(own.parameters, network.parameters)
    assert found.networks[0].parameters.base is not None
    bound = found.layers[2].W  # type: ignore[attr-defined]
    assert np.shares_memory(bound, found.networks[1].parameters)


def test_the_rows_are_left_alone_and_nothing_is_kept() -> None:
    found, X = StackedNetworks(networks(SPECS["real"], 2)), rows(5)
    held = X.copy()
    first = found.predict(X)
    kept = first.copy()
    found.predict(rows(5, 1))
    np.testing.assert_array_equal(X, held)
    np.testing.assert_array_equal(first, kept)


def test_networks_of_two_kinds_are_no_stack() -> None:
    two = networks(SPECS["plain"], 1) + networks(SPECS["normed"], 1)
    with pytest.raises(ValueError, match="the same spec"):
        StackedNetworks(two)

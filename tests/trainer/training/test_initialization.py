"""Every unit begins where the rows are: size one, and its bend among them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers import Linear
from models.nn.network import Network
from trainer.training import initialization
from trainer.training.initialization import initialize_from_data

Matrix = NDArray[Any]


def rows(n: int = 400, seed: int = 0) -> Matrix:
    """Return three numbers of unlike sizes, one flag, and a wide category."""
    rng = np.random.default_rng(seed)
    X = rng.normal([0, 5, -1], [1, 0.1, 20], (n, 3))
    flag = rng.random((n, 1)) < 0.2
    return np.hstack([X, flag, rng.integers(-1, 12, (n, 1))]).astype(np.float32)


REAL = realmlp(Layout(3, 1, (12,)), [64, 32], 2, dropout=0.3)


def started(X: Matrix, seed: int = 1, spec: Any = REAL) -> Network:
    network = Network(spec)
    initialize_from_data(network, X, np.random.default_rng(seed))
    return network


def seen(network: Network, X: Matrix) -> list[tuple[Linear, Matrix]]:
    """Return each linear layer with what its units make of the rows, before biases."""
    found = []
    for layer in network.layers:
        if isinstance(layer, Linear):
            found.append((layer, X.astype(np.float64) @ layer.W))
        X = layer.predict(X)
    return found


def test_every_unit_sees_variance_one() -> None:
    X = rows()
    layers = seen(started(X), X)
    assert len(layers) == 3
    for _, Z in layers:
        np.testing.assert_allclose(Z.std(axis=0), 1.0, rtol=1e-3)


def test_every_bias_puts_the_bend_among_the_rows() -> None:
    X = rows()
    for layer, Z in seen(started(X), X):
        assert (-layer.b >= Z.min(axis=0) - 1e-4).all()
        assert (-layer.b <= Z.max(axis=0) + 1e-4).all()


def test_units_are_centred_but_for_chance() -> None:
    X = rows()
    network = started(X, spec=realmlp(Layout(3, 1, (12,)), [4000], 1))
    ((layer, Z), _) = seen(network, X)
    centre = (Z + layer.b).mean(axis=0)
    # A bias is a mean of five rows' values: off by less than one, to either side.
    assert abs(centre.mean()) < 0.05
    assert 0.3 < centre.std() < 0.8
    assert len(np.unique(layer.b)) > 3900


def test_a_bias_is_a_mean_of_five_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialization, "MIXED", 1)
    X = rows(50)
    # Of one row it is that row's value.
    for layer, Z in seen(started(X), X):
        nearest = np.abs(Z + layer.b).min(axis=0)
        np.testing.assert_allclose(nearest, 0.0, atol=1e-4)


def test_the_same_seed_starts_alike() -> None:
    X = rows()
    one, again, other = (started(X, seed).parameters for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_front_starts_as_it_does_without_data() -> None:
    network, plain = started(rows()), Network(REAL)
    plain.initialize(np.random.default_rng(1))
    for block in network.blocks:
        if block.kind not in ("weight", "bias"):
            np.testing.assert_array_equal(
                network.parameters[block.slice], plain.parameters[block.slice]
            )


def test_of_many_rows_a_sample_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initialization, "SAMPLE", 300)
    X = rows(3000)
    looked_at: list[int] = []
    original = initialization._initialize

    def spy(layer: Any, X: Matrix, rng: Any) -> None:
        looked_at.append(len(X))
        original(layer, X, rng)

    monkeypatch.setattr(initialization, "_initialize", spy)
    network = started(X)
    assert looked_at == [300, 300, 300]
    for _, Z in seen(network, X):
        np.testing.assert_allclose(Z.std(axis=0), 1.0, rtol=0.3)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_inputs_that_do_not_vary_make_no_infinite_weight(n: int) -> None:
    X = np.zeros((n, 3), np.float32)
    network = started(X, spec=mlp([3, 8, 1]))
    assert np.isfinite(network.parameters).all()
    assert np.isfinite(started(rows(n)).parameters).all()

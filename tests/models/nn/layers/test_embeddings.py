"""Numbers become curves, codes become points, all else passes."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from models.nn.layers import Embeddings, EmbeddingsSpec, LayerSpec
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.training.gradcheck import STEP, TOLERANCE, check_gradients
from trainer.types import Targets, Weights

SMALL = EmbeddingsSpec(2, 3, (4, 3), frequencies=5, number_width=3, category_width=2)
SPECS = [
    SMALL,
    EmbeddingsSpec(3, 1, (12,)),  # the widths of RealMLP
    EmbeddingsSpec(1, 0, (), frequencies=1, number_width=2),
    EmbeddingsSpec(4, 2),
    EmbeddingsSpec(0, 2, (9, 1, 5), category_width=3),
    EmbeddingsSpec(0, 0, (2,), category_width=1),
    EmbeddingsSpec(2, 0, (3,)),
    EmbeddingsSpec(0, 4),
]
every_front = pytest.mark.parametrize("spec", SPECS, ids=str)


def n_in(spec: EmbeddingsSpec) -> int:
    return spec.numbers + spec.plain + len(spec.categories)


def front(spec: EmbeddingsSpec, dtype: type = np.float64) -> tuple[Network, Embeddings]:
    network = Network(NetworkSpec(n_in(spec), (spec,)), dtype)
    network.initialize(np.random.default_rng(0))
    (layer,) = network.layers
    assert isinstance(layer, Embeddings)
    return network, layer


def batch(spec: EmbeddingsSpec, rows: int, seed: int = 1) -> Array:
    """Random numbers, and codes of which the first are -1."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, n_in(spec)))
    for column, n in enumerate(spec.categories, spec.numbers + spec.plain):
        X[:, column] = rng.integers(-1, n, rows)
        X[column % rows, column] = -1
    return X


def formula(spec: EmbeddingsSpec, parameters: Array, x: Array) -> list[float]:
    """One row, number by number, as the paper has it."""
    k, F, W, D = spec.numbers, spec.frequencies, spec.number_width, spec.category_width
    given = iter(parameters.astype(np.float64).tolist())
    w, b = ([[next(given) for _ in range(F)] for _ in range(k)] for _ in range(2))
    w, b = list(w), list(b)
    V = [[[next(given) for _ in range(W - 1)] for _ in range(F)] for _ in range(k)]
    c = [[next(given) for _ in range(W - 1)] for _ in range(k)]
    E = [[[next(given) for _ in range(D)] for _ in range(n)] for n in spec.categories]
    assert next(given, None) is None
    row: list[float] = []
    for i in range(k):
        waves = [math.cos(2 * math.pi * w[i][f] * x[i] + b[i][f]) for f in range(F)]
        row.append(float(x[i]))
        row += [
            sum(waves[f] * V[i][f][o] for f in range(F)) + c[i][o] for o in range(W - 1)
        ]
    row += x[k : k + spec.plain].tolist()
    for points, code in zip(E, x[k + spec.plain :].tolist(), strict=True):
        row += [0.0] * D if code == -1 else points[int(code)]
    return row


# Values


@every_front
@pytest.mark.parametrize("rows", [1, 7])
def test_values_are_the_formula(spec: EmbeddingsSpec, rows: int) -> None:
    network, _ = front(spec)
    X = batch(spec, rows)
    expected = [formula(spec, network.parameters, x) for x in X]
    assert np.shape(expected) == (rows, spec.width(n_in(spec)))
    for found in network.predict(X), network.forward(X, training=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@every_front
def test_values_are_the_formula_in_float32(spec: EmbeddingsSpec) -> None:
    network, _ = front(spec, np.float32)
    X = batch(spec, 7).astype(np.float32)
    expected = [formula(spec, network.parameters, x) for x in X.astype(np.float64)]
    Y = network.forward(X, training=True)
    for found in network.predict(X), Y:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    dX = network.backward(np.ones_like(Y), input_gradient=True)
    assert dX.dtype == network.gradients.dtype == np.float32


@every_front
def test_forward_without_training_is_predict(spec: EmbeddingsSpec) -> None:
    network, _ = front(spec)
    X = batch(spec, 9)
    Y = network.predict(X)
    np.testing.assert_allclose(network.forward(X, training=False), Y, rtol=1e-13)
    np.testing.assert_allclose(network.forward(X, training=True), Y, rtol=1e-13)
    assert network.predict(X[:0]).shape == (0, Y.shape[1])


@every_front
def test_a_row_alone_is_as_in_its_batch(spec: EmbeddingsSpec) -> None:
    network, _ = front(spec)
    X = batch(spec, 9)
    whole = network.predict(X)
    for i in range(9):
        alone = network.predict(X[i : i + 1])[0]
        np.testing.assert_allclose(alone, whole[i], rtol=1e-12, atol=1e-14)


def test_features_stand_as_curves_then_plain_then_points() -> None:
    network, layer = front(SMALL)
    X = np.array([[0.5, -2.0, 7.0, 8.0, 9.0, 3.0, 0.0]])
    (row,) = network.predict(X)
    assert row[[0, 3]].tolist() == [0.5, -2.0]  # each number itself, before its waves
    assert row[6:9].tolist() == [7.0, 8.0, 9.0]
    np.testing.assert_array_equal(row[9:11], layer.E[0][3])
    np.testing.assert_array_equal(row[11:], layer.E[1][0])


# Codes


@pytest.mark.parametrize("unknown", [-1.0, -2.0, 4.0, 1e6])
def test_an_unknown_code_is_the_origin_and_gets_no_gradient(unknown: float) -> None:
    network, layer = front(SMALL)
    X = batch(SMALL, 6)
    X[:, 5], X[:, 6] = unknown, [-1, 0, 2, 0, -1, 2]
    for found in network.predict(X), network.forward(X, training=True):
        np.testing.assert_array_equal(found[:, 9:11], 0)
        np.testing.assert_array_equal(found[[0, 4], 11:], 0)
        assert (found[[1, 2, 3, 5], 11:] != 0).all()
    network.gradients[...] = np.nan
    dY = np.random.default_rng(3).standard_normal((6, 13))
    network.backward(dY, input_gradient=True)
    first, second = layer.dE
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_allclose(second[0], dY[1, 11:] + dY[3, 11:], rtol=1e-14)
    np.testing.assert_array_equal(second[1], 0)  # no row was of it
    np.testing.assert_allclose(second[2], dY[2, 11:] + dY[5, 11:], rtol=1e-14)


def test_the_last_category_is_not_the_unknown_one() -> None:
    network, layer = front(SMALL)
    X = batch(SMALL, 2)
    X[:, 5] = [3, -1]
    Y = network.forward(X, training=True)
    np.testing.assert_array_equal(Y[0, 9:11], layer.E[0][3])
    np.testing.assert_array_equal(Y[1, 9:11], 0)
    network.backward(np.ones_like(Y))
    np.testing.assert_array_equal(layer.dE[0], [[0, 0]] * 3 + [[1, 1]])


def test_many_categories_keep_their_codes_apart_in_float32() -> None:
    spec = EmbeddingsSpec(0, 0, (1000,))
    network, layer = front(spec, np.float32)
    codes = np.arange(-1, 1000, dtype=np.float32)[:, None]
    Y = network.predict(codes)
    np.testing.assert_array_equal(Y[1:], layer.E[0])
    np.testing.assert_array_equal(Y[0], 0)


# Gradients


def weighted_sum(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
    """A loss of every output, bent so that no gradient is a constant."""
    return float((np.sin(Z) * T).sum()), np.cos(Z) * T


def targets(spec: EmbeddingsSpec, rows: int) -> Array:
    shape = rows, spec.width(n_in(spec))
    return np.random.default_rng(8).standard_normal(shape)


@every_front
@pytest.mark.parametrize("rows", [1, 8])
def test_backward_is_the_derivative_for_every_block(
    spec: EmbeddingsSpec, rows: int
) -> None:
    X, T = batch(spec, rows), targets(spec, rows)
    network = NetworkSpec(n_in(spec), (spec,))
    *blocks, of_input = check_gradients(network, weighted_sum, X, T, samples=999)
    assert len(blocks) == 4 * bool(spec.numbers) + len(spec.categories)
    for finding in blocks:
        assert finding.error < TOLERANCE, finding
    if not spec.categories:  # a code is not to be moved a little
        assert of_input.error < TOLERANCE


@every_front
def test_backward_is_the_derivative_for_numbers_and_plain(
    spec: EmbeddingsSpec,
) -> None:
    network, _ = front(spec)
    X, T = batch(spec, 6), targets(spec, 6)
    network.forward(X, training=True)
    Z = network.forward(X, training=True)
    dX = network.backward(weighted_sum(Z, T, None)[1], input_gradient=True).copy()
    assert dX.shape == X.shape
    stop = spec.numbers + spec.plain
    np.testing.assert_array_equal(dX[:, stop:], 0)
    numeric = np.zeros((6, stop))
    for at in np.ndindex(6, stop):
        values = []
        for side in STEP, -STEP:
            moved = X.copy()
            moved[at] += side
            values.append(weighted_sum(network.predict(moved), T, None)[0])
        numeric[at] = (values[0] - values[1]) / (2 * STEP)
    np.testing.assert_allclose(dX[:, :stop], numeric, rtol=1e-6, atol=1e-8)


@every_front
def test_no_input_gradient_leaves_the_parameter_gradients_whole(
    spec: EmbeddingsSpec,
) -> None:
    network, _ = front(spec)
    X, T = batch(spec, 6), targets(spec, 6)
    network.backward(T * network.forward(X, training=True), input_gradient=True)
    whole = network.gradients.copy()
    network.gradients[...] = np.nan
    network.backward(T * network.forward(X, training=True), input_gradient=False)
    np.testing.assert_array_equal(network.gradients, whole)


# Memory


def step(network: Network, X: Array, T: Array) -> tuple[Array, Array, Array]:
    Y = network.forward(X, training=True).copy()
    dX = network.backward(T, input_gradient=True).copy()
    return Y, dX, network.gradients.copy()


@every_front
@pytest.mark.parametrize("rows", [1, 3, 11])
def test_a_smaller_or_larger_batch_is_as_right_as_the_first(
    spec: EmbeddingsSpec, rows: int
) -> None:
    used, _ = front(spec)
    step(used, batch(spec, 8), targets(spec, 8))
    X, T = batch(spec, rows, seed=2), targets(spec, rows)
    fresh = step(front(spec)[0], X, T)
    for found, expected in zip(step(used, X, T), fresh, strict=True):
        np.testing.assert_array_equal(found, expected)


@every_front
def test_threads_share_a_front_for_predict(spec: EmbeddingsSpec) -> None:
    network, _ = front(spec)
    batches = [batch(spec, 30 + i, seed=i) for i in range(40)]
    expected = [network.predict(X) for X in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network.predict, batches * 5))
    for Y, Z in zip(found, expected * 5, strict=True):
        np.testing.assert_array_equal(Y, Z)


@every_front
def test_predict_between_forward_and_backward_changes_nothing(
    spec: EmbeddingsSpec,
) -> None:
    network, _ = front(spec)
    X, T = batch(spec, 8), targets(spec, 8)
    _, dX, gradients = step(network, X, T)
    network.forward(X, training=True)
    network.predict(batch(spec, 8, seed=3))
    np.testing.assert_array_equal(network.backward(T, input_gradient=True), dX)
    np.testing.assert_array_equal(network.gradients, gradients)


# Start, kinds, specs


def test_it_starts_as_realmlp_does_but_for_the_waves() -> None:
    spec = EmbeddingsSpec(400, 0, (50,))
    network, layer = front(spec)
    network.parameters[...] = np.nan
    network.initialize(np.random.default_rng(5))
    # Of slow waves and fast ones, not of one kind alone.
    spread = 0.05 * 200 ** (np.arange(16) / 15)
    np.testing.assert_allclose(layer.w.std(axis=0), spread, rtol=6 / math.sqrt(800))
    np.testing.assert_array_less(np.abs(layer.w.mean(axis=0)), 6 * spread / 20)
    assert -math.pi <= layer.b.min() < -3 < 3 < layer.b.max() <= math.pi
    for values in layer.V, layer.c:
        assert -0.25 <= values.min() < -0.2 < 0.2 < values.max() <= 0.25
    (E,) = layer.E
    assert E.std() == pytest.approx(1, rel=6 / math.sqrt(2 * E.size))
    again, _ = front(spec)
    again.initialize(np.random.default_rng(5))
    np.testing.assert_array_equal(again.parameters, network.parameters)


def test_slower_waves_are_those_that_a_smaller_spread_draws() -> None:
    _, layer = front(EmbeddingsSpec(400, 0))
    drawn = layer.w.copy()
    layer.slow_down(1.0)
    np.testing.assert_allclose(layer.w[:, 0], drawn[:, 0])  # the slowest stays
    spread = 0.05 * 20 ** (np.arange(16) / 15)
    np.testing.assert_allclose(layer.w.std(axis=0), spread, rtol=6 / math.sqrt(800))
    front(EmbeddingsSpec(0, 2))[1].slow_down(1.0)  # without numbers there are no waves


def test_each_array_is_a_block_of_its_kind() -> None:
    network, _ = front(SMALL)
    assert [(block.kind, block.shape) for block in network.blocks] == [
        ("wave", (2, 5)),
        ("wave", (2, 5)),
        ("wave", (2, 5, 2)),
        ("wave", (2, 2)),
        ("embedding", (4, 2)),
        ("embedding", (3, 2)),
    ]
    assert {block.name for block in network.blocks} == {"layer 1 (embeddings)"}
    assert front(EmbeddingsSpec(0, 4))[0].blocks == []


@every_front
def test_a_spec_survives_json(spec: EmbeddingsSpec) -> None:
    network = NetworkSpec(n_in(spec), (spec,))
    written = msgspec.json.encode(network)
    assert msgspec.json.decode(written, type=NetworkSpec) == network


def test_a_wrong_number_of_inputs_does_not_fit() -> None:
    layer: LayerSpec = SMALL
    with pytest.raises(ValueError, match="embeddings of 7 inputs got 8"):
        layer.width(8)
    assert layer.width(7) == 2 * 3 + 3 + 2 * 2


def test_every_output_knows_its_input() -> None:
    spec = EmbeddingsSpec(2, 1, (9, 12), number_width=3, category_width=2)
    assert spec.sources() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4]
    assert len(spec.sources()) == spec.width(5)

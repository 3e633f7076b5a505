"""One flat vector, the chain rule, and the article's network step by step."""

from __future__ import annotations

import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from models.features.table import Layout
from models.nn import network as module
from models.nn.architectures import mlp, realmlp
from models.nn.layers import (
    ActivationSpec,
    AnyLayerSpec,
    BatchNorm,
    BatchNormSpec,
    DropoutSpec,
    EmbeddingsSpec,
    Linear,
    LinearSpec,
    ScalingSpec,
)
from models.nn.layers.activations import Function
from models.nn.network import Network, NetworkSpec, count_parameters
from models.types import Array
from trainer.optimization.optimizers import GradientDescent
from trainer.training.gradcheck import TOLERANCE, check_gradients
from trainer.training.losses import (
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.types import Loss


def started(spec: NetworkSpec, dtype: type = np.float64, seed: int = 0) -> Network:
    network = Network(spec, dtype)
    network.initialize(np.random.default_rng(seed))
    return network


# One flat vector


def test_layers_hold_views_of_one_vector() -> None:
    network = started(mlp([3, 4, 2], batch_norm=True))
    linear, norm, _, last = network.layers
    assert isinstance(linear, Linear)
    assert isinstance(norm, BatchNorm)
    assert isinstance(last, Linear)
    network.parameters[...] = np.arange(len(network.parameters))
    np.testing.assert_array_equal(linear.W, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(linear.b, np.arange(12, 16))
    np.testing.assert_array_equal(norm.gamma, np.arange(16, 20))
    np.testing.assert_array_equal(norm.beta, np.arange(20, 24))
    np.testing.assert_array_equal(last.W, np.arange(24, 32).reshape(4, 2))
    np.testing.assert_array_equal(last.b, [32, 33])
    network.state[...] = np.arange(8)
    np.testing.assert_array_equal(norm.running_mean, np.arange(4))
    np.testing.assert_array_equal(norm.running_variance, np.arange(4, 8))
    last.b[1] = -1
    assert network.parameters[-1] == -1


def test_gradients_lie_as_parameters_do_and_apart_from_them() -> None:
    network = started(mlp([3, 4, 2], batch_norm=True))
    assert network.gradients.shape == network.parameters.shape
    assert not np.shares_memory(network.gradients, network.parameters)
    network.gradients[...] = np.arange(len(network.gradients))
    (linear, *_) = network.layers
    assert isinstance(linear, Linear)
    np.testing.assert_array_equal(linear.db, np.arange(12, 16))


@pytest.mark.parametrize(
    "layers",
    [
        mlp([3, 5, 2], "selu", batch_norm=True).layers,
        (ScalingSpec(3), LinearSpec(3, 4), ActivationSpec("mish", 4)),
    ],
)
def test_a_finished_network_gives_the_gradient_of_its_input_alone(
    layers: tuple[AnyLayerSpec, ...],
) -> None:
    network = started(NetworkSpec(3, layers), np.float32)
    finished = Network.from_arrays(network.spec, network.parameters, network.state)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(7, 3)).astype(np.float32)
    dZ = rng.normal(size=(7, network.n_out)).astype(np.float32)
    np.testing.assert_array_equal(finished.forward(X), network.forward(X))
    before = network.parameters.copy()
    np.testing.assert_array_equal(
        finished.backward(dZ, input_gradient=True),
        network.backward(dZ, input_gradient=True),
    )
    np.testing.assert_array_equal(network.parameters, before)
    assert not finished.gradients.flags.writeable


def test_blocks_divide_the_vector_and_say_what_they_hold() -> None:
    network = Network(mlp([3, 4, 2], batch_norm=True))
    ends = [(b.slice.start, b.slice.stop) for b in network.blocks]
    assert ends == [(0, 12), (12, 16), (16, 20), (20, 24), (24, 32), (32, 34)]
    assert [(b.kind, b.shape) for b in network.blocks] == [
        ("weight", (3, 4)),
        ("bias", (4,)),
        ("gain", (4,)),
        ("bias", (4,)),
        ("weight", (4, 2)),
        ("bias", (2,)),
    ]
    assert network.blocks[0].name == "layer 1 (linear)"
    assert network.blocks[2].name == "layer 2 (batch norm)"


def test_everything_is_float32_unless_asked() -> None:
    network = Network(mlp([3, 4, 2], batch_norm=True))
    for vector in network.parameters, network.gradients, network.state:
        assert vector.dtype == np.float32
    assert Network(mlp([3, 2]), np.float64).parameters.dtype == np.float64


@pytest.mark.parametrize(
    "spec",
    [
        mlp([3, 2]),
        mlp([3, 5, 4, 2], "gelu", batch_norm=True, dropout=0.5),
        realmlp(Layout(1, 1, (9,)), [5, 4], 2, dropout=0.5),
        NetworkSpec(3, ()),
        NetworkSpec(3, (BatchNormSpec(3), DropoutSpec(0.1))),
    ],
)
def test_sizes_are_those_of_the_vectors(spec: NetworkSpec) -> None:
    network = Network(spec)
    assert count_parameters(spec) == (len(network.parameters), len(network.state))


def test_sizes_of_a_network_no_memory_could_hold_cost_nothing() -> None:
    huge = 1 << 20
    spec = NetworkSpec(huge, (LinearSpec(huge, huge), BatchNormSpec(huge)))
    tracemalloc.start()
    try:
        assert count_parameters(spec) == (huge * huge + 3 * huge, 2 * huge)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# Specs


@pytest.mark.parametrize(
    "layers",
    [
        (LinearSpec(4, 2),),
        (LinearSpec(3, 2), LinearSpec(3, 1)),
        (BatchNormSpec(2),),
        (LinearSpec(3, 2), ActivationSpec("relu"), BatchNormSpec(3)),
        (ScalingSpec(2),),
        (ActivationSpec("relu", 4),),
        (LinearSpec(3, 2), ActivationSpec("relu", 3)),
        (EmbeddingsSpec(1, 1, (4, 4)),),
        (EmbeddingsSpec(1, 1, (4,)), ScalingSpec(12)),
    ],
)
def test_layers_that_do_not_fit_together_are_refused(
    layers: tuple[AnyLayerSpec, ...],
) -> None:
    spec = NetworkSpec(3, layers)
    with pytest.raises(ValueError, match=r" got "):
        Network(spec)
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match=r" got "):
        Network.from_arrays(spec, nothing, nothing)


def test_a_spec_survives_json() -> None:
    spec = mlp([6, 5, 3], "selu", batch_norm=True, dropout=0.25)
    encoded = msgspec.json.encode(spec)
    assert msgspec.json.decode(encoded, type=NetworkSpec) == spec


@pytest.mark.parametrize(
    "layer",
    [
        b'{"type":"linear","n_in":0,"n_out":1}',
        b'{"type":"linear","n_in":3,"n_out":1048577}',
        b'{"type":"linear","n_in":3,"n_out":1,"initializer":"lucky"}',
        b'{"type":"linear","n_in":3,"n_out":1,"bias":true}',
        b'{"type":"activation","function":"step"}',
        b'{"type":"batch_norm","n":3,"momentum":0}',
        b'{"type":"batch_norm","n":3,"epsilon":-1}',
        b'{"type":"dropout","rate":1}',
        b'{"type":"activation","function":"relu","slopes":-1}',
        b'{"type":"scaling","n":0}',
        b'{"type":"scaling"}',
        b'{"type":"embeddings","numbers":-1,"plain":0}',
        b'{"type":"embeddings","numbers":3,"plain":0,"number_width":1}',
        b'{"type":"embeddings","numbers":3,"plain":0,"frequencies":0}',
        b'{"type":"embeddings","numbers":2,"plain":0,"categories":[0]}',
        b'{"type":"embeddings","numbers":2,"plain":0,"categories":[1048577]}',
        b'{"type":"convolution"}',
    ],
)
def test_a_layer_out_of_its_limits_is_not_read(layer: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"n_in":3,"layers":[%b]}' % layer, type=NetworkSpec)


# Forward and backward


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (binary_cross_entropy, 1),
        (mean_squared_error, 1),
        (softmax_cross_entropy, 3),
    ],
)
def test_gradients_of_a_whole_network_are_right(
    loss: Loss, outputs: int, weighted: bool
) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((10, 5))
    T = {
        binary_cross_entropy: rng.integers(0, 2, 10),
        mean_squared_error: rng.standard_normal(10),
        softmax_cross_entropy: rng.integers(0, 3, 10),
    }[loss]
    weights = rng.uniform(0.2, 3, 10) if weighted else None
    spec = mlp([5, 7, 6, outputs], "gelu", batch_norm=True, dropout=0.3)
    for finding in check_gradients(spec, loss, X, T, weights=weights):
        assert finding.error < TOLERANCE, finding


def test_a_wrong_gradient_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Linear.backward

    def wrong(self: Linear, dY: Array, input_gradient: bool) -> Array:
        dX = right(self, dY, input_gradient)
        self.dW *= 1.001
        return dX

    monkeypatch.setattr(Linear, "backward", wrong)
    rng = np.random.default_rng(3)
    X, T = rng.standard_normal((10, 5)), rng.standard_normal(10)
    found = check_gradients(mlp([5, 4, 1], "tanh"), mean_squared_error, X, T)
    assert max(finding.error for finding in found) > TOLERANCE


def test_no_unused_gradient_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    right = Linear.backward

    def watched(self: Linear, dY: Array, input_gradient: bool) -> Array:
        asked.append(input_gradient)
        return right(self, dY, input_gradient)

    monkeypatch.setattr(Linear, "backward", watched)
    network = started(mlp([3, 4, 4, 2]))
    Z = network.forward(np.ones((5, 3)))
    network.backward(np.ones_like(Z))
    assert asked == [True, True, False]
    assert network.backward(np.ones_like(Z), input_gradient=True).shape == (5, 3)
    assert asked[3:] == [True, True, True]


def test_a_hundred_linear_layers_are_still_one_matrix() -> None:
    network = started(NetworkSpec(8, (LinearSpec(8, 8, "glorot"),) * 100))
    product, bias = np.eye(8), np.zeros(8)
    for layer in network.layers:
        assert isinstance(layer, Linear)
        product, bias = product @ layer.W, bias @ layer.W + layer.b
    X = np.random.default_rng(1).standard_normal((5, 8))
    np.testing.assert_allclose(network.predict(X), X @ product + bias, atol=1e-12)


def gradient_norms(activation: Function) -> list[float]:
    """The length of each weight matrix's gradient, ten hidden layers deep."""
    network = started(mlp([32] * 11 + [1], activation))
    rng = np.random.default_rng(1)
    X, T = rng.standard_normal((64, 32)), rng.integers(0, 2, 64)
    network.backward(binary_cross_entropy(network.forward(X), T, None)[1])
    return [
        float(np.linalg.norm(network.gradients[block.slice]))
        for block in network.blocks
        if block.kind == "weight"
    ]


def test_the_gradient_vanishes_through_sigmoids_and_not_through_relus() -> None:
    first, *_, last = gradient_norms("sigmoid")
    assert first / last < 1e-5
    first, *_, last = gradient_norms("relu")
    assert first / last > 0.1


# Promise 6.2: the plain network is the textbook one


class Textbook:
    """The article's network: [2, 4, 1], ReLU, sigmoid at the end, as it is written."""

    def __init__(self, W1: Array, b1: Array, W2: Array, b2: Array) -> None:
        self.W1, self.b1, self.W2, self.b2 = W1, b1, W2, b2

    def step(self, X: Array, y: Array, learning_rate: float) -> None:
        m = len(X)
        z1 = X @ self.W1 + self.b1
        a1 = np.maximum(0, z1)
        z2 = a1 @ self.W2 + self.b2
        a2 = 1 / (1 + np.exp(-z2))

        delta2 = a2 - y
        delta1 = (delta2 @ self.W2.T) * (z1 > 0)
        self.W2 = self.W2 - learning_rate * (a1.T @ delta2) / m
        self.b2 = self.b2 - learning_rate * delta2.mean(axis=0)
        self.W1 = self.W1 - learning_rate * (X.T @ delta1) / m
        self.b1 = self.b1 - learning_rate * delta1.mean(axis=0)

    @property
    def weights(self) -> Array:
        return np.concatenate([self.W1.ravel(), self.b1, self.W2.ravel(), self.b2])


@pytest.mark.parametrize("seed", [0, 42])
def test_xor_is_learnt_weight_for_weight_as_in_the_textbook(seed: int) -> None:
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    y = np.array([0, 1, 1, 0])
    network = Network(mlp([2, 4, 1], "relu", initializer="he"), np.float64)
    network.initialize(np.random.default_rng(seed))

    rng = np.random.default_rng(seed)
    W1 = rng.standard_normal((2, 4)) * math.sqrt(2 / 2)
    W2 = rng.standard_normal((4, 1)) * math.sqrt(2 / 4)
    textbook = Textbook(W1, np.zeros(4), W2, np.zeros(1))

    n = len(network.parameters)
    rule = GradientDescent(n, np.zeros(n))
    start = network.parameters.copy()
    for step in range(500):
        np.testing.assert_allclose(
            network.parameters,
            textbook.weights,
            rtol=0,
            atol=1e-12,
            err_msg=f"after {step} steps",
        )
        Z = network.forward(X, training=True)
        network.backward(binary_cross_entropy(Z, y, None)[1])
        rule.step(network.parameters, network.gradients, 0.5)
        textbook.step(X, y[:, None], 0.5)
    assert np.abs(network.parameters - start).max() > 0.5


# Answering


def test_predict_is_forward_without_training() -> None:
    network = started(mlp([5, 6, 3], "mish", batch_norm=True, dropout=0.5))
    X = np.random.default_rng(1).standard_normal((9, 5))
    network.forward(X, training=True, rng=np.random.default_rng(2))
    np.testing.assert_allclose(
        network.predict(X), network.forward(X), rtol=1e-12, atol=1e-14
    )


def test_a_long_table_is_answered_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    network = started(mlp([5, 6, 3]))
    X = np.random.default_rng(1).standard_normal((23, 5))
    whole = network.predict(X)
    taken: list[int] = []
    answer = network._predict

    def counted(X: Array) -> Array:
        taken.append(len(X))
        return answer(X)

    monkeypatch.setattr(module, "CHUNK", 5)
    monkeypatch.setattr(network, "_predict", counted)
    np.testing.assert_allclose(network.predict(X), whole, rtol=1e-12)
    assert taken == [5, 5, 5, 5, 3]
    assert network.predict(X[:0]).shape == (0, 3)


def test_pieces_of_the_real_size_keep_the_precision() -> None:
    network = started(mlp([2, 3, 2]), np.float32)
    X = np.random.default_rng(1).standard_normal((module.CHUNK + 1, 2), np.float32)
    Z = network.predict(X)
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z[-1:], network.predict(X[-1:]), rtol=1e-5)


def test_predict_does_not_disturb_a_training_step() -> None:
    network = started(mlp([5, 6, 3], batch_norm=True, dropout=0.3))
    rng = np.random.default_rng(1)
    X, T = rng.standard_normal((9, 5)), rng.integers(0, 3, 9)

    def step(between: bool) -> Array:
        Z = network.forward(X, training=True, rng=np.random.default_rng(2))
        if between:
            network.predict(-X)
        network.backward(softmax_cross_entropy(Z, T, None)[1])
        return network.gradients.copy()

    np.testing.assert_array_equal(step(between=True), step(between=False))


def test_threads_share_a_network() -> None:
    network = started(mlp([5, 16, 3], "gelu", batch_norm=True))
    tables = [np.random.default_rng(i).standard_normal((30 + i, 5)) for i in range(60)]
    expected = [network.predict(X) for X in tables]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network.predict, tables * 3))
    for Z, right in zip(found, expected * 3, strict=True):
        np.testing.assert_array_equal(Z, right)


def read_only(network: Network) -> Network:
    vectors = network.parameters.copy(), network.state.copy()
    for vector in vectors:
        vector.flags.writeable = False
    return Network.from_arrays(network.spec, *vectors)


def test_a_network_over_read_only_vectors_answers_without_a_copy() -> None:
    network = started(mlp([5, 6, 3], batch_norm=True), np.float32)
    serving = Network.from_arrays(network.spec, network.parameters, network.state)
    assert np.shares_memory(serving.parameters, network.parameters)
    assert not serving.parameters.flags.writeable
    X = np.random.default_rng(1).standard_normal((9, 5), np.float32)
    np.testing.assert_array_equal(serving.predict(X), network.predict(X))
    np.testing.assert_allclose(serving.forward(X), network.predict(X), rtol=1e-5)


def test_a_network_over_read_only_vectors_cannot_be_trained() -> None:
    serving = read_only(started(mlp([5, 6, 3], batch_norm=True)))
    X = np.random.default_rng(1).standard_normal((9, 5))
    with pytest.raises(ValueError, match="read-only"):
        serving.initialize(np.random.default_rng(0))
    with pytest.raises(ValueError, match="read-only"):
        serving.forward(X, training=True)  # would move the running statistics
    Z = serving.forward(X)
    before = serving.parameters.copy()
    serving.backward(np.ones_like(Z))
    np.testing.assert_array_equal(serving.parameters, before)

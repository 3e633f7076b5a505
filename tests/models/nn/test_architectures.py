"""The networks that the trainer builds: layers in order, widths that fit together."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers import (
    ActivationSpec,
    BatchNormSpec,
    DropoutSpec,
    EmbeddingsSpec,
    LinearSpec,
    ScalingSpec,
)
from models.nn.layers.activations import FUNCTIONS, Function
from models.nn.network import Network, NetworkSpec, count_parameters
from trainer.training.gradcheck import STEP, TOLERANCE, check_gradients
from trainer.training.losses import (
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.types import Loss

LAYOUTS = [
    Layout(3, 2, (9, 12)),
    Layout(3, 0, ()),
    Layout(0, 5, ()),
    Layout(0, 0, (9,)),
    Layout(1, 4, (1000,)),
]
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


# The multi-layer perceptron


def test_mlp_builds_the_network_of_the_article() -> None:
    spec = mlp([784, 128, 64, 10])
    assert spec == NetworkSpec(
        784,
        (
            LinearSpec(784, 128, "he"),
            ActivationSpec("relu"),
            LinearSpec(128, 64, "he"),
            ActivationSpec("relu"),
            LinearSpec(64, 10, "he"),
        ),
    )
    assert spec.n_out == 10
    assert count_parameters(spec) == (784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10, 0)


def test_mlp_orders_norm_activation_and_dropout() -> None:
    assert mlp([6, 5, 3], "mish", batch_norm=True, dropout=0.2).layers == (
        LinearSpec(6, 5, "he"),
        BatchNormSpec(5),
        ActivationSpec("mish"),
        DropoutSpec(0.2),
        LinearSpec(5, 3, "he"),
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_mlp_starts_by_the_rule_of_its_activation(function: Function) -> None:
    symmetric = {"sigmoid", "tanh", "softmax", "identity"}
    rules = {
        layer.initializer
        for layer in mlp([4, 3, 2], function).layers
        if isinstance(layer, LinearSpec)
    }
    assert rules == {"glorot" if function in symmetric else "he"}
    zero = mlp([4, 3, 2], function, initializer="zeros")
    assert not Network(zero).parameters.any()


# RealMLP


def test_realmlp_builds_the_network_of_the_paper() -> None:
    assert realmlp(Layout(3, 2, (9, 12)), [256, 128], 4, "mish", dropout=0.15) == (
        NetworkSpec(
            7,
            (
                EmbeddingsSpec(3, 2, (9, 12)),
                ScalingSpec(3 * 4 + 2 + 2 * 8),
                LinearSpec(30, 256),
                ActivationSpec("mish", 256),
                DropoutSpec(0.15),
                LinearSpec(256, 128),
                ActivationSpec("mish", 128),
                DropoutSpec(0.15),
                LinearSpec(128, 4),
            ),
        )
    )


def test_realmlp_takes_selu_and_no_dropout_unless_told() -> None:
    spec = realmlp(Layout(1, 0, ()), [5], 1)
    assert spec.layers == (
        EmbeddingsSpec(1, 0),
        ScalingSpec(4),
        LinearSpec(4, 5),
        ActivationSpec("selu", 5),
        LinearSpec(5, 1),
    )


@every_layout
@pytest.mark.parametrize("hidden", [[], [5], [6, 5, 4]])
@pytest.mark.parametrize("n_out", [1, 3])
def test_realmlps_widths_fit_together(
    layout: Layout, hidden: list[int], n_out: int
) -> None:
    spec = realmlp(layout, hidden, n_out, dropout=0.1)
    assert spec.n_in == layout.numeric + layout.other + len(layout.categories)
    assert spec.n_out == n_out
    network = Network(spec)
    network.initialize(np.random.default_rng(0))
    assert count_parameters(spec) == (len(network.parameters), 0)
    X = np.zeros((5, spec.n_in), np.float32)
    Z = network.predict(X)
    assert Z.shape == (5, n_out)
    assert np.isfinite(Z).all()


@every_layout
def test_realmlp_survives_json(layout: Layout) -> None:
    spec = realmlp(layout, [6, 5], 3, "gelu", dropout=0.25)
    encoded = msgspec.json.encode(spec)
    assert msgspec.json.decode(encoded, type=NetworkSpec) == spec


def test_realmlps_numbers_are_of_every_kind_but_gain() -> None:
    network = Network(realmlp(Layout(1, 1, (9,)), [5], 1))
    assert [block.kind for block in network.blocks] == [
        *["wave"] * 4,
        "embedding",
        "scale",
        *["weight", "bias"],
        "slope",
        *["weight", "bias"],
    ]


@every_layout
@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        (binary_cross_entropy, 1),
        (mean_squared_error, 1),
        (softmax_cross_entropy, 3),
    ],
)
def test_gradients_of_a_whole_realmlp_are_right(
    layout: Layout, loss: Loss, outputs: int
) -> None:
    rng = np.random.default_rng(3)
    spec = realmlp(layout, [6, 5], outputs, "mish", dropout=0.2)
    X = rng.standard_normal((10, spec.n_in))
    stop = layout.numeric + layout.other
    for column, n in enumerate(layout.categories, stop):
        X[:, column] = [-1, n - 1, *rng.integers(-1, n, 8)]
    T = {
        binary_cross_entropy: rng.integers(0, 2, 10),
        mean_squared_error: rng.standard_normal(10),
        softmax_cross_entropy: rng.integers(0, 3, 10),
    }[loss]
    *blocks, of_input = check_gradients(spec, loss, X, T)
    for finding in blocks:
        assert finding.error < TOLERANCE, finding
    if not layout.categories:  # a code is not to be moved a little
        assert of_input.error < TOLERANCE


def test_the_input_gradient_of_a_whole_realmlp_is_right() -> None:
    rng = np.random.default_rng(4)
    network = Network(realmlp(Layout(2, 2, (9,)), [6, 5], 1, "mish"), np.float64)
    network.initialize(rng)
    network.parameters += 0.1 * rng.standard_normal(len(network.parameters))
    X, T = rng.standard_normal((6, 5)), rng.standard_normal(6)
    X[:, 4] = [-1, 0, 8, 3, 3, -1]
    Z = network.forward(X, training=True)
    dZ = mean_squared_error(Z, T, None)[1]
    dX = network.backward(dZ, input_gradient=True).copy()
    np.testing.assert_array_equal(dX[:, 4], 0)
    for at in np.ndindex(6, 4):
        moved = np.zeros_like(X)
        moved[at] = STEP
        near, far = (
            mean_squared_error(network.predict(X + n * moved), T, None)[0]
            - mean_squared_error(network.predict(X - n * moved), T, None)[0]
            for n in (1, 2)
        )
        numeric = (8 * near - far) / (12 * STEP)  # its error is in STEP to the fourth
        assert dX[at] == pytest.approx(numeric, rel=1e-6, abs=1e-8)


def test_wide_categories_of_an_mlp_are_embedded_in_front() -> None:
    spec = mlp([5, 7, 2], categories=(9, 30))
    front, first, *_ = spec.layers
    assert front == EmbeddingsSpec(0, 3, (9, 30))
    assert isinstance(first, LinearSpec)
    assert first.n_in == 3 + 2 * front.category_width
    assert (spec.n_in, spec.n_out) == (5, 2)

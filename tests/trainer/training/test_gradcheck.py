"""The check passes on what is right, and finds what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.nn.architectures import mlp
from models.nn.layers import BatchNorm, Dropout, Linear
from models.nn.layers.activations import FUNCTIONS
from trainer.training import gradcheck
from trainer.training.gradcheck import TOLERANCE, check_everything, check_gradients
from trainer.training.losses import mean_squared_error


def test_everything_is_within_tolerance() -> None:
    errors = dict(check_everything())
    assert max(errors.values()) < TOLERANCE
    assert {f"activation {function}" for function in FUNCTIONS} < set(errors)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_wrong_activation_is_found(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FUNCTIONS[function].backward

    def wrong(dA: Any, Z: Any, A: Any, kept: Any, dZ: Any) -> None:
        right(dA, Z, A, kept, dZ)
        dZ *= 1.001

    monkeypatch.setattr(FUNCTIONS[function], "backward", staticmethod(wrong))
    errors = dict(check_everything())
    assert errors[f"activation {function}"] > TOLERANCE


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Linear, "activation relu"),
        (BatchNorm, "batch norm while training"),
        (Dropout, "dropout, mask held"),
    ],
)
def test_a_wrong_layer_is_found(
    layer: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layer.backward

    def wrong(self: Any, dY: Any, input_gradient: bool) -> Any:
        return right(self, dY, input_gradient) * 1.001

    monkeypatch.setattr(layer, "backward", wrong)
    errors = dict(check_everything())
    assert errors[name] > TOLERANCE


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ("binary_cross_entropy", "binary cross-entropy"),
        ("softmax_cross_entropy", "softmax cross-entropy, weighted rows"),
        ("mean_squared_error", "mean squared error"),
    ],
)
def test_a_wrong_loss_is_found(
    loss: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(gradcheck, loss)

    def wrong(Z: Any, T: Any, weights: Any) -> Any:
        value, dZ = right(Z, T, weights)
        return value, dZ * 1.001

    monkeypatch.setattr(gradcheck, loss, wrong)
    errors = dict(check_everything())
    assert errors[name] > TOLERANCE


def test_each_block_and_the_input_is_reported() -> None:
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(6, 3)), rng.normal(size=6)
    found = check_gradients(mlp([3, 4, 1], "tanh"), mean_squared_error, X, T)
    assert [finding.name for finding in found] == [
        "layer 1 (linear)",
        "layer 1 (linear)",
        "layer 3 (linear)",
        "layer 3 (linear)",
        "input",
    ]


def test_the_data_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(6, 3)), rng.normal(size=6)
    before = X.copy()
    check_gradients(mlp([3, 4, 1]), mean_squared_error, X, T)
    np.testing.assert_array_equal(X, before)

"""The check passes on what is right, and finds what is wrong."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from models.nn.architectures import Architecture, mlp
from models.nn.layers import (
    LAYER_SPECS,
    ActivationSpec,
    BatchNormSpec,
    EmbeddingsSpec,
    Layer,
    LayerSpec,
    LinearSpec,
    Scaling,
    ScalingSpec,
)
from models.nn.layers.activations import FUNCTIONS
from trainer.training import gradcheck
from trainer.training.gradcheck import (
    TOLERANCE,
    check_everything,
    check_gradients,
    check_layers,
    check_losses,
)
from trainer.training.losses import LOSSES, mean_squared_error


def test_everything_is_within_tolerance() -> None:
    errors = dict(check_everything())
    assert max(errors.values()) < TOLERANCE
    for layer in LAYER_SPECS:
        tag = layer.__struct_config__.tag
        assert any(name.startswith(f"layer {tag} ") for name in errors)
    for function in FUNCTIONS:
        assert f"layer activation function={function}" in errors
        assert f"layer activation function={function} slopes=5" in errors
    for architecture in get_args(Architecture):
        assert f"architecture {architecture}" in errors
    for task in LOSSES:
        assert {f"loss {task}", f"loss {task}, weighted rows"} < set(errors)


class TwiceSpec(LayerSpec, tag="twice", frozen=True):
    """A layer that somebody adds."""

    def build(self) -> Layer:
        return Twice(self)


class Twice(Layer):
    slope = 2.0

    def __init__(self, spec: TwiceSpec) -> None:
        super().__init__()

    def forward(self, X: Any, training: bool, rng: Any) -> Any:
        return X * 2.0

    def backward(self, dY: Any, input_gradient: bool) -> Any:
        return dY * self.slope

    def predict(self, X: Any) -> Any:
        return X * self.slope


def test_a_registered_layer_without_examples_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradcheck, "LAYER_SPECS", [TwiceSpec])
    with pytest.raises(NotImplementedError, match="TwiceSpec"):
        list(check_layers())


def test_a_registered_layer_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradcheck, "LAYER_SPECS", [TwiceSpec])
    monkeypatch.setattr(TwiceSpec, "examples", lambda n_in: [TwiceSpec()])
    assert dict(check_layers())["layer twice"] < TOLERANCE
    monkeypatch.setattr(Twice, "slope", 2.001)
    assert dict(check_layers())["layer twice"] > TOLERANCE


def activation_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Check one activation, plain and with learned slopes."""
    monkeypatch.setattr(gradcheck, "LAYER_SPECS", [ActivationSpec])
    for other in list(FUNCTIONS):
        if other != name:
            monkeypatch.delitem(FUNCTIONS, other)
    return [error for _, error in check_layers()]


def test_a_registered_activation_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        forward = staticmethod(FUNCTIONS["tanh"].forward)
        backward = staticmethod(FUNCTIONS["identity"].backward)

    monkeypatch.setitem(FUNCTIONS, "new", Wrong)  # type: ignore[misc]
    assert min(activation_errors("new", monkeypatch)) > TOLERANCE


def test_a_loss_of_a_new_task_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "counts", mean_squared_error)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="counts"):
        list(check_losses())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_wrong_activation_is_found(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FUNCTIONS[function].backward

    def wrong(dA: Any, Z: Any, A: Any, kept: Any, dZ: Any) -> None:
        right(dA, Z, A, kept, dZ)
        dZ *= 1.001

    monkeypatch.setattr(FUNCTIONS[function], "backward", staticmethod(wrong))
    assert min(activation_errors(function, monkeypatch)) > TOLERANCE


def layer_errors(spec: type[LayerSpec], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Check the examples of one layer, those of activations with one function."""
    if spec is ActivationSpec:
        return activation_errors("tanh", monkeypatch)
    monkeypatch.setattr(gradcheck, "LAYER_SPECS", [spec])
    return [error for _, error in check_layers()]


def layer_class(spec: type[LayerSpec]) -> Any:
    return type(spec.examples(5)[0].build())


@pytest.mark.parametrize("spec", LAYER_SPECS)
def test_a_wrong_gradient_of_an_input_is_found(
    spec: type[LayerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_class(spec)
    right = layer.backward

    def wrong(self: Any, dY: Any, input_gradient: bool) -> Any:
        return right(self, dY, input_gradient) * 1.001

    monkeypatch.setattr(layer, "backward", wrong)
    assert min(layer_errors(spec, monkeypatch)) > TOLERANCE


@pytest.mark.parametrize(
    ("spec", "gradient"),
    [
        (LinearSpec, "dW"),
        (LinearSpec, "db"),
        (BatchNormSpec, "dgamma"),
        (BatchNormSpec, "dbeta"),
        (ScalingSpec, "ds"),
        (ActivationSpec, "dr"),
        (EmbeddingsSpec, "dw"),
        (EmbeddingsSpec, "db"),
        (EmbeddingsSpec, "dV"),
        (EmbeddingsSpec, "dc"),
        (EmbeddingsSpec, "dE"),
    ],
)
def test_a_wrong_gradient_of_a_parameter_is_found(
    spec: type[LayerSpec], gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_class(spec)
    right = layer.backward

    def wrong(self: Any, dY: Any, input_gradient: bool) -> Any:
        dX = right(self, dY, input_gradient)
        arrays = getattr(self, gradient, [])
        for array in arrays if isinstance(arrays, list) else [arrays]:
            array *= 1.001
        return dX

    monkeypatch.setattr(layer, "backward", wrong)
    assert max(layer_errors(spec, monkeypatch)) > TOLERANCE


@pytest.mark.parametrize("spec", LAYER_SPECS)
def test_a_predict_that_differs_from_forward_is_found(
    spec: type[LayerSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = layer_class(spec).predict
    monkeypatch.setattr(
        layer_class(spec), "predict", lambda self, X: right(self, X) * 1.001
    )
    assert min(layer_errors(spec, monkeypatch)) > TOLERANCE


def test_a_derivative_that_is_no_number_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = Scaling.backward

    def wrong(self: Any, dY: Any, input_gradient: bool) -> Any:
        return right(self, dY, input_gradient) * np.nan

    monkeypatch.setattr(Scaling, "backward", wrong)
    assert layer_errors(ScalingSpec, monkeypatch) == [np.inf]


@pytest.mark.parametrize("task", LOSSES)
def test_a_wrong_loss_is_found(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LOSSES[task]

    def wrong(Z: Any, T: Any, weights: Any) -> Any:
        value, dZ = right(Z, T, weights)
        return value, dZ * 1.001

    monkeypatch.setitem(LOSSES, task, wrong)
    errors = {k: v for k, v in check_losses() if k.startswith(f"loss {task}")}
    assert min(errors.values()) > TOLERANCE


def test_each_block_and_the_input_is_reported() -> None:
    rng = np.random.default_rng(1)
    X, T = rng.normal(size=(6, 3)), rng.normal(size=6)
    checks = check_gradients(mlp([3, 4, 1], "tanh"), mean_squared_error, X, T)
    assert [check.name for check in checks] == [
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

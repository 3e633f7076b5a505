"""Each function against its formula, its derivative against the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from models.nn.architectures import mlp
from models.nn.layers import ActivationSpec, LinearSpec
from models.nn.layers.activations import FUNCTIONS, SELU_ALPHA, SELU_SCALE, Function
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.training.gradcheck import TOLERANCE, check_gradients
from trainer.training.losses import softmax_cross_entropy

functions = pytest.mark.parametrize("function", FUNCTIONS)


def mish(Z: Array) -> Array:
    wide = Z.astype(np.longdouble)  # its exponent is wide enough for e^10000
    return (wide * np.tanh(np.log1p(np.exp(wide)))).astype(np.float64)


def gelu(Z: Array) -> Array:
    return Z * special.expit(2.0 * np.sqrt(2.0 / np.pi) * (Z + 0.044715 * Z**3))


def selu(Z: Array) -> Array:
    return SELU_SCALE * np.where(Z > 0, Z, SELU_ALPHA * special.expm1(np.fmin(Z, 0)))


FORMULAS: dict[Function, Callable[[Array], Array]] = {
    "identity": lambda Z: Z,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda Z: np.where(Z > 0, Z, 0),
    "leaky_relu": lambda Z: np.where(Z > 0, Z, 0.01 * Z),
    "selu": selu,
    "gelu": gelu,
    "mish": mish,
    "softmax": lambda Z: special.softmax(Z, axis=1),
}

#: The slope far left and far right.
SLOPES: dict[Function, tuple[float, float]] = {
    "identity": (1, 1),
    "sigmoid": (0, 0),
    "tanh": (0, 0),
    "relu": (0, 1),
    "leaky_relu": (0.01, 1),
    "selu": (0, SELU_SCALE),
    "gelu": (0, 1),
    "mish": (0, 1),
}


def forward(function: Function, Z: Array) -> Array:
    A = np.full_like(Z, np.nan)
    FUNCTIONS[function].forward(Z, A, np.full_like(Z, np.nan))
    return A


def backward(function: Function, dA: Array, Z: Array) -> Array:
    dZ = np.full_like(Z, np.nan)
    A, kept = np.full_like(Z, np.nan), np.full_like(Z, np.nan)
    FUNCTIONS[function].forward(Z, A, kept)
    FUNCTIONS[function].backward(dA, Z, A, kept, dZ)
    return dZ


def inputs(dtype: Any) -> Array:
    """Rows of three with every size of number, the extremes among them."""
    small = np.linspace(-30, 30, 601)
    far = [-1e4, -1e3, -88, -1e-30, 0, 0, 1e-30, 1e2, 1e4]
    return np.append(small, far)[: 3 * 203].reshape(-1, 3).astype(dtype)


@functions
def test_values_are_the_formula_in_float64(function: Function) -> None:
    Z = inputs(np.float64)
    np.testing.assert_allclose(
        forward(function, Z), FORMULAS[function](Z), rtol=1e-12, atol=1e-15
    )


@functions
def test_values_are_the_formula_in_float32(function: Function) -> None:
    Z = inputs(np.float32)
    exact = FORMULAS[function](Z.astype(np.float64))
    A = forward(function, Z)
    assert A.dtype == np.float32
    np.testing.assert_allclose(A, exact, rtol=2e-6, atol=2e-7)


@functions
def test_the_input_is_left_alone(function: Function) -> None:
    Z = inputs(np.float32)
    held = Z.copy()
    backward(function, np.ones_like(Z), Z)
    np.testing.assert_array_equal(Z, held)


@pytest.mark.parametrize("function", SLOPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_the_slope_is_its_limit(function: Function, dtype: Any) -> None:
    Z = np.array([[-1e4, 1e4]], dtype)
    slopes = backward(function, np.ones_like(Z), Z)
    np.testing.assert_allclose(slopes, [SLOPES[function]], rtol=1e-6, atol=1e-6)


@functions
@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 1e30), (np.float64, 1e300)])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_finite_input_gives_finite_numbers(
    function: Function, dtype: Any, far: float, data: st.DataObject
) -> None:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=4)
    numbers = st.floats(-far, far).map(lambda x: float(dtype(x)))
    Z = data.draw(hnp.arrays(dtype, shapes, elements=numbers))
    for found in forward(function, Z), backward(function, np.ones_like(Z), Z):
        assert found.dtype == dtype
        assert np.isfinite(found).all()


def test_softmax_rows_sum_to_one() -> None:
    Z = inputs(np.float64)
    np.testing.assert_allclose(forward("softmax", Z).sum(axis=1), 1, rtol=1e-15)


@functions
@pytest.mark.parametrize("seed", range(3))
def test_backward_is_the_derivative_of_forward(function: Function, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, T = 2 * rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    spec = mlp([4, 6, 5, 3], function)
    for finding in check_gradients(spec, softmax_cross_entropy, X, T, seed=seed):
        assert finding.error < TOLERANCE, finding


# Parametric: each unit learns how much of the function it takes


def parametric(function: Function, dtype: Any = np.float64) -> Network:
    network = Network(NetworkSpec(3, (ActivationSpec(function, 3),)), dtype)
    network.initialize(np.random.default_rng(0))
    return network


@functions
def test_a_parametric_value_lies_between_the_unit_and_its_function(
    function: Function,
) -> None:
    network, Z = parametric(function), inputs(np.float64)
    r = network.parameters[...] = [0.25, -0.5, 1.75]
    expected = Z + r * (FORMULAS[function](Z) - Z)
    for found in network.predict(Z), network.forward(Z, training=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)


@functions
def test_a_parametric_value_is_the_formula_in_float32(function: Function) -> None:
    network, Z = parametric(function, np.float32), inputs(np.float32)[:201]
    r = network.parameters[...] = [0.25, -0.5, 1.75]
    wide = Z.astype(np.float64)
    exact = wide + r * (FORMULAS[function](wide) - wide)
    for found in network.predict(Z), network.forward(Z, training=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=2e-5, atol=2e-6)


@functions
def test_a_parametric_activation_starts_as_the_plain_one(function: Function) -> None:
    plain = Network(NetworkSpec(3, (ActivationSpec(function),)), np.float64)
    network, Z = parametric(function), inputs(np.float64)[:201]
    np.testing.assert_array_equal(network.parameters, [1, 1, 1])
    np.testing.assert_allclose(network.predict(Z), plain.predict(Z), atol=1e-14)
    np.testing.assert_allclose(network.forward(Z), plain.forward(Z), atol=1e-14)
    dA = np.random.default_rng(1).standard_normal(Z.shape)
    np.testing.assert_allclose(
        network.backward(dA, input_gradient=True),
        plain.backward(dA, input_gradient=True),
        atol=1e-14,
    )


@functions
def test_a_parametric_activation_at_zero_lets_everything_pass(
    function: Function,
) -> None:
    network, Z = parametric(function), inputs(np.float64)[:201]
    network.parameters[...] = 0.0
    np.testing.assert_array_equal(network.predict(Z), Z)
    network.forward(Z, training=True)
    dA = np.random.default_rng(1).standard_normal(Z.shape)
    np.testing.assert_allclose(network.backward(dA, True), dA, rtol=1e-14)
    # The slope's gradient is what the function would change.
    bend = FORMULAS[function](Z) - Z
    np.testing.assert_allclose(
        network.gradients, (dA * bend).sum(axis=0), rtol=1e-9, atol=1e-12
    )


@functions
@pytest.mark.parametrize("seed", range(3))
def test_backward_is_the_derivative_for_slopes_and_units(
    function: Function, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X, T = 2 * rng.standard_normal((9, 4)), rng.integers(0, 3, 9)
    layers = (
        LinearSpec(4, 6),
        ActivationSpec(function, 6),
        ActivationSpec(function, 6),
        LinearSpec(6, 3),
    )
    spec = NetworkSpec(4, layers)
    findings = check_gradients(spec, softmax_cross_entropy, X, T, seed=seed)
    assert [f.name for f in findings].count("layer 2 (activation)") == 1
    for finding in findings:
        assert finding.error < TOLERANCE, finding


def test_slopes_are_a_block_of_their_own_kind() -> None:
    (block,) = parametric("mish").blocks
    assert (block.kind, block.shape) == ("slope", (3,))
    assert not Network(NetworkSpec(3, (ActivationSpec("mish"),))).blocks


def test_a_wrong_number_of_slopes_does_not_fit() -> None:
    with pytest.raises(ValueError, match="activation of 3 units got 4"):
        ActivationSpec("relu", 3).width(4)
    assert ActivationSpec("relu", 3).width(3) == 3
    assert ActivationSpec("relu").width(7) == 7

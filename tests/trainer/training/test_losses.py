"""Values and gradients against the formulas of the textbook, in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from sklearn.metrics import mean_squared_error as squared_error

from trainer.preparation.sample_weights import row_weights
from trainer.training.losses import (
    binary_cross_entropy,
    error_rate,
    label_smoothing,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.types import Loss

B = 50


class Case(NamedTuple):
    loss: Loss
    Z: NDArray[Any]
    T: NDArray[Any]
    losses: NDArray[Any]
    dZ: NDArray[Any]


def binary() -> Case:
    rng = np.random.default_rng(1)
    z, t = rng.normal(0, 3, B), rng.integers(0, 2, B)
    p = 1 / (1 + np.exp(-z))
    losses = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    return Case(binary_cross_entropy, z[:, None], t, losses, (p - t)[:, None])


def softmax() -> Case:
    rng = np.random.default_rng(2)
    Z, t = rng.normal(0, 3, (B, 4)), rng.integers(0, 4, B)
    P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
    return Case(
        softmax_cross_entropy, Z, t, -np.log(P[np.arange(B), t]), P - np.eye(4)[t]
    )


def square() -> Case:
    rng = np.random.default_rng(3)
    z, t = rng.normal(0, 3, B), rng.normal(0, 3, B)
    return Case(mean_squared_error, z[:, None], t, (z - t) ** 2 / 2, (z - t)[:, None])


def smoothed(case: Case, classes: int) -> Case:
    """The same rows, a tenth of each target spread over all classes."""
    Z = np.hstack([0 * case.Z, case.Z]) if classes == 2 else case.Z
    P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
    Q = 0.9 * np.eye(classes)[case.T] + 0.1 / classes
    losses = -(Q * np.log(P)).sum(axis=1)
    loss = label_smoothing(case.loss, 0.1)
    return Case(loss, case.Z, case.T, losses, (P - Q)[:, 1 if classes == 2 else 0 :])


CASES = pytest.mark.parametrize(
    "case",
    [
        binary(),
        softmax(),
        square(),
        smoothed(binary(), 2),
        smoothed(softmax(), 4),
    ],
)


@CASES
def test_value_is_the_mean_of_the_rows(case: Case) -> None:
    value, _ = case.loss(case.Z, case.T, None)
    assert value == pytest.approx(case.losses.mean(), rel=1e-12)


@CASES
def test_gradient_is_prediction_minus_target_over_rows(case: Case) -> None:
    _, dZ = case.loss(case.Z, case.T, None)
    np.testing.assert_allclose(dZ, case.dZ / B, rtol=1e-9, atol=1e-14)


@CASES
def test_weights_average_value_and_gradient(case: Case) -> None:
    weights = np.random.default_rng(4).uniform(0.1, 5, B)
    value, dZ = case.loss(case.Z, case.T, weights)
    assert value == pytest.approx(np.average(case.losses, weights=weights), rel=1e-12)
    expected = case.dZ * weights[:, None] / weights.sum()
    np.testing.assert_allclose(dZ, expected, rtol=1e-9, atol=1e-14)


@CASES
def test_whole_weights_equal_repeated_rows(case: Case) -> None:
    times = np.random.default_rng(5).integers(0, 4, B)
    value, dZ = case.loss(case.Z, case.T, times.astype(float))
    repeated, dR = case.loss(case.Z.repeat(times, 0), case.T.repeat(times), None)
    assert value == pytest.approx(repeated, rel=1e-12)
    # A row's weight is all its copies together.
    summed = np.zeros_like(case.Z)
    np.add.at(summed, np.arange(B).repeat(times), dR)
    np.testing.assert_allclose(dZ, summed, rtol=1e-9, atol=1e-14)


@CASES
def test_inputs_are_left_alone(case: Case) -> None:
    Z, T = case.Z.copy(), case.T.copy()
    case.loss(case.Z, case.T, np.ones(B))
    np.testing.assert_array_equal(case.Z, Z)
    np.testing.assert_array_equal(case.T, T)


@CASES
def test_float32_stays_float32_and_close(case: Case) -> None:
    Z = case.Z.astype(np.float32)
    T = case.T if case.T.dtype.kind == "i" else case.T.astype(np.float32)
    for weights in (None, np.ones(B, np.float32)):
        value, dZ = case.loss(Z, T, weights)
        assert dZ.dtype == np.float32
        assert value == pytest.approx(case.losses.mean(), rel=1e-5)
        np.testing.assert_allclose(dZ, case.dZ / B, rtol=1e-4, atol=1e-7)


def test_cross_entropies_are_scikit_learns_log_loss() -> None:
    weights = np.random.default_rng(6).uniform(0.1, 5, B)
    two, many = binary(), softmax()
    p = 1 / (1 + np.exp(-two.Z[:, 0]))
    P = np.exp(many.Z) / np.exp(many.Z).sum(axis=1, keepdims=True)
    for w in (None, weights):
        value, _ = two.loss(two.Z, two.T, w)
        assert value == pytest.approx(log_loss(two.T, p, sample_weight=w))
        value, _ = many.loss(many.Z, many.T, w)
        assert value == pytest.approx(log_loss(many.T, P, sample_weight=w))


def test_squared_error_is_half_of_scikit_learns() -> None:
    case = square()
    value, _ = case.loss(case.Z, case.T, None)
    assert 2 * value == pytest.approx(squared_error(case.T, case.Z[:, 0]))


def test_two_softmax_classes_are_the_sigmoid_of_their_difference() -> None:
    case = binary()
    pair = np.hstack([np.zeros_like(case.Z), case.Z])
    value, dZ = softmax_cross_entropy(pair, case.T, None)
    expected, dz = binary_cross_entropy(case.Z, case.T, None)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dZ[:, 1:], dz, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("z", "t", "loss", "slope"),
    [(1e4, 1, 0.0, 0.0), (1e4, 0, 1e4, 1.0), (-1e4, 1, 1e4, -1.0), (-1e4, 0, 0.0, 0.0)],
)
def test_far_logits_of_two_classes_are_exact(
    dtype: type, z: float, t: int, loss: float, slope: float
) -> None:
    value, dZ = binary_cross_entropy(np.array([[z]], dtype), np.array([t]), None)
    assert (value, dZ[0, 0]) == (loss, slope)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_logits_of_many_classes_are_exact(dtype: type) -> None:
    Z = np.array([[1e4, -1e4, 0.0]], dtype)
    for t, loss, slopes in [
        (0, 0.0, [0, 0, 0]),
        (1, 2e4, [1, -1, 0]),
        (2, 1e4, [1, 0, -1]),
    ]:
        value, dZ = softmax_cross_entropy(Z, np.array([t]), None)
        assert value == loss
        np.testing.assert_array_equal(dZ[0], slopes)


def test_a_sure_answer_keeps_its_small_loss() -> None:
    # A guard such as log(p + 1e-8) would drown this.
    value, _ = binary_cross_entropy(np.array([[30.0]]), np.array([1]), None)
    assert value == pytest.approx(np.exp(-30.0), rel=1e-9)


def test_targets_may_be_booleans() -> None:
    case = binary()
    assert case.loss(case.Z, case.T == 1, None)[0] == case.loss(case.Z, case.T, None)[0]


def test_row_weights_multiply_class_and_sample() -> None:
    T = np.array([0, 2, 1, 2])
    of_class, of_row = np.array([1.0, 10.0, 100.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert row_weights(T, None, None) is None
    assert row_weights(T, None, of_row) is of_row
    both = row_weights(T, of_class, of_row)
    only = row_weights(T, of_class, None)
    np.testing.assert_array_equal(both, [1, 200, 30, 400])
    np.testing.assert_array_equal(only, [1, 100, 10, 100])


def test_class_and_sample_weights_equal_repeated_rows() -> None:
    case = softmax()
    of_class = np.array([1.0, 3.0, 2.0, 1.0])
    of_row = np.random.default_rng(7).integers(1, 4, B).astype(float)
    weights = row_weights(case.T, of_class, of_row)
    times = [int(of_class[t] * w) for t, w in zip(case.T, of_row, strict=True)]
    value, _ = case.loss(case.Z, case.T, weights)
    repeated, _ = case.loss(case.Z.repeat(times, 0), case.T.repeat(times), None)
    assert value == pytest.approx(repeated, rel=1e-12)


def test_the_error_rate_counts_the_rows_that_are_wrong() -> None:
    z = np.array([[-1.0], [2.0], [0.5], [-3.0]])
    t = np.array([0, 1, 0, 1])
    assert error_rate(z, t, None) == 0.5
    assert error_rate(z, t, np.array([1.0, 1.0, 3.0, 0.0])) == 0.6
    assert error_rate(np.eye(3), np.array([0, 1, 1]), None) == pytest.approx(1 / 3)

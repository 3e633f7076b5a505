"""Every figure against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as peer

from models.features.predictions import Classification, Regression
from trainer.evaluation.metrics import (
    PRIMARY,
    auc,
    classification,
    expected_calibration_error,
    metrics,
    regression,
)

bounded = settings(deadline=None, max_examples=150)
seeds = st.integers(0, 2**32)


def answer(
    seed: int, n: int, classes: int, decimals: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return probabilities (n, classes), with ties, and targets of every class."""
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(classes), n).round(decimals) + 0.01
    P /= P.sum(axis=1, keepdims=True)
    target = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    return P, rng.permutation(target)


def calibration_error(P: NDArray[Any], target: NDArray[Any]) -> float:
    """Row by row: fifteen bins of confidence, each with its mean gap."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, truth in zip(P, target, strict=True):
        confidence = max(row)
        place = min(int(confidence * 15), 14)
        bins.setdefault(place, []).append((confidence, row.argmax() == truth))
    return sum(
        len(pairs)
        / len(P)
        * abs(np.mean([right for _, right in pairs]) - np.mean([c for c, _ in pairs]))
        for pairs in bins.values()
    )


def test_a_forecast_that_keeps_its_word_has_no_calibration_error() -> None:
    P = np.repeat([[0.75, 0.25]], 8, axis=0)
    assert expected_calibration_error(P, np.array([0, 0, 0, 1] * 2)) == 0.0
    assert expected_calibration_error(P, np.array([1] * 8)) == 0.75


@bounded
@given(seeds, st.integers(6, 60), st.integers(2, 5), st.sampled_from([1, 2, 8]))
def test_classification_is_scikit_learns(
    seed: int, n: int, classes: int, decimals: int
) -> None:
    P, target = answer(seed, n, classes, decimals)
    found = classification(P, target)
    chosen = P.argmax(axis=1)
    expected = {
        "log_loss": peer.log_loss(target, P),
        "brier": peer.brier_score_loss(target, P, labels=range(classes))
        if classes > 2
        else peer.brier_score_loss(target, P[:, 1]),
        "ece": calibration_error(P, target),
        "accuracy": peer.accuracy_score(target, chosen),
        "macro_f1": peer.f1_score(target, chosen, average="macro"),
        "auc": peer.roc_auc_score(target, P[:, 1])
        if classes == 2
        else peer.roc_auc_score(target, P, multi_class="ovr", average="macro"),
    }
    assert found == pytest.approx(expected, rel=1e-9)


@bounded
@given(seeds, st.integers(2, 60))
def test_regression_is_scikit_learns(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    target, value = rng.normal(5, 3, n), rng.normal(5, 3, n)
    expected = {
        "rmse": peer.root_mean_squared_error(target, value),
        "mae": peer.mean_absolute_error(target, value),
        "r2": peer.r2_score(target, value),
    }
    assert regression(value, target) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@bounded
@given(seeds, st.integers(6, 60), st.integers(2, 5), st.sampled_from([1, 2, 8]))
def test_weighted_classification_is_scikit_learns(
    seed: int, n: int, classes: int, decimals: int
) -> None:
    P, target = answer(seed, n, classes, decimals)
    weights = np.random.default_rng(seed).uniform(0.1, 5, n)
    found = classification(P, target, weights)
    chosen = P.argmax(axis=1)
    counts = {"sample_weight": weights}
    del found["ece"]
    expected = {
        "log_loss": peer.log_loss(target, P, **counts),
        "brier": peer.brier_score_loss(target, P, labels=range(classes), **counts)
        if classes > 2
        else peer.brier_score_loss(target, P[:, 1], **counts),
        "accuracy": peer.accuracy_score(target, chosen, **counts),
        "macro_f1": peer.f1_score(target, chosen, average="macro", **counts),
        "auc": peer.roc_auc_score(target, P[:, 1], **counts)
        if classes == 2
        else peer.roc_auc_score(
            target, P, multi_class="ovr", average="macro", **counts
        ),
    }
    assert found == pytest.approx(expected, rel=1e-9)


@bounded
@given(seeds, st.integers(2, 60))
def test_weighted_regression_is_scikit_learns(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    target, value = rng.normal(5, 3, n), rng.normal(5, 3, n)
    counts = {"sample_weight": rng.uniform(0.1, 5, n)}
    expected = {
        "rmse": peer.root_mean_squared_error(target, value, **counts),
        "mae": peer.mean_absolute_error(target, value, **counts),
        "r2": peer.r2_score(target, value, **counts),
    }
    found = regression(value, target, counts["sample_weight"])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@bounded
@given(seeds, st.integers(6, 40), st.integers(2, 4))
def test_whole_weights_equal_repeated_rows(seed: int, n: int, classes: int) -> None:
    P, target = answer(seed, n, classes, 2)
    times = np.random.default_rng(seed).integers(1, 5, n)
    found = classification(P, target, times.astype(float))
    repeated = classification(P.repeat(times, 0), target.repeat(times))
    assert found == pytest.approx(repeated, rel=1e-9, abs=1e-12)
    value = P[:, 0]
    number = regression(value, target.astype(float), times.astype(float))
    again = regression(value.repeat(times), target.repeat(times).astype(float))
    assert number == pytest.approx(again, rel=1e-9)


@bounded
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=40))
def test_ties_count_half_in_auc(rows: list[tuple[int, bool]]) -> None:
    score = np.array([s for s, _ in rows], float)
    positive = np.array([p for _, p in rows])
    if positive.all() or not positive.any():
        return
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in score[positive]
        for low in score[~positive]
    ]
    assert auc(score, positive) == pytest.approx(np.mean(pairs))


def test_auc_of_known_orders() -> None:
    positive = np.array([False, False, True, True])
    assert auc(np.array([1.0, 2.0, 3.0, 4.0]), positive) == 1.0
    assert auc(np.array([4.0, 3.0, 2.0, 1.0]), positive) == 0.0
    assert auc(np.ones(4), positive) == 0.5


def test_one_class_has_no_auc_and_no_f1() -> None:
    P = np.array([[0.9, 0.1], [0.4, 0.6]])
    found = classification(P, np.array([0, 0]))
    assert set(found) == {"log_loss", "brier", "ece", "accuracy"}
    assert found["accuracy"] == 0.5


def test_no_auc_and_no_f1_are_made_up_for_a_class_that_no_row_has() -> None:
    P, target = answer(1, 40, 3, 8)
    assert {"auc", "macro_f1"} <= set(classification(P, target))
    kept = target != 2
    assert not {"auc", "macro_f1"} & set(classification(P[kept], target[kept]))


def test_one_row_is_enough() -> None:
    found = classification(np.array([[0.2, 0.8]]), np.array([1]))
    assert found == {
        "log_loss": pytest.approx(-np.log(0.8)),
        "brier": pytest.approx(0.04),
        "ece": pytest.approx(0.2),
        "accuracy": 1.0,
    }
    assert regression(np.array([3.0]), np.array([5.0])) == {"rmse": 2.0, "mae": 2.0}


def test_a_sure_mistake_costs_much_and_is_finite() -> None:
    found = classification(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 0]))
    assert 300 < found["log_loss"] < 1000


def test_a_constant_target_has_no_r2() -> None:
    found = regression(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert found == {"rmse": 1.0, "mae": 1.0}


def test_metrics_are_those_of_the_task() -> None:
    P, target = answer(2, 20, 3, 8)
    classes = Classification(("a", "b", "c"))
    labels = np.array(classes.classes, object)[P.argmax(axis=1)]
    found = metrics(classes, {"label": labels, "probabilities": P}, target)
    assert found == classification(P, target)
    value = P[:, 0]
    answered = metrics(Regression(0.0, 1.0), {"value": value}, P[:, 1])
    assert answered == regression(value, P[:, 1])
    weights = np.linspace(1, 3, 20)
    found = metrics(classes, {"probabilities": P}, target, weights)
    assert found == classification(P, target, weights)
    answered = metrics(Regression(0.0, 1.0), {"value": value}, P[:, 1], weights)
    assert answered == regression(value, P[:, 1], weights)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_primary_figure_is_always_there(task: str) -> None:
    P, target = answer(3, 20, 2, 8)
    found = regression(P[:, 0], P[:, 1]) if task == "regression" else None
    assert PRIMARY[task] in (found or classification(P, target))

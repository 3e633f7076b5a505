"""Curves and tables against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
)

from models.features.predictions import Classification
from trainer.evaluation.metrics import expected_calibration_error
from trainer.report import curves

TWO = Classification(("no", "yes"))


def answers(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) with ties, and targets that they tell of."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, n)
    P = rng.dirichlet(np.ones(classes), n)
    P[np.arange(n), target] += 0.3
    P = np.round(P / P.sum(axis=1, keepdims=True), 2)
    return P, target


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 90))
def test_areas_are_those_of_scikit_learn(seed: int, classes: int, n: int) -> None:
    P, target = answers(n, classes, seed)
    output = Classification(tuple(f"c{i}" for i in range(classes)))
    rocs = curves.roc(output, P, target)
    recalls = curves.precision_recall(output, P, target)
    for c, one, other in zip(
        curves.curve_classes(output, target), rocs, recalls, strict=True
    ):
        assert one.area == pytest.approx(roc_auc_score(target == c, P[:, c]))
        expected = average_precision_score(target == c, P[:, c])
        assert other.area == pytest.approx(expected)
        assert one.name == other.name == f"c{c}"


def test_two_classes_have_one_line_and_a_lone_class_none() -> None:
    P, target = answers(50, 2, 0)
    output = Classification(("no", "yes"))
    assert [c.name for c in curves.roc(output, P, target)] == ["yes"]
    assert curves.roc(output, P, np.zeros(50, int)) == []


def test_lines_end_in_their_corners_and_are_short() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(5_000)
    P, target = np.stack([1 - p, p], axis=1), (rng.random(5_000) < p).astype(int)
    (line,) = curves.roc(Classification(("no", "yes")), P, target)
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
    assert len(line.x) <= curves.MAX_POINTS
    assert line.y == sorted(line.y) and line.x == sorted(line.x)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1_000), st.integers(2, 20))
def test_confusion_counts_what_scikit_learn_counts(seed: int, classes: int) -> None:
    P, target = answers(200, classes, seed)
    output = Classification(tuple(range(classes)))
    found = curves.confusion(output, P, target)
    shown = [int(name) for name in found.classes]
    every = confusion_matrix(target, P.argmax(axis=1), labels=range(classes))
    assert found.counts == every[np.ix_(shown, shown)].tolist()
    assert sum(map(sum, found.counts)) + found.left_out == 200
    assert len(shown) == min(classes, curves.MAX_CLASSES) and shown == sorted(shown)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 300))
def test_thresholds_come_to_what_scikit_learn_counts(seed: int, n: int) -> None:
    P, target = answers(n, 2, seed)
    found = curves.thresholds(P, target)
    if len(set(target.tolist())) < 2:
        assert found == [] and curves.lift(TWO, P, target) is None
        return
    assert 0.5 in [choice.probability for choice in found]
    recalls = []
    for choice in found:
        said = (P[:, 1] >= choice.probability).astype(int)
        hits = choice.true_positives
        recalls.append(hits / (hits + choice.false_negatives))
        assert recalls[-1] == pytest.approx(recall_score(target, said))
        precision = hits / max(hits + choice.false_positives, 1)
        assert precision == pytest.approx(
            precision_score(target, said, zero_division=0)
        )
        assert choice.true_negatives == ((said == 0) & (target == 0)).sum()
    assert recalls == sorted(recalls, reverse=True) and recalls[0] == 1.0


def test_lift_is_the_share_of_positives_at_the_top_to_that_of_all() -> None:
    P, target = answers(400, 2, 3)
    found = curves.lift(TWO, P, target)
    assert found is not None and found.name == "yes"
    assert (found.x[-1], found.y[-1]) == (1.0, 1.0)
    order = np.argsort(-P[:, 1], kind="stable")
    for x, y in zip(found.x, found.y, strict=True):
        top = order[: round(x * 400)]
        assert y == pytest.approx(target[top].mean() / target.mean(), rel=1e-3)
    assert found.x[0] * 400 >= curves.MIN_LIFT_ROWS


def test_reliability_adds_up_to_the_calibration_error() -> None:
    P, target = answers(400, 3, 1)
    bins = curves.reliability(P, target)
    assert sum(b.rows for b in bins) == 400
    error = sum(abs(b.confidence - b.accuracy) * b.rows for b in bins) / 400
    assert error == pytest.approx(expected_calibration_error(P, target), abs=1e-4)

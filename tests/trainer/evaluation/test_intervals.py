"""The intervals of metrics hold the truth as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.features.predictions import Classification, Regression
from trainer.evaluation.intervals import intervals, mean_interval
from trainer.evaluation.metrics import metrics


@pytest.mark.parametrize("n", [20, 100])
def test_the_mean_of_skewed_losses_is_covered(n: int) -> None:
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(30):
        low, high = mean_interval(rng.exponential(size=n), None, None)
        assert 0 < low < high
        hits += low <= 1.0 <= high
    # Binomial of 30 at 0.93: five standard deviations.
    assert hits >= 30 * 0.93 - 5 * (30 * 0.93 * 0.07) ** 0.5


def test_rows_of_a_cluster_count_as_one() -> None:
    losses = np.random.default_rng(0).exponential(size=50)
    alone = mean_interval(losses, None, None)
    thrice = mean_interval(losses.repeat(3), None, np.arange(50).repeat(3))
    np.testing.assert_allclose(thrice, alone, rtol=1e-9)
    apart = mean_interval(losses.repeat(3), None, None)
    assert apart[1] - apart[0] < 0.7 * (alone[1] - alone[0])


def test_an_accuracy_of_one_is_not_certain() -> None:
    low, high = mean_interval(np.ones(30), None, None, share=True)
    assert (round(low, 3), high) == (0.886, 1.0)  # Wilson's, 30 of 30


def test_losses_that_are_all_equal_have_no_width() -> None:
    assert mean_interval(np.full(9, 0.5), None, None) == (0.5, 0.5)


@pytest.mark.parametrize("classes", [2, 3])
def test_every_metric_of_a_classifier_has_an_interval(classes: int) -> None:
    rng = np.random.default_rng(classes)
    P = rng.dirichlet(np.ones(classes), 300)
    target = np.array([rng.choice(classes, p=p) for p in P])
    output = Classification(tuple(range(classes)))
    answer: dict[str, Any] = {"probabilities": P}
    found, figures = intervals(output, answer, target), metrics(output, answer, target)
    assert found.keys() == figures.keys()
    for name, (low, high) in found.items():
        assert low < high
        if name != "ece":  # biased upwards in every draw
            assert low <= figures[name] <= high
    assert intervals(output, answer, target) == found


def test_every_metric_of_a_number_has_an_interval() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    answer: dict[str, Any] = {"value": y + rng.normal(0, 0.5, 200)}
    output, weights = Regression(0.0, 1.0), rng.random(200)
    found = intervals(output, answer, y, weights)
    figures = metrics(output, answer, y, weights)
    assert found.keys() == figures.keys()
    for name, (low, high) in found.items():
        assert low < figures[name] < high
    assert found["rmse"][0] < 0.5 < found["rmse"][1]

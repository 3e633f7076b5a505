"""Each picture says in words what it shows, and stands what runs can come to."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.report import plots
from trainer.report.record import Bin, Curve, Dependence, Points
from trainer.training.history import LayerSnapshot, LayerStats

HISTORY: dict[str, list[float]] = {
    "loss": [1.0, 0.5, 0.25],
    "validation_loss": [1.1, 0.6, 0.7],
    "learning_rate": [0.1, 0.05, 0.0],
    "best_epoch": [2.0],
}


def test_losses_name_their_ends_and_the_epoch_kept() -> None:
    svg = plots.losses([HISTORY, HISTORY])
    assert "training from 1 to 0.25, best 0.6 in epoch 2" in svg
    assert svg.count("> training") == svg.count("> validation") == 1
    alone = {k: v for k, v in HISTORY.items() if k != "validation_loss"}
    assert "> validation" not in plots.losses([alone])


@pytest.mark.parametrize(
    "loss", [[1e38, 5.0, 1e-9], [0.0, 0.0, 0.0], [np.inf, 1.0, 2.0]]
)
def test_losses_of_any_size_are_drawn(loss: list[float]) -> None:
    assert "<svg" in plots.losses([{**HISTORY, "loss": loss}])


def test_one_epoch_is_enough() -> None:
    one = {name: values[:1] for name, values in HISTORY.items()} | {"best_epoch": [1.0]}
    assert "epoch 1" in plots.losses([one])
    assert "Learning rate from 0.1" in plots.rates([one])


def test_layers_are_told_by_name() -> None:
    looks = [
        LayerSnapshot(
            e,
            [
                LayerStats(f"layer {n} (linear)", 0, 1, gradient=10.0**-n)
                for n in (1, 2)
            ],
        )
        for e in (1, 2)
    ]
    names = ["hidden 1", "output"]
    svg = plots.layers(looks, names, "gradient")
    assert "hidden 1: 0.1; output: 0.01" in svg
    assert "> hidden 1" in svg and "> output" in svg
    assert plots.layers(looks, names, "dead") == ""
    assert plots.layers(looks, names, "mean") == ""


def test_curves_say_their_areas() -> None:
    curve = Curve("yes & no", [0, 0.5, 1], [0, 0.9, 1], 0.7)
    assert "yes &amp; no 0.700" in plots.roc([curve])
    assert "AP" in plots.precision_recall([curve])


def test_reliability_tells_the_bin_that_is_off_most() -> None:
    svg = plots.reliability(
        [Bin(0.55, 0.56, 100), Bin(0.9, 0.7, 50), Bin(0.95, 0.1, 1)]
    )
    assert "in the worst bin, confidence 90%, 70% of 50 predictions are right" in svg


def test_numbers_are_compared_with_their_truth() -> None:
    points = Points([1.0, 2.0, 3.0], [1.0, 2.0, 3.5])
    assert "correlation 0.9" in plots.predicted_against_true(points)
    assert "the median is 0" in plots.residuals(points)
    assert "correlation 0.000" in plots.predicted_against_true(
        Points([1.0, 2.0], [1.0, 1.0])
    )


def test_the_answer_by_a_column_is_drawn_for_every_kind() -> None:
    limits = (0.0, 1.0)
    number = Dependence("age", True, [1900, 2024], {"yes": [0.25, 0.5]})
    svg = plots.dependence(number, limits, share=True)
    assert "Mean prediction by age, from 25% to 50%" in svg and ">1960<" in svg
    months = Dependence("since", True, ["2024-01-01", "2024-02-01"], {"": [1.0, 3.5]})
    assert ">2024-01-01<" in plots.dependence(months, (0.0, 4.0), share=False)
    plan = Dependence("plan", False, ["a<", "b"], {"x": [0.1, 0.2], "y": [0.9, 0.8]})
    drawn = plots.dependence(plan, limits, share=True)
    assert ">a&lt;<" in drawn and "> x" in drawn and "> y" in drawn
    truth = Dependence("member", False, [False, True], {"": [1.0, 2.0]})
    assert ">false<" in plots.dependence(truth, (0.0, 3.0), share=False)


def test_lift_says_that_of_the_highest_tenth() -> None:
    svg = plots.lift(Curve("yes", [0.1, 1.0], [2.5, 1.0], 2.5))
    assert "the highest tenth of the rows has 2.5 times" in svg


def test_pixels_are_squares_with_a_name() -> None:
    svg = plots.saliency([[0.0, 1.0], [0.01, 0.5]])
    assert svg.count("<path") == 2 and "in row 0, column 1" in svg
    drawn = plots.image([[0, 255], [128, 0]], 'a "7"')
    assert drawn.count("<path") == 2 and "a &#34;7&#34;" in drawn
    assert plots.image(np.zeros((3, 4, 4)), "flat").count("<path") == 0
    assert 'viewBox="0 0 4 5"' in plots.image(np.zeros((5, 4, 3)), "colour")

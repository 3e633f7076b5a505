"""The factor of the learning rate at the ends and in between."""

from __future__ import annotations

import math

import pytest

from trainer.schedules import SCHEDULES, Name, constant, cosine, step, warm_up


def test_constant_is_one() -> None:
    assert {constant(t) for t in (0.0, 0.3, 0.999)} == {1.0}


@pytest.mark.parametrize(
    ("t", "factor"),
    [(0.0, 1.0), (0.4999, 1.0), (0.5, 0.1), (0.7499, 0.1), (0.75, 0.01), (0.999, 0.01)],
)
def test_step_falls_at_half_and_three_quarters(t: float, factor: float) -> None:
    assert step(t) == factor


@pytest.mark.parametrize(
    ("t", "factor"),
    [(0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1.0, 0.0)],
)
def test_cosine_runs_from_one_to_zero(t: float, factor: float) -> None:
    assert cosine(t) == pytest.approx(factor, abs=1e-12)


def test_cosine_always_falls() -> None:
    values = [cosine(t / 100) for t in range(101)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 101


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_warm_up_is_the_schedule_itself(name: Name) -> None:
    assert warm_up(SCHEDULES[name], 0.0) is SCHEDULES[name]


def test_warm_up_rises_in_a_line_then_follows() -> None:
    warmed = warm_up(constant, 0.2)
    assert [warmed(t) for t in (0.0, 0.05, 0.1, 0.2, 0.9)] == [0.0, 0.25, 0.5, 1.0, 1.0]


def test_warm_up_scales_the_schedule_under_it() -> None:
    warmed = warm_up(cosine, 0.5)
    assert warmed(0.25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)) / 2)
    assert warmed(0.75) == cosine(0.75)

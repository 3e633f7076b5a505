"""The factor of the learning rate at the ends and in between."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from trainer.optimization.schedules import (
    SCHEDULES,
    ScheduleName,
    constant,
    cosine,
    coslog4,
    flat_cosine,
    step,
    warm_up,
)


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


@pytest.mark.parametrize(
    ("t", "factor"),
    [(0.0, 1.0), (0.3, 1.0), (0.5, 1.0), (2 / 3, 0.75), (0.75, 0.5), (1.0, 0.0)],
)
def test_flat_cosine_stays_for_half_the_run(t: float, factor: float) -> None:
    assert flat_cosine(t) == pytest.approx(factor, abs=1e-12)


def test_flat_cosine_never_rises_and_does_not_jump() -> None:
    values = [flat_cosine(t / 1000) for t in range(1001)]
    assert values == sorted(values, reverse=True)
    steps = [a - b for a, b in zip(values, values[1:], strict=False)]
    assert max(steps) < 0.004


#: Each wave is twice as long as the one before: 1, 2, 4 and 8 fifteenths.
WAVES = [(0, 1), (1, 3), (3, 7), (7, 15)]


@pytest.mark.parametrize("t", [0.0, 1 / 15, 3 / 15, 7 / 15, 1.0])
def test_coslog4_is_zero_between_its_waves(t: float) -> None:
    assert coslog4(t) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("start", "stop"), WAVES)
def test_coslog4_rises_to_one_and_falls_in_each_wave(start: int, stop: int) -> None:
    values = [coslog4((start + (stop - start) * i / 1000) / 15) for i in range(1001)]
    top = values.index(max(values))
    assert values[top] == pytest.approx(1.0, abs=1e-5)
    # The top is where the logarithm is halfway: before the middle of the wave.
    crest = (1 + start) * (math.sqrt(2) - 1) / (stop - start)
    assert top / 1000 == pytest.approx(crest, abs=0.002)
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_factor_is_between_zero_and_one(name: str) -> None:
    assert all(0.0 <= SCHEDULES[name](t / 1000) <= 1.0 for t in range(1001))


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_warm_up_is_the_schedule_itself(name: str) -> None:
    assert warm_up(SCHEDULES[name], 0.0) is SCHEDULES[name]


def test_warm_up_rises_in_a_line_then_follows() -> None:
    warmed = warm_up(constant, 0.2)
    assert [warmed(t) for t in (0.0, 0.05, 0.1, 0.2, 0.9)] == [0.0, 0.25, 0.5, 1.0, 1.0]


def test_warm_up_scales_the_schedule_under_it() -> None:
    warmed = warm_up(cosine, 0.5)
    assert warmed(0.25) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)) / 2)
    assert warmed(0.75) == cosine(0.75)


def test_every_schedule_has_a_name() -> None:
    assert set(get_args(ScheduleName)) == set(SCHEDULES)

"""Schedules of the learning rate.

A schedule takes the progress t of a run in [0, 1] and returns a factor for the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

ScheduleName: TypeAlias = Literal[
    "constant", "step", "cosine", "flat_cosine", "coslog4"
]
Schedule: TypeAlias = Callable[[float], float]


def constant(t: float) -> float:
    """Return 1."""
    return 1.0


def step(t: float) -> float:
    """Return 1, a tenth from half the run on, a hundredth from three quarters on."""
    return 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01


def cosine(t: float) -> float:
    """Fall from 1 to 0 as half a cosine (Loshchilov and Hutter 2017, "SGDR", eq. 5)."""
    return (1.0 + math.cos(math.pi * t)) / 2.0


def flat_cosine(t: float) -> float:
    """Return 1 for half the run, then fall to 0 as half a cosine."""
    return 1.0 if t < 0.5 else (1.0 + math.cos(math.pi * (2.0 * t - 1.0))) / 2.0


def coslog4(t: float) -> float:
    """Rise from 0 to 1 and fall back four times, each twice as long as the one before.

    (1 − cos(2π log2(1 + 15 t))) / 2: RealMLP, arXiv 2407.04491, section 3.
    """
    return (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * t))) / 2.0


def warm_up(schedule: Schedule, share: float) -> Schedule:
    """Return the schedule with a linear rise from 0 over the first `share` of it."""
    if not share:
        return schedule

    def warmed(t: float) -> float:
        return min(1.0, t / share) * schedule(t)

    return warmed


SCHEDULES: dict[ScheduleName, Schedule] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "flat_cosine": flat_cosine,
    "coslog4": coslog4,
}

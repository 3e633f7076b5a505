"""How the learning rate moves over a run.

A schedule is a function of progress t in [0, 1] that gives a factor for the rate.
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
    """1, all the way."""
    return 1.0


def step(t: float) -> float:
    """A tenth after half the run, a hundredth after three quarters."""
    return 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01


def cosine(t: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, "SGDR", equation 5)."""
    return (1.0 + math.cos(math.pi * t)) / 2.0


def flat_cosine(t: float) -> float:
    """1 for half the run, then half a cosine to 0."""
    return 1.0 if t < 0.5 else (1.0 + math.cos(math.pi * (2.0 * t - 1.0))) / 2.0


def coslog4(t: float) -> float:
    """Four waves, each twice as long as the one before, from 0 to 1 and back.

    (1 − cos(2π log2(1 + 15 t))) / 2: RealMLP, arXiv 2407.04491, section 3.
    """
    return (1.0 - math.cos(2.0 * math.pi * math.log2(1.0 + 15.0 * t))) / 2.0


def warm_up(schedule: Schedule, share: float) -> Schedule:
    """Rise in a straight line over the first `share` of the run, then follow."""
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

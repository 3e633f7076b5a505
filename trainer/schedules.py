"""How the learning rate moves over a run.

A schedule is a function of progress t in [0, 1) that gives a factor for the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

Schedule: TypeAlias = Callable[[float], float]
Name: TypeAlias = Literal["constant", "step", "cosine"]


def constant(t: float) -> float:
    """1, all the way."""
    return 1.0


def step(t: float) -> float:
    """A tenth after half the run, a hundredth after three quarters."""
    return 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01


def cosine(t: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, "SGDR", equation 5)."""
    return (1.0 + math.cos(math.pi * t)) / 2.0


def warm_up(schedule: Schedule, share: float) -> Schedule:
    """Rise in a straight line over the first `share` of the run, then follow."""
    if not share:
        return schedule

    def warmed(t: float) -> float:
        return min(1.0, t / share) * schedule(t)

    return warmed


SCHEDULES: dict[Name, Schedule] = {"constant": constant, "step": step, "cosine": cosine}

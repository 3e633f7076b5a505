"""Types that several folders of the trainer share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from models.types import Array

#: The target of each row (B,): class numbers, or values in standard units.
Targets: TypeAlias = NDArray[Any]
#: The weight of each row (B,), or None if all are equal.
Weights: TypeAlias = Array | None
#: Takes the network's outputs Z (B, O), targets and weights; returns the mean loss and
#: its gradient dZ (B, O).
Loss: TypeAlias = Callable[[Array, Targets, Weights], tuple[float, Array]]
#: Prints one sentence about the run for the user.
Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Messages:
    """Where a run prints its sentences: findings about the data, steps and reasons.

    Reasons explain the settings that the trainer chose.
    """

    finding: Say
    step: Say
    reason: Say


class Rows(NamedTuple):
    """Encoded rows X (B, I), their targets T (B,), and their weights (B,) if any."""

    X: Array
    T: Targets
    weights: Weights = None


class MonotoneInputs(NamedTuple):
    """The inputs of a network, by number, with which its answer only rises or falls.

    `missing` are those that tell where one of them has no value.
    """

    up: tuple[int, ...]
    down: tuple[int, ...]
    missing: tuple[int, ...]

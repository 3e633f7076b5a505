"""The types that several steps of the trainer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from models.types import Array

#: The target of each row (B,): class numbers, or values in standard units.
Targets: TypeAlias = NDArray[Any]
#: The weight of each row (B,), or None where all count alike.
Weights: TypeAlias = Array | None
#: Takes the network's outputs Z (B, O), targets and weights; returns the mean loss and
#: its gradient dZ (B, O).
Loss: TypeAlias = Callable[[Array, Targets, Weights], tuple[float, Array]]
#: Tells the user one sentence about the run.
Say: TypeAlias = Callable[[str], None]


class Rows(NamedTuple):
    """Encoded rows with their targets, and a weight each where they differ."""

    X: Array
    T: Targets
    weights: Weights = None

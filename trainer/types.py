"""What a network learns from, and what it is judged by."""

from __future__ import annotations

from typing import NamedTuple

from models.types import Array
from trainer.training.losses import Targets, Weights


class Rows(NamedTuple):
    """Encoded rows with their targets, and a weight each where they differ."""

    X: Array
    T: Targets
    weights: Weights = None

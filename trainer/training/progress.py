"""The progress of a run: the latest epoch of a network, and the time left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from trainer.training.history import History
from trainer.training.loop import TrainingRun


@dataclass(frozen=True)
class Progress:
    """The latest epoch of network `number` (from 1) of `count`.

    `left` is in seconds, by the planned epochs or the time limit, whichever ends first.
    `run` must not be changed.
    """

    history: History
    number: int
    count: int
    left: float
    run: TrainingRun | None = None


#: Called after each epoch of each network, one call at a time.
ProgressCallback: TypeAlias = Callable[[Progress], None]


class ProgressTracker:
    """Estimates the time left from the epochs of all networks, and calls `watch`."""

    def __init__(
        self, count: int, watch: ProgressCallback, limit: float = math.inf
    ) -> None:
        self.count = count
        self.watch = watch
        self.limit = limit
        self.started = time.perf_counter()
        self._done = [0.0] * count  # the share of each network's epochs
        self._computed = 0.0  # the sum of shares computed since the last start

    def update(
        self, number: int, history: History, run: TrainingRun | None = None
    ) -> None:
        """Add the latest epoch of a network, counted from 0."""
        self._done[number] = history.epochs / history.planned
        self._computed += 1.0 / history.planned
        seconds = max(time.perf_counter() - self.started, 1e-9)
        remaining = self.count - sum(self._done)
        left = min(seconds * remaining / self._computed, max(self.limit - seconds, 0.0))
        self.watch(Progress(history, number + 1, self.count, left, run))

    def finish(self, number: int) -> None:
        """Count a network as done, even if it stopped early."""
        self._done[number] = 1.0

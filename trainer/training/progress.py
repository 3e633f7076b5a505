"""How far a run is: the latest epoch of one network, and the time that is left."""

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

    `rows_per_s` counts the training rows of all networks; `left` is in seconds, by the
    epochs that are still planned or by the time limit. `run` is for looking at alone.
    """

    history: History
    number: int
    count: int
    seconds: float
    rows_per_s: float
    left: float
    run: TrainingRun | None = None


#: Called after each epoch of each network, one call at a time.
ProgressCallback: TypeAlias = Callable[[Progress], None]


class ProgressTracker:
    """The epochs of all networks of a run, told to a watcher as they come."""

    def __init__(
        self, count: int, watch: ProgressCallback, limit: float = math.inf
    ) -> None:
        self.count = count
        self.watch = watch
        self.limit = limit
        self.started = time.perf_counter()
        self._done = [0.0] * count  # of each network, the share of its epochs
        self._taken = 0.0  # of that, what was not done before an interruption
        self._rows = 0

    def tell(
        self, number: int, history: History, run: TrainingRun | None = None
    ) -> None:
        """Take the latest epoch of a network, counted from 0."""
        self._done[number] = history.epochs / history.planned
        self._taken += 1.0 / history.planned
        self._rows += history.rows
        seconds = max(time.perf_counter() - self.started, 1e-9)
        ahead = self.count - sum(self._done)
        left = min(seconds * ahead / self._taken, max(self.limit - seconds, 0.0))
        rate = self._rows / seconds
        place = number + 1, self.count
        self.watch(Progress(history, *place, seconds, rate, left, run))

    def ended(self, number: int) -> None:
        """Count a network as done, however early it stopped."""
        self._done[number] = 1.0

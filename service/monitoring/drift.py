"""Measure drift: an index per column of requests against training, over a window.

Each worker counts rows and predictions by the bins of the artefact's reference, in a
file in shared memory. The worker that is scraped sums the counts of all and computes
the index (`models.features.histograms.psi`). The window is divided into slots, and the
oldest is overwritten. The monotonic clock is the same for all processes and cannot be
set.

Counting takes at most 1 % of a worker's time: after a count that took t it pauses for
99 t on average. The pause is random, so no pattern of requests evades it. Requests that
are further apart are all counted.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from models.features.histograms import (
    MOST_CATEGORIES,
    Counts,
    Histogram,
    Shares,
    psi,
)
from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from models.storage.artefact import Artefact
from service.registry.loaded import Entry, Loaded
from service.server.shared_memory import mapped

#: Slots of the window; its length is accurate to one slot.
SLOTS = 12
#: Rows counted of one request; larger requests are sampled evenly.
MAX_COUNTED_ROWS = 1_000
#: Mean pause after a count, as a multiple of its duration.
REST_FACTOR = 99.0

#: (SLOTS, 1 + bins): the slot's number since the clock began, then its counts.
Slots: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ColumnDrift:
    """A column's bins, and how many rows of training and of requests are in each."""

    name: str
    bins: Histogram | Shares
    training: Counts
    requests: Counts

    @property
    def index(self) -> float | None:
        """The population stability index, or None if there are too few rows."""
        return psi(self.training, self.requests)


class Bins:
    """The bins of all columns of a version, side by side in one row of counts.

    Predictions are a column under the target's name, which no input has.
    """

    def __init__(self, artefact: Artefact) -> None:
        manifest = artefact.manifest
        reference = manifest.reference
        self._inputs, self._output = manifest.inputs, manifest.output
        self._target = manifest.target
        inputs = {
            name: seen
            for name, seen in reference.inputs.items()
            if manifest.inputs.histograms.get(name) is type(seen)
        }
        histograms = [(name, seen, reference.rows) for name, seen in inputs.items()]
        answers = reference.outputs.get(manifest.output.main)
        if answers is not None and type(answers) is manifest.output.histogram:
            histograms.append((self._target, answers, reference.answered))
        self._columns: list[tuple[str, Histogram | Shares, int, int]] = []
        self.size = 0
        for name, seen, rows in histograms:
            if isinstance(seen, Shares):
                seen = seen.folded(MOST_CATEGORIES)
            self._columns.append((name, seen, rows, self.size))
            self.size += seen.size

    def count(self, raw: RawColumns, answer: Predictions) -> NDArray[np.intp]:
        """Return how many rows fall in each bin (size,)."""
        step = -(-len(next(iter(answer.values()))) // MAX_COUNTED_ROWS)
        rows = slice(None, None, step)
        some = {name: values[rows] for name, values in answer.items()}
        values = {
            **self._inputs.by_input(_chosen(raw, rows)),
            self._target: self._output.main_values(some),
        }
        places = [
            seen.bin_of(cast(Any, values[name])) + start
            for name, seen, _, start in self._columns
        ]
        none = np.zeros(0, np.intp)
        return np.bincount(np.concatenate([none, *places]), minlength=self.size)

    def columns(self, counts: NDArray[Any]) -> Iterator[ColumnDrift]:
        """Yield the columns with their parts of the counts (size,) of requests."""
        for name, seen, rows, start in self._columns:
            theirs = counts[start : start + seen.size]
            yield ColumnDrift(name, seen, seen.counts(rows), theirs)


def _chosen(raw: RawColumns, rows: slice) -> RawColumns:
    if isinstance(raw, Mapping):
        return {name: values[rows] for name, values in raw.items()}
    return raw[rows]


class Window:
    """The counts of one version in one worker, in slots (SLOTS, 1 + bins)."""

    def __init__(self, artefact: Artefact, bins: Bins, slots: Slots) -> None:
        """Count in `slots` (SLOTS, n)."""
        self.artefact, self._bins, self.slots = artefact, bins, slots
        self._paused_until = 0.0
        self._busy = threading.Lock()

    def record(self, raw: RawColumns, answer: Predictions, slot_seconds: float) -> None:
        """Count a request, unless paused or another is being counted."""
        now = time.monotonic()
        if now < self._paused_until or not self._busy.acquire(blocking=False):
            return
        try:
            began = time.thread_time()
            counts = self._bins.count(raw, answer)
            number = int(now / slot_seconds)
            slot = self.slots[number % SLOTS]
            if slot[0] != number:
                slot[:] = 0
                slot[0] = number
            slot[1:] += counts
            took = time.thread_time() - began
            self._paused_until = now + took * REST_FACTOR * random.expovariate(1.0)
        finally:
            self._busy.release()


class Drift:
    """The windows of one worker, and the indices over all; 0 seconds turn it off."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._slot_seconds = seconds / SLOTS
        self._windows: dict[tuple[str, int], Window] = {}
        self._directory: Path | None = None
        self._opening = threading.Lock()

    def share(self, directory: Path) -> None:
        """Count in files of a directory that all workers read."""
        self._directory = directory / "drift"
        self._directory.mkdir(exist_ok=True)
        for path in self._directory.iterdir():
            alive = Path("/proc", path.suffix[1:]).exists()
            if not alive and not len(self._fresh(_read(path))):
                path.unlink(missing_ok=True)

    def record(self, loaded: Loaded, raw: RawColumns, answer: Predictions) -> None:
        """Count the rows and predictions of a request, unless paused."""
        if not self._slot_seconds:
            return
        window = self._windows.get((loaded.name, loaded.version))
        if window is None or window.artefact is not loaded.artefact:
            with self._opening:  # the first requests come together
                window = self._windows.get((loaded.name, loaded.version))
                if window is None or window.artefact is not loaded.artefact:
                    window = self._open(loaded)
        window.record(raw, answer, self._slot_seconds)

    def forget(self, loaded: Loaded) -> None:
        """Drop the counts of an unloaded version."""
        self._windows.pop((loaded.name, loaded.version), None)
        if self._directory is not None:
            path = self._directory / f"{_stem(loaded)}.{os.getpid()}"
            path.unlink(missing_ok=True)

    def indices(
        self, catalogue: Mapping[str, Entry]
    ) -> Iterator[tuple[tuple[str, str, str], float]]:
        """Yield model, version and column with the index over all workers."""
        # Listed once: most versions of a large store have no counts.
        counted = None
        if self._directory is not None:
            counted = {path.stem for path in self._directory.iterdir()}
        for entry in catalogue.values():
            for loaded in entry.versions.values():
                if counted is not None and _stem(loaded) not in counted:
                    continue
                for column in self.columns(loaded):
                    if (index := column.index) is not None:
                        yield (loaded.name, str(loaded.version), column.name), index

    def columns(self, loaded: Loaded) -> Iterator[ColumnDrift]:
        """Yield the columns of a version that was asked, with the counts of all."""
        if windows := list(self._counted(loaded)):
            counts = np.sum([self._fresh(slots).sum(0) for slots in windows], 0)
            yield from Bins(loaded.artefact).columns(counts[1:])

    def _open(self, loaded: Loaded) -> Window:
        bins = Bins(loaded.artefact)
        shape = SLOTS, 1 + bins.size
        slots = np.zeros(shape, np.int64)
        if self._directory is not None:
            path = self._directory / f"{_stem(loaded)}.{os.getpid()}"
            self._adopt(path)
            # Without free memory the other workers do not see these counts.
            with contextlib.suppress(OSError):
                slots = np.ndarray(shape, np.int64, mapped(path, slots.nbytes))
        window = Window(loaded.artefact, bins, slots)
        self._windows[loaded.name, loaded.version] = window
        return window

    def _adopt(self, path: Path) -> None:
        """Continue the counts of a worker that has ended, if there is one."""
        for other in path.parent.glob(f"{path.stem}.*"):
            if not Path("/proc", other.suffix[1:]).exists():
                with contextlib.suppress(FileNotFoundError):  # another worker took it
                    other.rename(path)
                    return

    def _counted(self, loaded: Loaded) -> Iterator[Slots]:
        """Yield the slots of a version from each worker."""
        if self._directory is not None:
            for path in self._directory.glob(f"{_stem(loaded)}.*"):
                if len(slots := _read(path)):
                    yield slots
        elif window := self._windows.get((loaded.name, loaded.version)):
            yield window.slots

    def _fresh(self, slots: Slots) -> Slots:
        newest = int(time.monotonic() / self._slot_seconds)
        return slots[(slots[:, 0] > newest - SLOTS) & (slots[:, 0] <= newest)]


def _stem(loaded: Loaded) -> str:
    """Return the stem of a version's files, by the hash that fixes their layout."""
    return f"{loaded.name}@{loaded.version}-{loaded.artefact.sha256[:16]}"


def _read(path: Path) -> Slots:
    """Return the slots in a file; none if it is missing or empty."""
    try:
        slots = np.fromfile(path, np.int64)
    except FileNotFoundError:
        slots = np.zeros(0, np.int64)
    return slots.reshape(SLOTS, -1) if len(slots) else np.zeros((0, 1), np.int64)

"""Candidate and production side by side: where do they differ, and by how much?

The request is answered by one of them, and that is all it waits for; a thread has the
other answer the same rows afterwards. Only so many rows wait for it: beyond, they are
not compared, and counted as such.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text
from service.monitoring.metrics import ComparisonMetrics
from service.registry.loaded import Loaded

log = logging.getLogger("glassnet.service")

#: Rows that wait to be compared; the rows of one request always may.
MAX_WAITING_ROWS = 10_000
#: Two values disagree that are so many standard deviations of the target apart.
DISAGREEMENT_STDS = 0.1


class _ShadowJob(NamedTuple):
    loaded: Loaded
    raw: RawColumns
    answer: Predictions
    rows: int


class ShadowComparer:
    """Takes what was answered in a trial, and has the other version answer it too."""

    def __init__(self, metrics: ComparisonMetrics) -> None:
        self._metrics = metrics
        self._waiting = 0
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_ShadowJob] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._logged: set[tuple[str, int]] = set()

    def put(
        self, loaded: Loaded, raw: RawColumns, answer: Predictions, rows: int
    ) -> None:
        """Have a request of a trial compared, unless too much waits already."""
        with self._lock:
            if self._waiting and self._waiting + rows > MAX_WAITING_ROWS:
                self._metrics.count_failure(loaded, "busy")
                return
            self._waiting += rows
            if self._thread is None:  # not before the first: threads survive no fork
                thread = threading.Thread(target=self._run, name="comparisons")
                thread.daemon = True
                thread.start()
                self._thread = thread
        self._queue.put(_ShadowJob(loaded, raw, answer, rows))

    def _run(self) -> None:
        while True:
            answered = self._queue.get()
            try:
                self._compare(answered)
            except Exception as error:  # of a candidate anything may be wrong
                self._metrics.count_failure(answered.loaded, "error")
                self._log_failure(answered.loaded, error)
            with self._lock:
                self._waiting -= answered.rows

    def _compare(self, answered: _ShadowJob) -> None:
        loaded = answered.loaded
        assert loaded.split is not None
        other = loaded.split.other(loaded)
        ours, theirs = loaded.artefact.model, other.artefact.model
        raw = theirs.decoder.adapt(answered.raw)
        began = time.perf_counter()
        answer = theirs.predict(raw)
        self._metrics.observe_shadow(other, time.perf_counter() - began)
        found = differences(ours.output, answered.answer, theirs.output, answer)
        self._metrics.count_rows(loaded.split.candidate, answered.rows, *found)

    def _log_failure(self, loaded: Loaded, error: Exception) -> None:
        """Log the first failure of a version; the metrics count the others."""
        assert loaded.split is not None
        candidate = loaded.split.candidate
        if (candidate.name, candidate.version) not in self._logged:
            self._logged.add((candidate.name, candidate.version))
            log.warning(
                f"model {candidate.name} version {candidate.version} cannot be "
                f"compared with version {loaded.split.production.version}",
                exc_info=error,
                extra={"model": candidate.name, "version": candidate.version},
            )


def differences(
    output: Output, answer: Predictions, other: Output, theirs: Predictions
) -> tuple[int, float]:
    """Return how many rows disagree, and the largest difference of their numbers.

    Classes: another label, a difference of probabilities; a class that one of them
    does not know has none there. Values: one a tenth of the target's spread away.
    """
    if isinstance(output, Classification):
        assert isinstance(other, Classification)
        names = {label_text(label): None for label in (*output.classes, *other.classes)}
        P, Q = _aligned(names, output, answer), _aligned(names, other, theirs)
        labels = [
            [label_text(x) for x in a["label"].tolist()] for a in (answer, theirs)
        ]
        disagree = sum(a != b for a, b in zip(*labels, strict=True))
        return disagree, float(np.abs(P - Q).max())
    apart = np.abs(answer["value"] - theirs["value"])
    return int((apart > DISAGREEMENT_STDS * output.std).sum()), float(apart.max())


def _aligned(
    names: Mapping[str, None], output: Classification, answer: Predictions
) -> NDArray[Any]:
    """Return probabilities (n, names), in the order of all the names."""
    columns = dict(
        zip(map(label_text, output.classes), answer["probabilities"].T, strict=True)
    )
    nothing = np.zeros(len(answer["label"]))
    return np.stack([columns.get(name, nothing) for name in names], axis=1)

"""Compare candidate and production on the same rows: where and how much they differ.

One version answers the request. Afterwards a thread runs the other version on the same
rows. If too many rows wait for it, further requests are not compared but counted as
"busy".
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

#: Limit of rows that wait to be compared; one request is accepted in any case.
MAX_WAITING_ROWS = 10_000
#: Values further apart than this many standard deviations of the target disagree.
DISAGREEMENT_STDS = 0.1


class _ShadowJob(NamedTuple):
    loaded: Loaded
    raw: RawColumns
    answer: Predictions
    rows: int


class ShadowComparer:
    """Run the other version of a traffic split on answered rows, and compare."""

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
        """Queue an answered request for comparison, unless too many rows wait."""
        with self._lock:
            if self._waiting and self._waiting + rows > MAX_WAITING_ROWS:
                self._metrics.count_failure(loaded, "busy")
                return
            self._waiting += rows
            if self._thread is None:  # started late: threads do not survive a fork
                thread = threading.Thread(target=self._run, name="comparisons")
                thread.daemon = True
                thread.start()
                self._thread = thread
        self._queue.put(_ShadowJob(loaded, raw, answer, rows))

    def _run(self) -> None:
        while True:
            job = self._queue.get()
            try:
                self._compare(job)
            except Exception as error:  # a candidate may fail in any way
                self._metrics.count_failure(job.loaded, "error")
                self._log_failure(job.loaded, error)
            with self._lock:
                self._waiting -= job.rows

    def _compare(self, job: _ShadowJob) -> None:
        loaded = job.loaded
        assert loaded.split is not None
        other = loaded.split.other(loaded)
        ours, theirs = loaded.artefact.model, other.artefact.model
        raw = theirs.decoder.adapt(job.raw)
        began = time.perf_counter()
        answer = theirs.predict(raw)
        self._metrics.observe_shadow(other, time.perf_counter() - began)
        counts = differences(ours.output, job.answer, theirs.output, answer)
        self._metrics.count_rows(loaded.split.candidate, job.rows, *counts)

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
    """Return the number of rows that disagree, and the largest difference.

    Classes disagree if the labels differ; the difference is of probabilities, where an
    unknown class has 0. Values disagree beyond `DISAGREEMENT_STDS`.
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
    """Return probabilities (n, len(names)), in the order of the names."""
    columns = dict(
        zip(map(label_text, output.classes), answer["probabilities"].T, strict=True)
    )
    absent = np.zeros(len(answer["label"]))
    return np.stack([columns.get(name, absent) for name in names], axis=1)

"""The service's Prometheus metrics, right across workers.

With PROMETHEUS_MULTIPROC_DIR set (our gunicorn configuration does it) every worker
writes to files of its own and whoever is scraped adds them up; each gauge says how.
Only names of loaded models become labels, and a route is its template, so nothing a
client sends makes a new series.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from service.registry import Event, Loaded

PREFIX = "glassnet"
#: How the gauges of several workers become one.
Mode: TypeAlias = Literal["livesum", "livemax", "max"]
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Of a request that is answered, in order.
PHASES = ("input", "infer", "output")
VERSION = version("glassnet")


class Metrics:
    """One object a metric; names are those of the documentation."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of = cache(self._find)
        self._at = cache(self._count)

        self.requests = self._counter(
            "http_requests_total",
            "Requests answered, but for probes and scrapes.",
            ("route", "method", "code"),
        )
        self.request_seconds = self._histogram(
            "http_request_duration_seconds",
            "Time from the parsed request to the reply.",
            ("route",),
        )
        self.in_progress = self._gauge(
            "requests_in_progress", "Requests being answered now.", (), "livesum"
        )
        self.refused = self._counter(
            "requests_refused_total", "Requests turned away unread.", ("reason",)
        )
        self.build_info = self._gauge(
            "build_info", "The version of glassnet that runs.", ("version",), "livemax"
        )
        self.build_info.labels(VERSION).set(1)
        self._measure_models()

    def _measure_models(self) -> None:
        self.inference_seconds = self._histogram(
            "inference_duration_seconds",
            "Time of decoding rows, the forward pass and encoding the answer.",
            ("model", "version"),
        )
        self.phases = self._counter(
            "inference_phase_seconds_total",
            "Time by phase: input, infer, output; failed if there was no answer.",
            ("model", "version", "phase"),
        )
        self.last = self._gauge(
            "inference_last_timestamp_seconds",
            "When rows were last answered.",
            ("model", "version"),
            "max",
        )
        self.rows = self._counter(
            "inference_rows_total", "Rows answered.", ("model", "version")
        )
        self.failures = self._counter(
            "inference_failures_total",
            "Requests to a loaded model that got no answer.",
            ("model", "version", "reason"),
        )
        self.reloads = self._counter(
            "reloads_total",
            "Versions loaded, refused or unloaded, in each worker.",
            ("model", "result"),
        )
        self.model_info = self._gauge(
            "model_info",
            "1 while the version is loaded, 0 afterwards.",
            ("model", "version", "sha256"),
            "livemax",
        )

    def _counter(self, name: str, help: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _gauge(
        self, name: str, help: str, labels: tuple[str, ...], mode: Mode
    ) -> Gauge:
        return Gauge(
            f"{PREFIX}_{name}",
            help,
            labels,
            registry=self.registry,
            multiprocess_mode=mode,
        )

    def _histogram(self, name: str, help: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(
            f"{PREFIX}_{name}", help, labels, registry=self.registry, buckets=SECONDS
        )

    def collectors(self) -> list[MetricWrapperBase]:
        """Return every metric, for the documentation."""
        return [m for m in vars(self).values() if isinstance(m, MetricWrapperBase)]

    def answered(self, loaded: Loaded, rows: int, phases: Sequence[float]) -> None:
        """Count one request that was answered, and the seconds of its phases."""
        seconds, counters, last, answered = self._of(loaded.name, str(loaded.version))
        seconds.observe(sum(phases))
        for counter, phase in zip(counters, phases, strict=True):
            counter.inc(phase)
        last.set_to_current_time()
        answered.inc(rows)

    def replied(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request that is no probe, whatever was answered."""
        count, time = self._at(route, method, status)
        count.inc()
        time.observe(seconds)

    def _count(self, route: str, method: str, status: int) -> tuple[Counter, Histogram]:
        count = self.requests.labels(route, method, status)
        return count, self.request_seconds.labels(route)

    def _find(
        self, name: str, version: str
    ) -> tuple[Histogram, list[Counter], Gauge, Counter]:
        """Return what counts the answers of one version: to look it up takes longer."""
        labels = name, version
        return (
            self.inference_seconds.labels(*labels),
            [self.phases.labels(*labels, phase) for phase in PHASES],
            self.last.labels(*labels),
            self.rows.labels(*labels),
        )

    def failed(self, loaded: Loaded, reason: str, seconds: float) -> None:
        """Count one request to a loaded model that got no answer."""
        labels = (loaded.name, str(loaded.version))
        self.failures.labels(*labels, reason).inc()
        self.phases.labels(*labels, "failed").inc(seconds)

    def observe(self, event: Event) -> None:
        """Count what a refresh of the registry did."""
        self.reloads.labels(event.model, event.result).inc()
        if event.loaded is not None:
            self.show(event.loaded, event.result == "loaded")

    def show(self, loaded: Loaded, present: bool) -> None:
        """Say whether a version is loaded in this worker."""
        labels = (loaded.name, str(loaded.version), loaded.artefact.sha256)
        self.model_info.labels(*labels).set(int(present))

    def exposition(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._summed())

    def samples(self) -> Iterator[Sample]:
        """Yield every sample: its name, its labels and its value over all workers."""
        for family in self._summed().collect():
            yield from family.samples

    def _summed(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.registry
        summed = CollectorRegistry()
        MultiProcessCollector(summed)  # type: ignore[no-untyped-call]
        return summed

"""Prometheus metrics of the service, summed over its workers.

With PROMETHEUS_MULTIPROC_DIR, which our gunicorn configuration sets, each worker has
files of its own, which the worker that is scraped sums; each gauge has a mode for it.
Labels are names of loaded models and templates of routes, so clients cannot make new
series.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from models.features.inputs import RawColumns
from service.registry.loaded import Loaded
from service.registry.registry import Event
from service.server import metric_files

PREFIX = "glassnet"
#: How the gauges of several workers are combined.
Mode: TypeAlias = Literal["livesum", "livemax", "livemin", "max"]
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: Phases of an inference, in order.
PHASES = ("input", "infer", "output")
DRIFT = (
    "drift_psi",
    "Population stability index of a column of the requests, or of the predictions "
    "(under the target's name), over the window.",
    ("model", "version", "column"),
)
UNREADABLE = (
    "store_unreadable",
    "1 while the store cannot be read; loaded models still serve.",
    (),
)
UNREADABLE_MODELS = (
    "store_unreadable_models",
    "Models whose directory or labels cannot be read; the log names them.",
    (),
)
VERSION = version("glassnet")


class ComputedGauge(Collector):
    """A gauge computed when it is scraped, by the worker that is scraped."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labelnames = f"{PREFIX}_{name}", help, labels
        #: Return pairs of label values and value.
        self.values: Callable[[], Iterable[tuple[Sequence[str], float]]] = tuple

    def describe(self) -> Iterable[Metric]:
        """Yield the gauge without samples."""
        yield GaugeMetricFamily(self._name, self._help, labels=self._labelnames)

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge with its current samples."""
        for family in self.describe():
            for labels, value in self.values():
                family.add_sample(
                    self._name, dict(zip(self._labelnames, labels, strict=True)), value
                )
            yield family


Names: TypeAlias = tuple[str, ...]


def counter(to: CollectorRegistry, name: str, help: str, labels: Names) -> Counter:
    """Return a counter, summed over the workers."""
    return Counter(f"{PREFIX}_{name}", help, labels, registry=to)


def gauge(
    to: CollectorRegistry, name: str, help: str, labels: Names, mode: Mode
) -> Gauge:
    """Return a gauge, combined over the workers by its mode."""
    name = f"{PREFIX}_{name}"
    return Gauge(name, help, labels, registry=to, multiprocess_mode=mode)


def histogram(to: CollectorRegistry, name: str, help: str, labels: Names) -> Histogram:
    """Return a histogram of seconds."""
    return Histogram(f"{PREFIX}_{name}", help, labels, registry=to, buckets=SECONDS)


class ComparisonMetrics:
    """Metrics of comparing a candidate with production."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = "model", "version"
        #: Largest difference of each candidate, in this worker.
        self._largest: dict[tuple[str, str], float] = {}
        self.rows = counter(
            registry,
            "comparison_rows_total",
            "Rows that both a candidate (the version) and production answered.",
            labels,
        )
        self.disagreements = counter(
            registry,
            "comparison_disagreements_total",
            "Compared rows with different labels, or values over 0.1 std apart.",
            labels,
        )
        self.difference = gauge(
            registry,
            "comparison_difference_max",
            "Largest difference of a probability or value.",
            labels,
            "max",
        )
        self.seconds = histogram(
            registry,
            "comparison_duration_seconds",
            "Time of forward passes made only for the comparison.",
            labels,
        )
        self.failures = counter(
            registry,
            "comparison_failures_total",
            "Requests that a candidate failed to answer (fallback: production did), "
            "or that were not compared (error; busy: too many were waiting).",
            (*labels, "reason"),
        )

    def count_rows(
        self, candidate: Loaded, rows: int, disagreements: int, difference: float
    ) -> None:
        """Count rows that both versions answered."""
        labels = candidate.name, str(candidate.version)
        self.rows.labels(*labels).inc(rows)
        self.disagreements.labels(*labels).inc(disagreements)
        largest = self._largest.get(labels, 0.0)
        if difference >= largest:
            self._largest[labels] = difference
            self.difference.labels(*labels).set(difference)

    def observe_shadow(self, loaded: Loaded, seconds: float) -> None:
        """Record a forward pass made only for the comparison."""
        self.seconds.labels(loaded.name, str(loaded.version)).observe(seconds)

    def count_failure(self, loaded: Loaded, reason: str) -> None:
        """Count a request of a split that failed or was not compared."""
        assert loaded.split is not None
        candidate = loaded.split.candidate
        self.failures.labels(candidate.name, str(candidate.version), reason).inc()


class Metrics:
    """The metrics, one attribute each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of = cache(self._find)
        self._at = cache(self._count)

        self.requests = counter(
            self.registry,
            "http_requests_total",
            "Requests answered, without probes and scrapes.",
            ("route", "method", "code"),
        )
        self.request_seconds = histogram(
            self.registry,
            "http_request_duration_seconds",
            "Time from the parsed request to the reply.",
            ("route",),
        )
        self.in_progress = gauge(
            self.registry,
            "requests_in_progress",
            "Requests being answered now.",
            (),
            "livesum",
        )
        self.refused = counter(
            self.registry,
            "requests_refused_total",
            "Requests rejected unread.",
            ("reason",),
        )
        self.build_info = gauge(
            self.registry,
            "build_info",
            "The running version of glassnet.",
            ("version",),
            "livemax",
        )
        self.build_info.labels(VERSION).set(1)
        self._measure_models()
        self.drift, self.unreadable = ComputedGauge(*DRIFT), ComputedGauge(*UNREADABLE)
        self.unreadable_models = ComputedGauge(*UNREADABLE_MODELS)
        self.last_refresh = gauge(
            self.registry,
            "store_last_refresh_timestamp_seconds",
            "Time of the last refresh from the store, of the worker furthest behind.",
            (),
            "livemin",
        )
        self.comparison = ComparisonMetrics(self.registry)

    def _measure_models(self) -> None:
        self.inference_seconds = histogram(
            self.registry,
            "inference_duration_seconds",
            "Time of decoding rows, the forward pass and encoding the answer.",
            ("model", "version"),
        )
        self.phases = counter(
            self.registry,
            "inference_phase_seconds_total",
            "Time by phase: input, infer, output; failed for requests without answer.",
            ("model", "version", "phase"),
        )
        self.last = gauge(
            self.registry,
            "inference_last_timestamp_seconds",
            "Time of the last answer.",
            ("model", "version"),
            "max",
        )
        self.rows = counter(
            self.registry,
            "inference_rows_total",
            "Rows answered.",
            ("model", "version"),
        )
        self.failures = counter(
            self.registry,
            "inference_failures_total",
            "Requests to a loaded model that failed.",
            ("model", "version", "reason"),
        )
        self.unknown_categories = counter(
            self.registry,
            "unknown_categories_total",
            "Values of a column that are no category of the model.",
            ("model", "version", "column"),
        )
        self.reloads = counter(
            self.registry,
            "reloads_total",
            "Versions loaded, refused or unloaded, counted in each worker.",
            ("model", "result"),
        )
        self.model_info = gauge(
            self.registry,
            "model_info",
            "1 while the version is loaded, then 0.",
            ("model", "version", "sha256"),
            "livemax",
        )

    def families(self) -> Iterator[tuple[str, Metric, Names]]:
        """Yield the name, family and labels of every metric, for the reference."""
        for metric in [*vars(self).values(), *vars(self.comparison).values()]:
            if isinstance(metric, (MetricWrapperBase, ComputedGauge)):
                (family,) = metric.describe()
                yield metric._name, family, tuple(metric._labelnames)

    def count_inference(
        self, loaded: Loaded, rows: int, phases: Sequence[float]
    ) -> None:
        """Count one request that was answered, and the seconds of its phases."""
        seconds, counters, last, answered_rows = self._of(
            loaded.name, str(loaded.version)
        )
        seconds.observe(sum(phases))
        for counter, phase in zip(counters, phases, strict=True):
            counter.inc(phase)
        last.set_to_current_time()
        answered_rows.inc(rows)

    def count_request(
        self, route: str, method: str, status: int, seconds: float
    ) -> None:
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
        """Return the metrics of one version; cached, as the lookup is slow."""
        labels = name, version
        return (
            self.inference_seconds.labels(*labels),
            [self.phases.labels(*labels, phase) for phase in PHASES],
            self.last.labels(*labels),
            self.rows.labels(*labels),
        )

    def count_failure(self, loaded: Loaded, reason: str, seconds: float) -> None:
        """Count one failed request to a loaded model."""
        labels = (loaded.name, str(loaded.version))
        self.failures.labels(*labels, reason).inc()
        self.phases.labels(*labels, "failed").inc(seconds)

    def count_unknown(self, loaded: Loaded, raw: RawColumns) -> None:
        """Count the texts in raw rows that are no categories of their columns."""
        for column, n in loaded.artefact.manifest.inputs.unknown(raw):
            labels = (loaded.name, str(loaded.version), column)
            self.unknown_categories.labels(*labels).inc(n)

    def observe(self, event: Event) -> None:
        """Count a change made by a refresh of the registry."""
        self.reloads.labels(event.model, event.result).inc()
        if event.loaded is not None:
            self.set_loaded(event.loaded, event.result == "loaded")

    def set_loaded(self, loaded: Loaded, present: bool) -> None:
        """Record whether a version is loaded in this worker."""
        labels = (loaded.name, str(loaded.version), loaded.artefact.sha256)
        self.model_info.labels(*labels).set(int(present))

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their media type: OpenMetrics if `accept` asks for it.

        Without it, they are in Prometheus' text format.
        """
        encode, content_type = choose_encoder(accept)
        with self._summed() as summed:
            return encode(summed), content_type

    def collect(self) -> list[Metric]:
        """Return every family, with its values over all workers."""
        with self._summed() as summed:
            return list(summed.collect())

    def samples(self) -> list[Sample]:
        """Return every sample, with its value over all workers."""
        return [sample for family in self.collect() for sample in family.samples]

    @contextmanager
    def _summed(self) -> Iterator[CollectorRegistry]:
        summed = CollectorRegistry()
        summed.register(self.drift)
        summed.register(self.unreadable)
        summed.register(self.unreadable_models)
        if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            summed.register(metric_files.Summed(Path(directory)))
            with metric_files.unchanged(Path(directory)):
                yield summed
        else:
            summed.register(self.registry)
            yield summed

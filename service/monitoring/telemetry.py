"""Traces and metrics for an OpenTelemetry collector, by OTLP over HTTP; off by default.

Spans are recorded when a request has ended, and sent by a thread. The metrics are those
that Prometheus scrapes, summed over the workers; the worker that holds a lock sends
them. Threads do not survive a fork, so each worker has a `Telemetry` of its own.
Headers, sampling and intervals are set by the variables of OpenTelemetry (`OTEL_…`).
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import ConfigError
from service.monitoring.metrics import PREFIX, VERSION, Metrics

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from service.monitoring.payload_log import InferenceRecord

#: Milliseconds between two exports of the metrics, if the variable is not set.
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
DEFAULT_INTERVAL = "60000"


def require_packages() -> None:
    """Raise ConfigError if the packages of the extra `otel` are missing."""
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise ConfigError(
            "traces and metrics for OpenTelemetry need its packages: "
            "pip install 'glassnet[otel]'"
        ) from None


class Telemetry:
    """Spans and counters that a worker sends to a collector."""

    def __init__(self, endpoint: str, metrics: Metrics, directory: Path) -> None:
        """Start sending; `directory` is shared by the workers."""
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation import (  # not in the first request
            tracecontext,  # noqa: F401
        )

        endpoint = endpoint.rstrip("/")
        self._resource = Resource.create(
            {"service.name": PREFIX, "service.version": VERSION}
        )
        self._provider = TracerProvider(resource=self._resource)
        exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(PREFIX, VERSION)
        self._metrics, self._started = metrics, time.time_ns()
        self._exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics")
        self._lock = (directory / "telemetry").open("w")
        self._stopped = threading.Event()
        seconds = int(os.environ.get(INTERVAL, DEFAULT_INTERVAL)) / 1000
        self._thread = threading.Thread(
            target=self._send_metrics, args=(seconds,), name="telemetry", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, and end."""
        self._stopped.set()
        self._thread.join(5)
        self._provider.shutdown()

    def record(
        self,
        name: str,
        traceparent: str | None,
        started: float,
        attributes: Mapping[str, Any],
        inference: InferenceRecord | None,
    ) -> None:
        """Record a request that ends now; times are of `time.perf_counter`."""
        ended = time.time_ns()
        from opentelemetry.trace import (
            SpanKind,
            Status,
            StatusCode,
            set_span_in_context,
        )
        from opentelemetry.trace.propagation.tracecontext import (
            TraceContextTextMapPropagator,
        )

        past = time.time_ns() - time.perf_counter_ns()

        def at(moment: float) -> int:
            return past + int(moment * 1e9)

        carrier = {} if traceparent is None else {"traceparent": traceparent}
        span = self._tracer.start_span(
            name,
            TraceContextTextMapPropagator().extract(carrier),
            SpanKind.SERVER,
            dict(attributes),
            start_time=at(started),
        )
        if attributes["http.response.status_code"] >= 500:
            span.set_status(Status(StatusCode.ERROR))
        if inference is not None:
            span.set_attribute("glassnet.model", inference.loaded.name)
            span.set_attribute("glassnet.version", inference.loaded.version)
            moments = inference.started, inference.decoded, inference.predicted
            times = [*map(at, moments), ended]
            context = set_span_in_context(span)
            for phase, start, end in zip(
                ("decode", "infer", "encode"), times, times[1:], strict=False
            ):
                self._tracer.start_span(phase, context, start_time=start).end(end)
        span.end(ended)

    def _send_metrics(self, seconds: float) -> None:
        last = False
        while not last:
            last = self._stopped.wait(seconds)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another worker sends those of all
            self._exporter.export(self._collected())

    def _collected(self) -> Any:
        from opentelemetry.sdk.metrics.export import (
            MetricsData,
            ResourceMetrics,
            ScopeMetrics,
        )
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        now = time.time_ns()
        found = [
            _converted(family, self._started, now)
            for family in self._metrics.collect()
            if family.samples
        ]
        scope = ScopeMetrics(InstrumentationScope(PREFIX, VERSION), found, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def _converted(family: Metric, started: int, now: int) -> Any:
    """Return a family of Prometheus as a metric of OpenTelemetry.

    As its specification says: counters are cumulative sums, and buckets count what is
    between two bounds.
    """
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Metric,
        NumberDataPoint,
        Sum,
    )

    cumulative = AggregationTemporality.CUMULATIVE
    data: Any
    if family.type == "histogram":
        data = _histogram(family, started, now)
    else:
        points = [
            NumberDataPoint(sample.labels, started, now, float(sample.value))
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]
        data = (
            Sum(points, cumulative, True) if family.type == "counter" else Gauge(points)
        )
    unit = "s" if family.name.endswith("_seconds") else ""
    return Metric(family.name, family.documentation, unit, data)


def _histogram(family: Metric, started: int, now: int) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Histogram,
        HistogramDataPoint,
    )

    series: dict[tuple[tuple[str, str], ...], dict[str, float]] = defaultdict(dict)
    for sample in family.samples:
        labels = {**sample.labels}
        part = labels.pop("le", sample.name.removeprefix(family.name))
        series[tuple(labels.items())][part] = sample.value
    points = []
    for key, parts in series.items():
        total, count = parts.pop("_sum"), parts.pop("_count")
        parts.pop("_created", None)
        bounds = sorted((float(bound), n) for bound, n in parts.items())
        points.append(
            HistogramDataPoint(
                dict(key),
                started,
                now,
                int(count),
                total,
                _differences(n for _, n in bounds),
                [bound for bound, _ in bounds[:-1]],
                None,  # type: ignore[arg-type]
                None,  # type: ignore[arg-type]
            )
        )
    return Histogram(points, AggregationTemporality.CUMULATIVE)


def _differences(counts: Iterable[float]) -> list[int]:
    """Return what each cumulative count adds to the one before."""
    found, before = [], 0
    for count in counts:
        found.append(int(count) - before)
        before = int(count)
    return found

"""Traces and metrics, decoded by a receiver as the protocol of OpenTelemetry says."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from models.errors import ConfigError
from service.monitoring import telemetry

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MESSAGES = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Receiver:
    """A server of OTLP over HTTP that keeps what it decodes."""

    def __init__(self) -> None:
        found: dict[str, list[Any]] = {path: [] for path in MESSAGES}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                found[self.path].append(MESSAGES[self.path].FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.found = found
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for message in self.found["/v1/traces"]
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """The metrics of the last message, by name."""
        (resource,) = self.found["/v1/metrics"][-1].resource_metrics
        attributes = values(resource.resource)
        assert attributes["service.name"] == "glassnet"
        return {m.name: m for scope in resource.scope_metrics for m in scope.metrics}


def values(owner: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value"))
        for each in owner.attributes
    }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.mark.e2e
def test_a_collector_gets_each_request_once_and_the_sums_of_all_workers(
    served: Path,
    start: Callable[..., Any],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(telemetry.INTERVAL, "500")
    server = start(served, otlp_endpoint=receiver.url, workers=2)
    path = "/v1/models/half_plus_two:predict"
    for sampled in "01", "00":
        server.request(
            "POST",
            path,
            {"instances": [1.0]},
            **{
                "traceparent": f"00-{TRACE}-{PARENT}-{sampled}",
                "X-Request-Id": f"asked-{sampled}",
            },
        )
    assert server.request("POST", path, {"instances": ["two"]})[0] == 400
    server.process.terminate()
    assert server.process.wait(60) == 0

    # The caller's choice of what is traced is kept.
    assert len(receiver.spans) == 5
    requests = {s.span_id: s for s in receiver.spans if s.kind == s.SPAN_KIND_SERVER}
    (asked,) = (s for s in requests.values() if s.trace_id.hex() == TRACE)
    (wrong,) = (s for s in requests.values() if s is not asked)
    assert asked.parent_span_id.hex() == PARENT and not wrong.parent_span_id
    assert asked.name == "POST /v1/models/<name>:predict"
    attributes = values(asked)
    assert attributes["http.response.status_code"] == 200
    assert attributes["glassnet.request_id"] == "asked-01"
    assert (attributes["glassnet.model"], attributes["glassnet.version"]) == (
        *("half_plus_two", 1),
    )
    assert values(wrong)["http.response.status_code"] == 400
    phases = [s for s in receiver.spans if s.parent_span_id == asked.span_id]
    phases.sort(key=lambda span: span.start_time_unix_nano)
    assert [span.name for span in phases] == ["decode", "infer", "encode"]
    assert asked.start_time_unix_nano <= phases[0].start_time_unix_nano
    assert phases[-1].end_time_unix_nano <= asked.end_time_unix_nano

    metrics = receiver.metrics()
    counted = metrics["glassnet_http_requests"].sum
    assert counted.is_monotonic and counted.aggregation_temporality == 2
    by_code = {values(p)["code"]: p.as_double for p in counted.data_points}
    assert by_code == {"200": 2, "400": 1}
    times = metrics["glassnet_http_request_duration_seconds"]
    assert times.unit == "s"
    (histogram,) = times.histogram.data_points
    assert histogram.count == sum(histogram.bucket_counts) == 3
    assert len(histogram.bucket_counts) == len(histogram.explicit_bounds) + 1
    assert histogram.sum > 0
    loaded = metrics["glassnet_model_info"].gauge.data_points
    assert {p.as_double for p in loaded} == {1}


@pytest.mark.e2e
def test_a_collector_that_is_away_costs_no_request(
    served: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # else the end takes 10 s
    server = start(served, otlp_endpoint="http://127.0.0.1:9", workers=1)
    assert len(server.predict("half_plus_two", [1.0])) == 1
    server.process.terminate()
    assert server.process.wait(60) == 0


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ConfigError, match=r"pip install 'glassnet\[otel\]'"):
        telemetry.require_packages()

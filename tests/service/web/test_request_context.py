"""A request's id, what the log says of it, and that it is counted once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.app import build
from service.settings import Settings
from service.web.request_context import (
    RequestContext,
    current_request,
    parse_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def call(served: Path) -> RequestContext:
    model_server = build(Settings(store=str(served))).extensions["glassnet"]
    environ = {"REQUEST_METHOD": "BREW", "HTTP_X_REQUEST_ID": "tea-1"}
    return RequestContext(model_server, environ)


def test_the_request_of_this_thread_is_found(call: RequestContext) -> None:
    assert current_request() is call


def test_an_id_is_taken_over_if_it_is_one(call: RequestContext) -> None:
    assert call.request_id == "tea-1"
    forged = RequestContext(call.model_server, {"HTTP_X_REQUEST_ID": "a\nb"})
    assert forged.request_id != "a\nb"
    assert len(forged.request_id) == 16


def test_headers_are_found_whatever_their_case(call: RequestContext) -> None:
    assert call.header("x-request-ID") == "tea-1"
    assert call.header("Accept") is None


def test_the_end_counts_a_method_of_the_clients_as_other(
    call: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    call.log_fields = {"model": "m"}
    with caplog.at_level(logging.INFO, "glassnet.access"):
        call.end("/v2", 405)
    (record,) = caplog.records
    assert (vars(record)["model"], vars(record)["method"]) == ("m", "other")
    requests = call.model_server.metrics.requests
    (sample,) = (s for s in requests.collect()[0].samples if s.name.endswith("_total"))
    assert sample.labels == {"route": "/v2", "method": "other", "code": "405"}
    assert sample.value == 1


def test_what_is_no_traffic_is_only_no_longer_in_progress(
    call: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    call.end(None, 200)
    assert not caplog.records
    assert not call.model_server.metrics.requests.collect()[0].samples
    (now,) = call.model_server.metrics.in_progress.collect()[0].samples
    assert now.value == 0


def test_what_a_request_held_is_let_go(call: RequestContext) -> None:
    """A thread keeps its call until the next: a body may be as large as is allowed."""
    call.body = bytes(10)
    call.chosen = call.model_server.registry.find("xor")
    call.end("/v2", 200)
    assert (call.body, call.chosen, call.fallback) == (None, None, None)


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"cc-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-brings",
    ],
)
def test_a_valid_header_names_trace_and_span(header: str) -> None:
    assert parse_traceparent(header) == {"trace_id": TRACE, "span_id": SPAN}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-0١",
    ],
)
def test_any_other_header_gives_no_trace(header: str | None) -> None:
    assert parse_traceparent(header) == {}

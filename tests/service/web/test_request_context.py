"""A request's id, what the log says of it, and that it is counted once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.app import build
from service.settings import Settings
from service.web.request_context import RequestContext, current_request


@pytest.fixture
def call(served: Path) -> RequestContext:
    engine = build(Settings(store=str(served))).extensions["glassnet"]
    environ = {"REQUEST_METHOD": "BREW", "HTTP_X_REQUEST_ID": "tea-1"}
    return RequestContext(engine, environ)


def test_the_request_of_this_thread_is_found(call: RequestContext) -> None:
    assert current_request() is call


def test_an_id_is_taken_over_if_it_is_one(call: RequestContext) -> None:
    assert call.request_id == "tea-1"
    forged = RequestContext(call.engine, {"HTTP_X_REQUEST_ID": "a\nb"})
    assert forged.request_id != "a\nb"
    assert len(forged.request_id) == 16


def test_headers_are_found_whatever_their_case(call: RequestContext) -> None:
    assert call.header("x-request-ID") == "tea-1"
    assert call.header("Accept") is None


def test_the_end_counts_a_method_of_the_clients_as_other(
    call: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    call.about = {"model": "m"}
    with caplog.at_level(logging.INFO, "glassnet.access"):
        call.end("/v2", 405)
    (record,) = caplog.records
    assert (vars(record)["model"], vars(record)["method"]) == ("m", "other")
    requests = call.engine.metrics.requests
    (sample,) = (s for s in requests.collect()[0].samples if s.name.endswith("_total"))
    assert sample.labels == {"route": "/v2", "method": "other", "code": "405"}
    assert sample.value == 1


def test_what_is_no_traffic_is_only_no_longer_in_progress(
    call: RequestContext, caplog: pytest.LogCaptureFixture
) -> None:
    call.end(None, 200)
    assert not caplog.records
    assert not call.engine.metrics.requests.collect()[0].samples
    (now,) = call.engine.metrics.in_progress.collect()[0].samples
    assert now.value == 0


def test_what_a_request_held_is_let_go(call: RequestContext) -> None:
    """A thread keeps its call until the next: a body may be as large as is allowed."""
    call.body = bytes(10)
    call.chosen = call.engine.registry.find("xor")
    call.end("/v2", 200)
    assert (call.body, call.chosen, call.instead) == (None, None, None)

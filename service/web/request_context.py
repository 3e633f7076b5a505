"""One request as the dialects see it, whether Flask or the fast path called them.

It starts with an id and the time, and ends with counts and a line in the log.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from service.inference.model_server import ModelServer, Unavailable
from service.monitoring.metrics import METHODS
from service.monitoring.payload_log import InferenceRecord
from service.registry.loaded import Loaded

access = logging.getLogger("glassnet.access")
T = TypeVar("T")

#: How long a large request waits for others.
TURN_SECONDS = 30.0

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: W3C Trace Context: version, trace, the caller's span, flags. A later version may add
#: more after a dash.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
    r"-[0-9a-f]{2}(-.*)?",
    re.ASCII,
)


class RequestContext:
    """The request that this thread answers."""

    #: The body, after it has been read.
    body: bytes | None = None
    #: Whether no other large request is answered meanwhile.
    has_turn = False
    #: The version that the traffic split chose, and the one after that failed.
    chosen: Loaded | None = None
    fallback: Loaded | None = None

    def __init__(self, model_server: ModelServer, environ: dict[str, Any]) -> None:
        self.model_server = model_server
        self.environ = environ
        sent_id = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id = (
            sent_id if _REQUEST_ID.fullmatch(sent_id) else os.urandom(8).hex()
        )
        #: Identify it in the logs.
        self.trace_ids = {
            "request_id": self.request_id,
            **parse_traceparent(environ.get("HTTP_TRACEPARENT")),
        }
        self.started = time.perf_counter()
        #: More of the request for its line in the log.
        self.log_fields: dict[str, Any] = {}
        model_server.metrics.in_progress.inc()
        _current.set(self)

    def header(self, name: str) -> str | None:
        """Return a header of the request."""
        value: str | None = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return value

    def call_with_fallback(self, view: Callable[[], T]) -> T:
        """Call a view; if a canary fails, call it again with production."""
        try:
            return view()
        except Exception:
            chosen = self.chosen
            if chosen is None or chosen.split is None:
                raise
            self.fallback = chosen.split.fallback(chosen)
            if self.fallback is None:
                raise
            reply = view()
            # Production answered, so the candidate was at fault and not the request.
            self.model_server.metrics.comparison.count_failure(chosen, "fallback")
            return reply

    def take_turn(self) -> None:
        """Wait until this worker answers no other large request.

        Raises Unavailable if that takes longer than `TURN_SECONDS`.
        """
        if not self.has_turn:
            if not self.model_server.turn.acquire(timeout=TURN_SECONDS):
                raise Unavailable("other large requests are being answered; try again")
            self.has_turn = True

    def end(self, route: str | None, status: int) -> dict[str, str]:
        """Count, time and log the request; return headers for the reply.

        A `route` of None is not counted or logged, as for probes.
        """
        seconds = time.perf_counter() - self.started
        metrics = self.model_server.metrics
        metrics.in_progress.dec()
        headers = {
            "X-Request-Id": self.request_id,
            "X-Content-Type-Options": "nosniff",
        }
        if done := self.model_server.inference.take_record():
            headers["Server-Timing"] = server_timing(done)
            self.model_server.log_payload(done, self.trace_ids)
        if route is not None:
            self._count(route, status, seconds, done)
        # The thread keeps this object until its next request: free what is large.
        self.body = self.chosen = self.fallback = None
        self.environ.pop("wsgi.input", None)
        if self.has_turn:
            self.has_turn = False
            self.model_server.turn.release()
        return headers

    def _count(
        self, route: str, status: int, seconds: float, done: InferenceRecord | None
    ) -> None:
        method = self.environ["REQUEST_METHOD"]
        method = method if method in METHODS else "other"
        self.model_server.metrics.count_request(route, method, status, seconds)
        if self.model_server.telemetry is not None:
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "glassnet.request_id": self.request_id,
            }
            self.model_server.telemetry.record(
                f"{method} {route}",
                self.header("traceparent"),
                self.started,
                attributes,
                done,
            )
        if status >= self.model_server.logged_from:
            access.info(
                "%s %s %s",
                method,
                route,
                status,
                extra={
                    **self.trace_ids,
                    "method": method,
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1e3, 3),
                    "client": self.environ.get("REMOTE_ADDR"),
                    **self.log_fields,
                },
            )


_current: ContextVar[RequestContext] = ContextVar("request")


def server_timing(done: InferenceRecord) -> str:
    """Return the phases of an answer in milliseconds, as header Server-Timing."""
    decode, infer = done.decoded - done.started, done.predicted - done.decoded
    encode = time.perf_counter() - done.predicted
    return (
        f"decode;dur={decode * 1e3:.3f}, infer;dur={infer * 1e3:.3f}, "
        f"encode;dur={encode * 1e3:.3f}"
    )


def current_request() -> RequestContext:
    """Return the request that this thread is answering."""
    return _current.get()


def model_server() -> ModelServer:
    """Return the model server of the request's application."""
    return current_request().model_server


def parse_traceparent(header: str | None) -> dict[str, str]:
    """Return the log fields of W3C Trace Context's header `traceparent`.

    They are empty without a valid header.
    """
    match = _TRACEPARENT.fullmatch(header) if header is not None else None
    if not match or (match[1] == "00" and match[4] is not None):
        return {}
    return {"trace_id": match[2], "span_id": match[3]}

"""One request as the dialects see it, whoever brought it: Flask, or the express.

It begins with an id and a look at the clock, and ends with counts and a line in the
log.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

from service.inference.model_server import ModelServer
from service.monitoring.metrics import METHODS
from service.monitoring.payload_log import Answered
from service.registry.loaded import Loaded
from service.web.tracing import trace_ids

access = logging.getLogger("glassnet.access")
T = TypeVar("T")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestContext:
    """A request that is being answered by this thread."""

    #: The body, once it is read.
    body: bytes | None = None
    #: What answers where no version is named, and what does after that has failed.
    chosen: Loaded | None = None
    instead: Loaded | None = None

    def __init__(self, engine: ModelServer, environ: dict[str, Any]) -> None:
        self.engine = engine
        self.environ = environ
        given = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        #: What it goes by in the logs.
        self.names = {
            "request_id": self.request_id,
            **trace_ids(environ.get("HTTP_TRACEPARENT")),
        }
        self.started = time.perf_counter()
        #: What the log is to say of it.
        self.about: dict[str, Any] = {}
        engine.metrics.in_progress.inc()
        _current.set(self)

    def header(self, name: str) -> str | None:
        """Return a header of the request."""
        found: str | None = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return found

    def answered(self, view: Callable[[], T]) -> T:
        """Call a view; again, for production, where a candidate in its place failed."""
        try:
            return view()
        except Exception:
            chosen = self.chosen
            if chosen is None or chosen.trial is None:
                raise
            self.instead = chosen.trial.fallback(chosen)
            if self.instead is None:
                raise
            found = view()
            # Else the request is at fault, and not the candidate.
            self.engine.metrics.comparison.failed(chosen, "fallback")
            return found

    def end(self, route: str | None, status: int) -> dict[str, str]:
        """Count, time and log it, unless it is no traffic and has no route.

        Returns headers that go with the answer.
        """
        seconds = time.perf_counter() - self.started
        metrics = self.engine.metrics
        metrics.in_progress.dec()
        headers = {"X-Request-Id": self.request_id}
        if done := self.engine.inference.last():
            headers["Server-Timing"] = server_timing(done)
            self.engine.log_payload(done, self.names)
        if route is not None:
            self._count(route, status, seconds)
        # The thread keeps this until its next request: nothing large, no old version.
        self.body = self.chosen = self.instead = None
        return headers

    def _count(self, route: str, status: int, seconds: float) -> None:
        given = self.environ["REQUEST_METHOD"]
        method = given if given in METHODS else "other"
        self.engine.metrics.replied(route, method, status, seconds)
        if status >= self.engine.logged_from:
            access.info(
                "%s %s %s",
                method,
                route,
                status,
                extra={
                    **self.names,
                    "method": method,
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1e3, 3),
                    "client": self.environ.get("REMOTE_ADDR"),
                    **self.about,
                },
            )


_current: ContextVar[RequestContext] = ContextVar("call")


def server_timing(done: Answered) -> str:
    """Return where the time of an answer went, in milliseconds (Server-Timing)."""
    decode, infer = done.decoded - done.started, done.predicted - done.decoded
    encode = time.perf_counter() - done.predicted
    return (
        f"decode;dur={decode * 1e3:.3f}, infer;dur={infer * 1e3:.3f}, "
        f"encode;dur={encode * 1e3:.3f}"
    )


def current_request() -> RequestContext:
    """Return the request that this thread answers."""
    return _current.get()


def model_server() -> ModelServer:
    """Return what this application's routes share."""
    return current_request().engine

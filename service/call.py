"""One request as the dialects see it, whoever brought it: Flask, or the express.

It begins with an id and a look at the clock, and ends with counts and a line in the
log.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextvars import ContextVar
from typing import Any

from service.engine import Engine
from service.metrics import METHODS

access = logging.getLogger("glassnet.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Call:
    """A request that is being answered by this thread."""

    __slots__ = ("about", "engine", "environ", "request_id", "started")

    def __init__(self, engine: Engine, environ: dict[str, Any]) -> None:
        self.engine = engine
        self.environ = environ
        given = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        self.started = time.perf_counter()
        #: What the log is to say of it.
        self.about: dict[str, Any] = {}
        engine.metrics.in_progress.inc()
        _current.set(self)

    def header(self, name: str) -> str | None:
        """Return a header of the request."""
        found: str | None = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return found

    def end(self, route: str | None, status: int) -> None:
        """Count, time and log it; without a route it is no traffic."""
        seconds = time.perf_counter() - self.started
        metrics = self.engine.metrics
        metrics.in_progress.dec()
        if route is None:
            return
        given = self.environ["REQUEST_METHOD"]
        method = given if given in METHODS else "other"
        metrics.replied(route, method, status, seconds)
        if self.engine.access_log:
            access.info(
                "%s %s %s",
                method,
                route,
                status,
                extra={
                    "request_id": self.request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "milliseconds": round(seconds * 1e3, 3),
                    "client": self.environ.get("REMOTE_ADDR"),
                    **self.about,
                },
            )


_current: ContextVar[Call] = ContextVar("call")


def current() -> Call:
    """Return the request that this thread answers."""
    return _current.get()

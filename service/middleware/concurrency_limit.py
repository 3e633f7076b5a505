"""Limit the requests that are answered at once; probes are always answered.

The limit is checked before Flask and before the body is read, so a request beyond it
costs only its rejection. gunicorn has `PROBE_THREADS` more threads than the limit: they
answer probes and scrapes, and reject requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from models.errors import GlassnetError

#: A WSGI application (PEP 3333).
Application: TypeAlias = Any
#: Key in the WSGI environment of the exception that Flask is to raise.
REJECTION = "glassnet.rejection"
#: Threads beyond the limit, for probes and rejections.
PROBE_THREADS = 4


class Rejected(GlassnetError):
    """A request is rejected unread, with this code and these headers."""

    code: int
    #: For the metric.
    reason: str
    headers: dict[str, str]


class Overloaded(Rejected):
    """The limit is reached."""

    code = 503
    reason = "overload"
    headers = {"Retry-After": "1"}  # noqa: RUF012


class ConcurrencyLimit:
    """A WSGI application that passes at most `limit` requests at once to `app`.

    The others go to `reject`, with the reason in their environment. Requests for
    `public_paths` always pass and do not count.
    """

    def __init__(
        self,
        app: Application,
        reject: Application,
        limit: int,
        public_paths: Iterable[str],
    ) -> None:
        self._app, self._reject = app, reject
        self._public_paths = frozenset(public_paths)
        self._overloaded = Overloaded(
            f"this process already answers {limit} requests, its limit "
            "(GLASSNET_THREADS); try again"
        )
        # list.pop and list.append are atomic: no lock is needed.
        self._slots = [None] * limit

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, or reject it."""
        if environ["PATH_INFO"] in self._public_paths:
            return self._app(environ, start_response)
        try:
            self._slots.pop()
        except IndexError:
            environ[REJECTION] = self._overloaded
            return self._reject(environ, start_response)
        try:
            return self._app(environ, start_response)
        finally:
            self._slots.append(None)

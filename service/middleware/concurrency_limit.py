"""So many requests at once and no more, while what watches the server goes on.

It stands before Flask and before whatever reads a body, so that a request beyond the
bound costs no more than its refusal. gunicorn has a few threads more than there are
slots (`SPARE`): they answer probes and scrapes, and refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from models.errors import GlassnetError

#: A WSGI application (PEP 3333).
Application: TypeAlias = Any
#: Where in the environment Flask finds why a request is refused before it is read.
REFUSAL = "glassnet.refusal"
#: Threads beyond the slots.
PROBE_THREADS = 4


class Refused(GlassnetError):
    """Why a request is not looked at; answered with its code and headers."""

    code: int
    #: For the metric.
    reason: str
    headers: dict[str, str]


class Overloaded(Refused):
    """As many requests as allowed are being answered."""

    code = 503
    reason = "overload"
    headers = {"Retry-After": "1"}  # noqa: RUF012


class ConcurrencyLimit:
    """A WSGI application that lets as many requests at once into another.

    Those beyond go to `refuse`, with the reason in their environment; paths that are
    `open` need no slot.
    """

    def __init__(
        self, app: Application, refuse: Application, most: int, open: Iterable[str]
    ) -> None:
        self._app, self._refuse = app, refuse
        self._open = frozenset(open)
        self._overloaded = Overloaded(
            f"{most} requests are being answered, and this process takes no more at "
            "once (GLASSNET_THREADS); ask again"
        )
        # To take an item from a list, or to give it back, is one step of the
        # interpreter: no lock is needed.
        self._slots = [None] * most

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, or refuse it."""
        if environ["PATH_INFO"] in self._open:
            return self._app(environ, start_response)
        try:
            self._slots.pop()
        except IndexError:
            environ[REFUSAL] = self._overloaded
            return self._refuse(environ, start_response)
        try:
            return self._app(environ, start_response)
        finally:
            self._slots.append(None)

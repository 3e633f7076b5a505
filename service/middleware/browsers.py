"""Limits for browsers: names of this server (Host), and pages of other sites (CORS).

A page of another site may read replies only from the origins of GLASSNET_CORS_ORIGINS.
With GLASSNET_ALLOWED_HOSTS a request for another name is rejected: a page of
another site can point its own name at this server's address (DNS rebinding), and to the
browser it then is the same site.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from service.middleware.rejection import REJECTION, Application, Rejected

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-Id",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "X-Model-Version, X-Request-Id, Server-Timing, Retry-After"


class UnknownHost(Rejected):
    """The request is for a host that this server is not."""

    code = 421
    reason = "host"
    headers: dict[str, str] = {}  # noqa: RUF012


class BrowserMiddleware:
    """A WSGI application: requests that are allowed go to `app`, others to `reject`."""

    def __init__(
        self,
        app: Application,
        reject: Application,
        hosts: str,
        origins: str,
        public_paths: Collection[str] = (),
    ) -> None:
        """Take comma-separated hosts and origins; public paths are for any host."""
        self._app, self._reject, self._public = app, reject, public_paths
        self._hosts, self._origins = names(hosts), names(origins)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, or reject it."""
        origin = environ.get("HTTP_ORIGIN", "")
        if {origin.lower(), "*"} & self._origins:
            if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
                headers = {"Access-Control-Allow-Origin": origin, **_PREFLIGHT}
                start_response("204 No Content", [*headers.items(), ("Vary", "Origin")])
                return []
            start_response = partial(_allow, origin, start_response)
        host = environ.get("HTTP_HOST", "").lower()
        allowed = {host, host.rpartition(":")[0]} & self._hosts
        if self._hosts and not allowed and environ["PATH_INFO"] not in self._public:
            environ[REJECTION] = UnknownHost(
                "this server has another name (GLASSNET_ALLOWED_HOSTS)"
            )
            return self._reject(environ, start_response)
        return self._app(environ, start_response)


def names(setting: str) -> frozenset[str]:
    """Return the names of a comma-separated setting, in lower case."""
    return frozenset(
        filter(None, (name.strip().lower() for name in setting.split(",")))
    )


def _allow(
    origin: str,
    start_response: Callable[..., Any],
    status: str,
    headers: list[tuple[str, str]],
    *more: Any,
) -> Any:
    """Start a reply that a page of `origin` may read."""
    allowed = [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", _EXPOSED),
        ("Vary", "Origin"),
    ]
    return start_response(status, [*headers, *allowed], *more)

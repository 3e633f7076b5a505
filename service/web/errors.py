"""Every error, on every route, is `{"error": "one sentence"}` with the right code."""

from __future__ import annotations

import logging
from typing import TypeAlias

import msgspec
from flask import Flask
from werkzeug.exceptions import HTTPException

from models.errors import GlassnetError, InvalidInput, NotFound
from service.inference.model_server import LoadFailed, Unavailable
from service.middleware.rejection import Rejected, shortage
from service.web.request_context import current_request

log = logging.getLogger("glassnet.service")

JSON = "application/json"
#: Body, status and headers, for Flask and for `FastPath`.
Reply: TypeAlias = tuple[bytes, int, dict[str, str]]


class Unsupported(GlassnetError):
    """The content encoding or type is not supported."""


_CODES: dict[type[GlassnetError], int] = {
    InvalidInput: 400,
    LoadFailed: 400,
    NotFound: 404,
    Unsupported: 415,
    Unavailable: 503,
}


def reply(code: int, sentence: str, **headers: str) -> Reply:
    """Return an error reply."""
    body = msgspec.json.encode({"error": sentence})
    return body, code, {"Content-Type": JSON, **headers}


def install(app: Flask) -> None:
    """Make an app reply to every exception with `explained`."""
    app.register_error_handler(Exception, explained)


def explained(error: Exception) -> Reply:
    """Return the reply to an exception; unexpected ones are logged."""
    if isinstance(error, Rejected):
        return reply(error.code, str(error), **error.headers)
    if isinstance(error, HTTPException):
        return _http(error)
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return reply(code, str(error))
    trace_ids = current_request().trace_ids
    if lacking := shortage(error):
        log.error("request failed: %s", str(error) or lacking, extra=trace_ids)
        return explained(lacking)
    log.error("request failed", exc_info=error, extra=trace_ids)
    request_id = trace_ids["request_id"]
    return reply(500, f"internal error; see request {request_id} in the log")


def _http(error: HTTPException) -> Reply:
    code = error.code or 500
    if code == 400:  # of routing; views have errors of their own
        return reply(400, "the header Host or Upgrade does not fit this server")
    if code == 404:
        return reply(404, "unknown path; /openapi.json describes every path")
    if code == 405:
        allowed = ", ".join(sorted(error.valid_methods or ()))  # type: ignore[attr-defined]
        method = current_request().environ["REQUEST_METHOD"][:20]
        return reply(
            405, f"expected {allowed} for this path, found {method}", Allow=allowed
        )
    return reply(code, (error.description or error.name).rstrip("."))

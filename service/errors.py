"""Every error, on every route, is `{"error": "one sentence"}` with the right code."""

from __future__ import annotations

import logging

import msgspec
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from models.errors import GlassnetError, InvalidInput, NotFound
from service.admission import Refused
from service.engine import LoadFailed, Unavailable

log = logging.getLogger("glassnet.service")


class Unsupported(GlassnetError):
    """A content encoding or type the service does not read."""


_CODES: dict[type[GlassnetError], int] = {
    InvalidInput: 400,
    LoadFailed: 400,
    NotFound: 404,
    Unsupported: 415,
    Unavailable: 503,
}


def reply(code: int, sentence: str) -> Response:
    """Return the one error shape."""
    body = msgspec.json.encode({"error": sentence})
    return Response(body, code, mimetype="application/json")


def install(app: Flask) -> None:
    """Answer every exception of an app in that shape."""
    app.register_error_handler(GlassnetError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _ours(error: GlassnetError) -> Response:
    if isinstance(error, Refused):
        answer = reply(error.code, str(error))
        answer.headers.extend(error.headers)
        return answer
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return reply(code, str(error))
    return _unexpected(error)


def _http(error: HTTPException) -> Response:
    code = error.code or 500
    if code == 404:
        return reply(404, "there is no such route")
    if code == 405:
        allowed = ", ".join(sorted(error.valid_methods or ()))  # type: ignore[attr-defined]
        answer = reply(405, f"this route takes {allowed}, not {request.method[:20]}")
        answer.headers["Allow"] = allowed
        return answer
    if code == 413:
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return reply(
            413, f"the body is larger than {limit} bytes (GLASSNET_MAX_BODY_BYTES)"
        )
    return reply(code, (error.description or error.name).rstrip("."))


def _unexpected(error: Exception) -> Response:
    about = {"request_id": g.request_id, **g.trace}
    log.error("request failed", exc_info=error, extra=about)
    return reply(500, f"internal error; the log has it as request {g.request_id}")

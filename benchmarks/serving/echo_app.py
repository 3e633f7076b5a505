"""The floor: gunicorn alone, which reads the body and answers a few bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

ANSWER = b'{"predictions":[0.5]}'


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    headers = [("Content-Type", "application/json"), ("Content-Length", "21")]
    start_response("200 OK", headers)
    return [ANSWER]

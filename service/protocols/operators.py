"""Routes for operators: the metrics, and an index at `/`."""

from __future__ import annotations

from flask import Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.monitoring.metrics import VERSION
from service.protocols.http import answer
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import TEXT, Routes

routes = Routes()


@routes.get("/metrics", probe=True, reply=TEXT)
def metrics() -> Response:
    """Return the metrics of all workers."""
    text = model_server().metrics.exposition()
    return Response(text, content_type=CONTENT_TYPE_LATEST)


@routes.get("/")
def index() -> Reply:
    """Return the version of the service, and where its models are."""
    return answer(
        {
            "status": "alive",
            "name": "glassnet",
            "version": VERSION,
            "models": "/v1/models",
        }
    )

"""Routes for operators: the metrics, and an index at `/`."""

from __future__ import annotations

from flask import Response

from service.monitoring.metrics import VERSION
from service.protocols.http import answer
from service.web.errors import Reply
from service.web.request_context import current_request, model_server
from service.web.routes import TEXT, Routes

routes = Routes()


@routes.get("/metrics", probe=True, reply=TEXT)
def metrics() -> Response:
    """Return the metrics of all workers, in OpenMetrics if the request accepts it."""
    accept = current_request().header("Accept") or ""
    text, content_type = model_server().metrics.exposition(accept)
    return Response(text, content_type=content_type)


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

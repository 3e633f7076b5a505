"""What operators read: the metrics, and a first page that says where things are."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.errors import Reply
from service.metrics import VERSION
from service.protocols.http import answer, engine

routes = Blueprint("operators", __name__)


@routes.get("/metrics")
def metrics() -> Response:
    """Return the metrics of all workers."""
    text = engine().metrics.exposition()
    return Response(text, content_type=CONTENT_TYPE_LATEST)


@routes.get("/")
def index() -> Reply:
    """Say that it lives, and where its models are."""
    models = {name: f"/v1/models/{name}" for name in engine().registry.catalogue}
    return answer(
        {"status": "alive", "name": "glassnet", "version": VERSION, "models": models}
    )

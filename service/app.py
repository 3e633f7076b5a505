"""The Flask application: routes, what they share, and the measuring of each request."""

from __future__ import annotations

import logging
import os
import re
import time

from flask import Flask, Response, g, request

from models.store import Store
from service import errors
from service.console import pages
from service.engine import Engine, tell
from service.inference import Inference
from service.metrics import METHODS, Metrics
from service.protocols import (
    explaining,
    invocations,
    openinference,
    operators,
    tfserving,
)
from service.protocols.http import compress
from service.registry import Registry
from service.settings import Settings, from_environment

access = logging.getLogger("glassnet.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: Probes, scrapes and looks are not traffic: counted, they would hide its errors.
UNCOUNTED = frozenset(
    {
        "operators.metrics",
        "openinference.live",
        "openinference.ready",
        "invocations.ping",
        "console.state",
    }
)


def build(settings: Settings | None = None) -> Flask:
    """Make the application and load the store's models.

    Settings come from the environment when none are given.
    """
    settings = settings or from_environment(os.environ)
    app = Flask("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False
    metrics = Metrics()
    store = Store(settings.directory, settings.signing_key_file)
    registry = Registry(store, settings.keep_versions, observe=tell)
    app.extensions["glassnet"] = Engine(
        registry,
        metrics,
        Inference(metrics, settings.max_rows),
        settings.default_model,
    )
    # First, since Vertex AI may name any path.
    app.register_blueprint(invocations.routes(settings))
    if settings.console:  # before what else answers `/`
        app.register_blueprint(pages.routes)
    for dialect in (tfserving, explaining, openinference, operators):
        app.register_blueprint(dialect.routes)
    errors.install(app)
    _measure(app, metrics, settings.access_log)
    app.after_request(compress)
    registry.refresh()
    return app


def _measure(app: Flask, metrics: Metrics, access_log: bool) -> None:
    """Give every request an id, and count, time and log it."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        g.started = time.perf_counter()
        metrics.in_progress.inc()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        metrics.in_progress.dec()
        response.headers["X-Request-Id"] = g.request_id
        route = request.url_rule.rule if request.url_rule else "unmatched"
        if request.endpoint in UNCOUNTED:
            return response
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(route, method, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if access_log:
            access.info(
                "%s %s %s",
                method,
                route,
                response.status_code,
                extra={
                    "request_id": g.request_id,
                    "method": method,
                    "route": route,
                    "status": response.status_code,
                    "milliseconds": round(seconds * 1e3, 3),
                    "client": request.remote_addr,
                    **g.get("about", {}),
                },
            )
        return response

"""The Flask application: routes, what they share, and the measuring of each request."""

from __future__ import annotations

import logging
import os
import re
import time

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue

from models.store import Store
from service import errors
from service.comparison import Comparisons
from service.drift import Drift
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
from service.registry import Loaded, Registry
from service.settings import Settings, from_environment

access = logging.getLogger("glassnet.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: Probes and scrapes are not traffic: counted, they would hide its errors.
UNCOUNTED = frozenset(
    {
        "operators.metrics",
        "openinference.live",
        "openinference.ready",
        "invocations.ping",
    }
)


class Application(Flask):
    """Answers with production what a candidate in its place does not answer."""

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view of a request; again, for production, if a candidate failed."""
        try:
            return super().dispatch_request()
        except Exception:
            chosen: Loaded | None = g.get("chosen")
            if chosen is None or chosen.trial is None:
                raise
            g.instead = chosen.trial.fallback(chosen)
            if g.instead is None:
                raise
            answered = super().dispatch_request()
            # Else the request is at fault, and not the candidate.
            metrics: Metrics = self.extensions["glassnet"].metrics
            metrics.comparison.failed(chosen, "fallback")
            return answered


def build(settings: Settings | None = None) -> Flask:
    """Make the application and load the store's models.

    Settings come from the environment when none are given.
    """
    settings = settings or from_environment(os.environ)
    app = Application("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False
    metrics = Metrics()
    store = Store(settings.directory, settings.signing_key_file)
    registry = Registry(store, settings.keep_versions, observe=tell)
    app.extensions["glassnet"] = Engine(
        registry,
        metrics,
        Inference(
            metrics,
            settings.max_rows,
            Drift(settings.drift_seconds),
            Comparisons(metrics.comparison),
        ),
        settings.default_model,
    )
    # First, since Vertex AI may name any path.
    app.register_blueprint(invocations.routes(settings))
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

"""The Flask application: routes, what they share, and the measuring of each request."""

from __future__ import annotations

import logging
import os
import re
import time

from flask import Flask, Response, g, request

from models.store import Store
from service import errors
from service.admission import REFUSAL, Admission, Application
from service.auth import Access, Door
from service.engine import Engine, tell
from service.inference import Answered, Inference
from service.metrics import METHODS, Metrics
from service.payloads import PayloadLog
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
from service.tracing import trace

access = logging.getLogger("glassnet.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
#: What answers whoever asks and however much there is to do; Vertex AI names another.
OPEN = ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/metrics")
#: Probes and scrapes are not traffic: counted, they would hide its errors.
UNCOUNTED = frozenset(
    {
        "operators.metrics",
        "openinference.live",
        "openinference.ready",
        "invocations.ping",
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
    access = Access(settings.token_file, settings.admin_token_file)
    app.extensions["glassnet"] = Engine(
        registry,
        metrics,
        Inference(metrics, settings.max_rows),
        settings.default_model,
        access,
    )
    # First, since Vertex AI may name any path.
    app.register_blueprint(invocations.routes(settings))
    for dialect in (tfserving, explaining, openinference, operators):
        app.register_blueprint(dialect.routes)
    errors.install(app)
    _measure(app, settings)
    app.after_request(compress)
    _guard(app, access, settings)
    registry.refresh()
    return app


def _guard(app: Flask, access: Access, settings: Settings) -> None:
    """Put before Flask what refuses a request unread: first who asks, then how many."""
    flask = app.wsgi_app
    open = (*OPEN, settings.aip_health_route)
    guarded: Application = Admission(flask, flask, settings.threads, open)
    if access.ask is not None:
        guarded = Door(guarded, flask, access, open)
    app.wsgi_app = guarded  # type: ignore[method-assign]


def _measure(app: Flask, settings: Settings) -> None:
    """Give every request an id, and count, time and log it."""
    engine: Engine = app.extensions["glassnet"]
    metrics = engine.metrics
    redacted = filter(None, map(str.strip, settings.payload_redact.split(",")))
    log_payload = PayloadLog(settings.payload_share, frozenset(redacted))

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        g.trace = trace(request.headers.get("traceparent"))
        g.started = time.perf_counter()
        metrics.in_progress.inc()
        if refusal := request.environ.get(REFUSAL):
            metrics.refused.labels(refusal.reason).inc()
            raise refusal

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        metrics.in_progress.dec()
        response.headers["X-Request-Id"] = g.request_id
        if done := engine.inference.last():
            response.headers["Server-Timing"] = server_timing(done)
            if settings.payload_share:
                log_payload(done, {"request_id": g.request_id, **g.trace})
        route = request.url_rule.rule if request.url_rule else "unmatched"
        if request.endpoint in UNCOUNTED:
            return response
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(route, method, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if settings.access_log:
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
                    **g.trace,
                    **g.get("about", {}),
                },
            )
        return response


def server_timing(done: Answered) -> str:
    """Return where the time of an answer went, in milliseconds (Server-Timing)."""
    decode, infer = done.decoded - done.started, done.predicted - done.decoded
    encode = time.perf_counter() - done.predicted
    return (
        f"decode;dur={decode * 1e3:.3f}, infer;dur={infer * 1e3:.3f}, "
        f"encode;dur={encode * 1e3:.3f}"
    )

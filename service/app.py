"""The Flask application: routes, what they share, and the measuring of each request."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Never

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.routing import BaseConverter, Rule

from models.storage.factory import open_store
from service.console import pages
from service.inference.inference import Inference
from service.inference.model_server import ModelServer, log_event
from service.inference.shadow import ShadowComparer
from service.middleware.auth import Access, AuthMiddleware
from service.middleware.concurrency_limit import EXEMPT_PATHS, REFUSAL, ConcurrencyLimit
from service.middleware.concurrency_limit import Application as Wsgi
from service.monitoring.drift import Drift
from service.monitoring.metrics import Metrics
from service.monitoring.payload_log import PayloadLog, columns
from service.protocols import (
    explaining,
    invocations,
    openapi,
    openinference,
    operators,
    tfserving,
)
from service.registry.registry import Registry
from service.settings import Settings, from_environment
from service.web import errors
from service.web.body import compressed
from service.web.fast_path import FastPath
from service.web.request_context import RequestContext, current_request

_LOGGED_FROM = {"all": 0, "errors": 400, "none": 1000}
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


def _no_url(rule: Rule, **values: object) -> Never:
    raise RuntimeError(f"no URL is made of {rule.rule} or any other route")


class Route(Rule):
    """A route that is only matched."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., Never]:
        # What would make a URL of it is compiled Python: 30 of the 65 ms that it takes
        # to build the app.
        return _no_url


class Application(Flask):
    """Answers with production what a candidate in its place does not answer."""

    url_rule_class = Route

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view of a request; again, for production, if a candidate failed."""
        return current_request().answered(super().dispatch_request)


class Name(BaseConverter):
    """A <name> in a route: without a colon, after which there is a verb."""

    regex = "[^/:]+"


class Verb(BaseConverter):
    """A name and a verb after it, where no other route has taken that."""

    regex = "[^/:]+:[^/]*"


def build(settings: Settings | None = None) -> Flask:
    """Make the application and load the store's models.

    Settings come from the environment when none are given.
    """
    settings = settings or from_environment(os.environ)
    app = Application("service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.converters |= {"default": Name, "verb": Verb}
    metrics = Metrics()
    store = open_store(settings.directory, settings.signing_key_file)
    registry = Registry(store, settings.keep_versions, observe=log_event)
    open = (
        *EXEMPT_PATHS,
        settings.aip_health_route,
        *(pages.OPEN if settings.console else ()),
    )
    access = Access(settings.token_file, settings.admin_token_file, open)
    engine = ModelServer(
        registry,
        metrics,
        Inference(
            metrics,
            settings.max_rows,
            Drift(settings.drift_seconds),
            ShadowComparer(metrics.comparison),
        ),
        settings.default_model,
        settings.max_body_bytes,
        _LOGGED_FROM[settings.access_log],
        access,
        PayloadLog(settings.payload_share, columns(settings.payload_redact)),
    )
    app.extensions["glassnet"] = engine
    # First, since Vertex AI may name any path.
    app.register_blueprint(invocations.routes(settings))
    if settings.console:  # before what else answers `/`
        app.register_blueprint(pages.routes)
    for dialect in (tfserving, explaining, openinference, operators, openapi):
        app.register_blueprint(dialect.routes)
    errors.install(app)
    _measure(app, engine)
    _guard(app, engine, settings)
    registry.refresh()
    return app


def _guard(app: Flask, engine: ModelServer, settings: Settings) -> None:
    """Put before Flask what refuses a request unread, and what needs no Flask."""
    flask = app.wsgi_app
    express = FastPath(app, flask, engine)
    guarded: Wsgi = ConcurrencyLimit(
        express, flask, settings.threads, engine.access.open
    )
    if engine.access.ask is not None:
        guarded = AuthMiddleware(guarded, flask, engine.access)
    app.wsgi_app = guarded  # type: ignore[method-assign]


def _measure(app: Flask, engine: ModelServer) -> None:
    """Give every request that Flask brings an id, and count, time and log it."""

    @app.before_request
    def begin() -> None:
        RequestContext(engine, request.environ)
        if refusal := request.environ.get(REFUSAL):
            engine.metrics.refused.labels(refusal.reason).inc()
            raise refusal

    @app.after_request
    def end(response: Response) -> Response:
        if not response.direct_passthrough:
            _compress(response)
        route = request.url_rule.rule if request.url_rule else "unmatched"
        counted = request.endpoint not in UNCOUNTED
        headers = current_request().end(
            route if counted else None, response.status_code
        )
        response.headers.extend(headers)
        return response


def _compress(response: Response) -> None:
    given = response.get_data()
    content, _, headers = compressed((given, response.status_code, {}))
    if content is not given:
        response.set_data(content)
    response.headers.extend(headers)

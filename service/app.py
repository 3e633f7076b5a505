"""Build the Flask application: its routes, what they share, and the middleware."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any, Never

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.routing import BaseConverter, Rule

from models.storage.cache import Cache
from models.storage.factory import open_store
from service import protocols
from service.console import pages
from service.inference.inference import Inference
from service.inference.model_server import ModelServer, log_event
from service.inference.shadow import ShadowComparer
from service.middleware.auth import Access, AuthMiddleware
from service.middleware.browsers import BrowserMiddleware
from service.middleware.rejection import REJECTION
from service.middleware.rejection import Application as Wsgi
from service.monitoring.drift import Drift
from service.monitoring.metrics import Metrics
from service.monitoring.payload_files import PayloadFiles
from service.monitoring.payload_log import PayloadLog, columns
from service.registry.registry import Registry
from service.settings import Settings, from_environment
from service.web import errors
from service.web.body import compressed
from service.web.fast_path import FastPath
from service.web.request_context import RequestContext, current_request
from service.web.routes import Route, View

_LOGGED_FROM = {"all": 0, "errors": 400, "none": 1000}


def _no_url(rule: Rule, **values: object) -> Never:
    raise RuntimeError(f"no URL is made of {rule.rule} or any other route")


class RouteRule(Rule):
    """A werkzeug rule with its `Route`; it matches paths and builds none."""

    def __init__(self, *args: Any, route: Route, **options: Any) -> None:
        super().__init__(*args, **options)
        self.route = route

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., Never]:
        # No URLs are built. Compiling their builders took 30 of the 65 ms that it takes
        # to build the app.
        return _no_url


class Application(Flask):
    """Flask, with production as the fallback of a canary that fails."""

    url_rule_class = RouteRule  # type: ignore[assignment]

    def dispatch_request(self) -> ResponseReturnValue:
        """Call the view of a request, with the fallback."""
        return current_request().call_with_fallback(super().dispatch_request)


class Name(BaseConverter):
    """A <name> in a route; a colon ends it, since a verb follows."""

    regex = "[^/:]+"


class Verb(BaseConverter):
    """A name and a verb that no other route knows."""

    regex = "[^/:]+:[^/]*"


def build(settings: Settings | None = None) -> Flask:
    """Make the application and load the store's models.

    Without `settings` they are read from the environment. Raises ConfigError, and
    OSError if a file of tokens cannot be read.
    """
    settings = settings or from_environment(os.environ)
    app = Application("service", static_folder=None)
    app.url_map.strict_slashes = False
    # A redirect would name the host that the client claims.
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"default": Name, "verb": Verb}
    metrics = Metrics()
    folder = Path(settings.store_cache).expanduser()
    cache = Cache(folder, settings.store_cache_bytes)
    store = open_store(settings.directory, settings.signing_key_file, cache)
    registry = Registry(store, settings.keep_versions, observe=log_event)
    # The console first: it answers `/` before the dialects do.
    routes = [*(pages.routes if settings.console else ()), *protocols.discovered()]
    access = Access(
        settings.token_file,
        settings.admin_token_file,
        (path for route in routes for path in _public_paths(route, settings)),
    )
    model_server = ModelServer(
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
        _payload_log(settings),
        settings.otlp_endpoint,
    )
    app.extensions["glassnet"] = model_server
    # First those whose path Vertex AI may name: it may be any path.
    for route in sorted(routes, key=lambda route: not route.setting):
        _add(app, route, settings)
    errors.install(app)
    _measure(app, model_server)
    _guard(app, model_server, settings)
    registry.refresh()
    return app


def _payload_log(settings: Settings) -> PayloadLog:
    redacted, files = columns(settings.payload_redact), None
    if settings.payload_folder and settings.payload_share:
        files = PayloadFiles(
            settings.payload_folder, redacted, settings.payload_seconds
        )
    return PayloadLog(settings.payload_share, redacted, files)


def _paths(route: Route, settings: Settings) -> Iterator[str]:
    """Yield the paths of a route, with the one that a setting may name."""
    yield from route.paths
    if route.setting and (path := getattr(settings, route.setting)):
        yield path


def _public_paths(route: Route, settings: Settings) -> Iterator[str]:
    yield from _paths(route, settings) if route.probe else route.public


def _add(app: Flask, route: Route, settings: Settings) -> None:
    """Have Flask answer a route."""
    view = _for_administrators(route.view) if route.admin else route.view
    for path in _paths(route, settings):
        app.add_url_rule(
            path, route.endpoint, view, methods=[route.method], route=route
        )


def _for_administrators(view: View) -> View:
    @wraps(view)
    def checked(**names: str) -> Any:
        request = current_request()
        request.model_server.access.require_admin(request.header("Authorization"))
        return view(**names)

    return checked


def _guard(app: Flask, model_server: ModelServer, settings: Settings) -> None:
    """Put the token check and the fast path before Flask."""
    flask = app.wsgi_app
    guarded: Wsgi = FastPath(app, flask, model_server)
    if model_server.access.predict_tokens is not None:
        guarded = AuthMiddleware(guarded, flask, model_server.access)
    hosts, origins = settings.allowed_hosts, settings.cors_origins
    if hosts or origins:
        public = model_server.access.public_paths
        guarded = BrowserMiddleware(guarded, flask, hosts, origins, public)
    app.wsgi_app = partial(_without_slash, guarded)  # type: ignore[method-assign]


def _without_slash(app: Wsgi, environ: dict[str, Any], start_response: Any) -> Any:
    """Call an application with a path that has no slash at its end."""
    path = environ["PATH_INFO"]
    if path[1:].endswith("/") or not path:
        environ["PATH_INFO"] = path.rstrip("/") or "/"
    return app(environ, start_response)


def _measure(app: Flask, model_server: ModelServer) -> None:
    """Give every request of Flask's an id, and count, time and log it."""

    @app.before_request
    def begin() -> None:
        RequestContext(model_server, request.environ)
        if refusal := request.environ.get(REJECTION):
            model_server.metrics.refused.labels(refusal.reason).inc()
            raise refusal

    @app.after_request
    def end(response: Response) -> Response:
        if not response.direct_passthrough:
            _compress(response)
        rule: Any = request.url_rule
        name: str | None = rule.rule if rule else "unmatched"
        if rule and (rule.route.probe or not rule.route.counted):
            name = None
        headers = current_request().end(name, response.status_code)
        response.headers.extend(headers)
        return response


def _compress(response: Response) -> None:
    given = response.get_data()
    content, _, headers = compressed((given, response.status_code, {}))
    if content is not given:
        response.set_data(content)
    response.headers.extend(headers)

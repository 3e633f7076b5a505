"""The busiest routes past Flask: the same functions at a fraction of the cost.

Flask takes longer to find, dispatch and wrap a request than a small network to answer
it. For the routes named here the function that Flask would call is called by the
request's path alone; whatever is not plain goes to Flask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, TypeAlias, cast

from flask import Flask

from service.inference.model_server import ModelServer
from service.middleware.concurrency_limit import Application
from service.web import errors
from service.web.body import compressed
from service.web.errors import Reply
from service.web.request_context import RequestContext

#: Functions that ask nothing of Flask.
ENDPOINTS = ("tfserving.predict", "openinference.infer")
#: Characters of a path that is looked for: no name and version needs more, and those
#: that were looked for last are kept.
LONGEST = 256
_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_Found: TypeAlias = tuple[str, Callable[..., Reply], dict[str, str]]


class FastPath:
    """A WSGI application in front of Flask's."""

    def __init__(self, app: Flask, flask: Application, engine: ModelServer) -> None:
        self._flask, self._engine = flask, engine
        self._routes = [
            (rule.rule, _pattern(rule.rule), _function(app, rule.endpoint))
            for rule in app.url_map.iter_rules()
            if rule.endpoint in ENDPOINTS
        ]
        self._find = lru_cache(1024)(self._look)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request of those routes, or have Flask answer it."""
        path = environ["PATH_INFO"]
        found = self._find(path) if len(path) <= LONGEST else None
        if found is None or environ["REQUEST_METHOD"] != "POST":
            return self._flask(environ, start_response)
        route, function, names = found
        call = RequestContext(self._engine, environ)
        try:
            content, code, headers = compressed(
                call.answered(partial(function, **names))
            )
        except Exception as error:
            content, code, headers = errors.explained(error)
        headers["Content-Length"] = str(len(content))
        headers |= call.end(route, code)
        start_response(_STATUS[code], list(headers.items()))
        return [content]

    def _look(self, path: str) -> _Found | None:
        if path.isascii():  # what is not, Flask decodes
            for route, pattern, function in self._routes:
                if match := pattern.fullmatch(path):
                    return route, function, match.groupdict()
        return None


def _function(app: Flask, endpoint: str) -> Callable[..., Reply]:
    return cast(Callable[..., Reply], app.view_functions[endpoint])


def _pattern(rule: str) -> re.Pattern[str]:
    """Return what a rule of Flask's matches."""
    return re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/:]+)", rule))

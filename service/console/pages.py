"""The console's routes: its files, which hold nothing secret, and its data.

GET /                                  the page, for a browser
GET /console/FILE                      its style and its scripts
GET /console/state                     every model and what was measured of it
GET /console/models/M/versions/V       what a person needs to try a version
GET /console/reports/M/V               the report its trainer wrote

What is in OPEN tells of no model, and a door can let everybody have it; the rest is
asked with the token that asks for predictions, which the page takes and sends.
"""

from __future__ import annotations

import contextlib
import hashlib
from importlib import resources
from typing import NamedTuple

from flask import Blueprint, Response, make_response, request

from models.errors import ArtefactCorrupt, NotFound
from models.storage.base import REPORT
from service.console.state import standing, trial
from service.protocols import operators
from service.protocols.http import answer, find
from service.web.errors import Reply
from service.web.request_context import model_server

routes = Blueprint("console", __name__)

#: Nothing but our own files, no script or style in the page itself, no text that
#: becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
#: A document on its own: its pictures and styles stand in it, and scripts never run.
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class File(NamedTuple):
    """One file of the page, in memory."""

    content: bytes
    type: str
    etag: str


def _read() -> dict[str, File]:
    folder = resources.files("service.console").joinpath("static")
    found = {}
    for file in folder.iterdir():
        content, kind = file.read_bytes(), file.name.rpartition(".")[2]
        etag = hashlib.sha256(content).hexdigest()[:16]
        found[file.name] = File(content, TYPES[kind], etag)
    return found


FILES = _read()
#: Paths of the page itself.
OPEN = ("/", *(f"/console/{name}" for name in sorted(FILES)))


@routes.get("/")
def page() -> Response:
    """Show the console to a browser; tell a program what the service is."""
    wanted = request.accept_mimetypes.best_match(("application/json", "text/html"))
    shown = wanted == "text/html"
    reply = file("index.html") if shown else make_response(operators.index())
    reply.vary.add("Accept")
    return reply


@routes.get("/console/<name>")
def file(name: str) -> Response:
    """Return a file of the console."""
    if name not in FILES:
        raise NotFound("the console has no such file")
    found = FILES[name]
    reply = Response(found.content, content_type=found.type)
    reply.set_etag(found.etag)
    reply.headers["Cache-Control"] = "no-cache"  # asked for each time, sent once
    reply.make_conditional(request)
    return _guarded(reply, POLICY)


@routes.get("/console/state")
def state() -> Reply:
    """Say which models are live, and what all workers measured of them."""
    return answer(standing(model_server()), Cache_Control="no-store")


@routes.get("/console/models/<name>/versions/<version>")
def about(name: str, version: str) -> Reply:
    """Say what a person needs to try a version: its form, and what is inside."""
    return answer(trial(model_server(), find(name, version)), Cache_Control="no-store")


@routes.get("/console/reports/<name>/<version>")
def report(name: str, version: str) -> Response:
    """Return the report of a version, in which no script runs."""
    loaded = find(name, version)
    content = None
    with contextlib.suppress(OSError, ArtefactCorrupt):
        store = model_server().registry.store
        content = store.read_attachment(loaded.name, loaded.version, REPORT)
    if content is None:
        raise NotFound(f"model '{name}' version {loaded.version} has no report")
    reply = Response(content, content_type=TYPES["html"])
    reply.headers["Cache-Control"] = "no-store"
    return _guarded(reply, REPORT_POLICY)


def _guarded(reply: Response, policy: str) -> Response:
    reply.headers["Content-Security-Policy"] = policy
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.headers["Referrer-Policy"] = "no-referrer"
    reply.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return reply

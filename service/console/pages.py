"""The console's routes: its public files, and its data.

GET /                                  the page, for a browser
GET /console/FILE                      its style and its scripts
GET /console/state                     every model, with its measurements
GET /console/history                   the counts of the last quarter of an hour
GET /console/models/M/versions/V       the form of a version, and its layers
GET /console/models/M/versions/V/drift its columns, in training and in requests
GET /console/reports/M/V               its training report

The page and its files tell of no model and need no token. The rest needs one that may
ask for predictions; the page asks the user for it and sends it.
"""

from __future__ import annotations

import contextlib
import hashlib
from importlib import resources
from typing import NamedTuple

from flask import Response, make_response, request

from models.errors import ArtefactCorrupt, NotFound
from models.storage.base import REPORT
from service.console.state import drift_details, overview, version_details
from service.protocols import operators
from service.protocols.http import answer, find
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import ANY, LIST, Routes

routes = Routes()

#: Only our own files, no inline script or style, no text that becomes markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
#: A self-contained document with inline pictures and styles; scripts never run.
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


@routes.get("/", public=("/",), reply=ANY)
def page() -> Response:
    """Return the console to a browser, and the index in JSON to a program."""
    wanted = request.accept_mimetypes.best_match(("application/json", "text/html"))
    shown = wanted == "text/html"
    reply = file("index.html") if shown else make_response(operators.index())
    reply.vary.add("Accept")
    return reply


@routes.get(
    "/console/<name>",
    public=tuple(f"/console/{name}" for name in sorted(FILES)),
    reply=ANY,
    listed=False,
)
def file(name: str) -> Response:
    """Return a file of the console; raises NotFound for another."""
    if name not in FILES:
        raise NotFound("the console has no such file")
    found = FILES[name]
    reply = Response(found.content, content_type=found.type)
    reply.set_etag(found.etag)
    reply.headers["Cache-Control"] = "no-cache"  # revalidated each time, sent once
    reply.make_conditional(request)
    return _guarded(reply, POLICY)


@routes.get("/docs", public=("/docs",), reply=ANY, listed=False)
def docs() -> Response:
    """Return the page that shows the contract."""
    return file("docs.html")


@routes.get("/console/state", counted=False)
def state() -> Reply:
    """Return every model, with the measurements of all workers."""
    return answer(overview(model_server()), Cache_Control="no-store")


@routes.get("/console/history", counted=False, reply=LIST)
def history() -> Reply:
    """Return what this worker saw of all workers' counters, look by look."""
    return answer(model_server().history.looks(), Cache_Control="no-store")


@routes.get("/console/models/<name>/versions/<version>")
def about(name: str, version: str) -> Reply:
    """Return the form of a version, and its layers."""
    return answer(
        version_details(model_server(), find(name, version)), Cache_Control="no-store"
    )


@routes.get(
    "/console/models/<name>/versions/<version>/drift", counted=False, reply=LIST
)
def drift(name: str, version: str) -> Reply:
    """Return the shares of training and of requests in each bin, by column."""
    found = drift_details(model_server(), find(name, version))
    return answer(found, Cache_Control="no-store")


@routes.get("/console/reports/<name>/<version>", reply={"text/html": {}})
def report(name: str, version: str) -> Response:
    """Return the training report of a version; raises NotFound without one."""
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
    reply.headers["Referrer-Policy"] = "no-referrer"
    reply.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return reply

"""What the dialects share of HTTP: the body in, JSON out, the version a path means."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from flask import Response, current_app, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from models.errors import InvalidInput, VersionNotFound, nearest
from models.rows.json import parse, plain
from service.engine import Engine
from service.errors import Unsupported
from service.registry import Loaded

#: Encodings of a body, and what zlib calls them: with gzip's header, with its own.
_WINDOWS = {"gzip": 31, "deflate": 15}
#: Bytes of an answer: fewer fit one packet anyway.
WORTH_COMPRESSING = 1400


def engine() -> Engine:
    """Return what this application's routes share."""
    return cast(Engine, current_app.extensions["glassnet"])


def body() -> bytes:
    """Return the request's body, decompressed; too much of it raises 413.

    The content type is not asked: real clients send JSON under any, or none.
    """
    if "body" not in g:  # a second version may have to read it
        g.body = _body()
    content: bytes = g.body
    return content


def _body() -> bytes:
    encoding = (request.headers.get("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", *_WINDOWS):
        raise Unsupported(
            f"the body is compressed by '{encoding[:20]}', expected gzip or deflate"
        )
    limit: int = current_app.config["MAX_CONTENT_LENGTH"]
    raw = _raw(limit)
    return raw if encoding == "identity" else _decompressed(raw, encoding, limit)


def _raw(limit: int) -> bytes:
    length = request.content_length
    if length is not None and length > limit:
        raise RequestEntityTooLarge
    if length is None and "wsgi.input_terminated" not in request.environ:
        return b""
    # Werkzeug's own stream would cut a chunked body at the limit without a word.
    read = limit + 1 if length is None else length
    raw: bytes = request.environ["wsgi.input"].read(read)
    if len(raw) > limit:
        raise RequestEntityTooLarge
    return raw


def _decompressed(raw: bytes, encoding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(_WINDOWS[encoding])
    try:
        # One byte more than allowed is enough to know, however much it would become.
        content = stream.decompress(raw, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not {encoding}") from None
    if len(content) > limit:
        raise RequestEntityTooLarge
    if not stream.eof:
        raise InvalidInput(f"the {encoding} body ends before its data does")
    if stream.unused_data:
        raise InvalidInput(f"something follows the {encoding} body")
    return content


def compress(response: Response) -> Response:
    """Compress an answer that is worth it for a client that takes it."""
    length = response.content_length or 0
    if response.status_code != 200 or length < WORTH_COMPRESSING:
        return response
    response.vary.add("Accept-Encoding")
    encoding = request.accept_encodings.best_match((*_WINDOWS, "identity"))
    if encoding in _WINDOWS:
        content = zlib.compress(response.get_data(), 1, _WINDOWS[encoding])
        response.set_data(content)
        response.headers["Content-Encoding"] = encoding
    return response


def decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """Decode a request body; InvalidInput where its outline is not the dialect's."""
    if not raw:
        raise InvalidInput("the body is empty, expected a JSON object")
    try:
        return parse(decoder, raw)
    except msgspec.ValidationError as error:
        path = str(error).partition(" - at ")[2].strip("`").removeprefix("$.")
        where = f"{path}: " if path and path != "$" else ""
        raise InvalidInput(f"{where}{plain(error)}") from None


def misnamed(raw: bytes, expected: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a body with a key that is almost expected."""
    given = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return next(filter(None, (nearest(key[:80], expected) for key in given)), "")


def answer(content: Any, code: int = 200, **headers: str) -> Response:
    """Return JSON; a number that is not finite cannot get here (`Model.predict`)."""
    response = Response(msgspec.json.encode(content), code, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def find(name: str, version: str | None = None, label: str | None = None) -> Loaded:
    """Return the loaded version a path names, and note it for the log.

    Where it names none, a candidate may answer rows in production's place.
    """
    number = None
    if version is not None:
        if not (version.isascii() and version.isdigit()):
            raise VersionNotFound("a version is a whole number, such as 3")
        # Longer than any version, and than what int() takes without a fight.
        number = int(version[:18])
    registry = engine().registry
    if request.method == "POST" and number is None and label is None:
        loaded = g.get("instead") or registry.choose(name, g.request_id)
        g.chosen = loaded
    else:
        loaded = registry.find(name, number, label)
    g.about = {"model": loaded.name, "version": loaded.version}
    return loaded


def description(loaded: Loaded) -> dict[str, Any]:
    """Return what a person or a form needs to know of a version, for any dialect."""
    manifest = loaded.artefact.manifest
    inputs: dict[str, Any] = msgspec.to_builtins(manifest.inputs)
    for internal in ("center", "scale"):
        inputs.pop(internal, None)
    for column in inputs.get("columns", []):
        for internal in ("scaling", "varies", "has_time", "rare"):
            column.pop(internal, None)
    about = {
        "task": manifest.task,
        "target": manifest.target,
        "signature": inputs,
        "metrics": manifest.metrics,
        "sha256": loaded.artefact.sha256,
    }
    classes = getattr(manifest.output, "classes", None)
    return about if classes is None else {"classes": list(classes), **about}

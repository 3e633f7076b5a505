"""Request bodies in, and replies out, whatever the dialect."""

from __future__ import annotations

import zlib
from ssl import SSLWantReadError
from typing import Any

import msgspec
from werkzeug.datastructures import Accept
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.http import parse_accept_header

from models.codecs.json import parse, plain
from models.errors import InvalidInput
from service.web.errors import Reply, Unsupported
from service.web.request_context import current_request, model_server

#: Encodings of a body, and what zlib calls them: with gzip's header, with its own.
_WINDOWS = {"gzip": 31, "deflate": 15}


#: Bytes of an answer: fewer fit one packet anyway.
WORTH_COMPRESSING = 1400


def body() -> bytes:
    """Return the request's body, decompressed; too much of it raises 413.

    The content type is not asked: real clients send JSON under any, or none.
    """
    call = current_request()
    if call.body is None:  # a second version may have to read it
        call.body = _body()
    return call.body


def _body() -> bytes:
    encoding = (current_request().header("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", *_WINDOWS):
        raise Unsupported(
            f"the body is compressed by '{encoding[:20]}', expected gzip or deflate"
        )
    limit = model_server().max_body_bytes
    raw = _raw(current_request().environ, limit)
    return raw if encoding == "identity" else _decompressed(raw, encoding, limit)


def _raw(environ: dict[str, Any], limit: int) -> bytes:
    stated = environ.get("CONTENT_LENGTH", "")
    length = int(stated) if stated.isascii() and stated.isdigit() else None
    if length is not None and length > limit:
        raise RequestEntityTooLarge
    if length is None and "wsgi.input_terminated" not in environ:
        return b""
    # Werkzeug's own stream would cut a chunked body at the limit without a word.
    read = limit + 1 if length is None else length
    try:
        raw: bytes = environ["wsgi.input"].read(read)
    except (
        BlockingIOError,
        SSLWantReadError,
    ):  # the time limit of service/server/worker.py
        raise RequestTimeout(
            "the body did not go on within GLASSNET_READ_SECONDS"
        ) from None
    except Exception:  # the client has gone, or gunicorn does not understand its chunks
        raise InvalidInput("the body is not whole") from None
    if len(raw) > limit:
        raise RequestEntityTooLarge
    if length is not None and len(raw) < length:
        raise InvalidInput(f"the body ends after {len(raw)} of {length} bytes")
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


def compressed(reply: Reply) -> Reply:
    """Compress an answer that is worth it for a client that takes it."""
    content, code, headers = reply
    if code != 200 or len(content) < WORTH_COMPRESSING:
        return reply
    accepted = parse_accept_header(current_request().header("Accept-Encoding"), Accept)
    encoding = accepted.best_match((*_WINDOWS, "identity"))
    headers = {**headers, "Vary": "Accept-Encoding"}
    if encoding in _WINDOWS:
        content = zlib.compress(content, 1, _WINDOWS[encoding])
        headers["Content-Encoding"] = encoding
    return content, code, headers


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

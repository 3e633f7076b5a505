"""Read request bodies and compress replies, for every dialect."""

from __future__ import annotations

import zlib
from ssl import SSLWantReadError
from typing import Any

import msgspec
from werkzeug.datastructures import Accept
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout
from werkzeug.http import parse_accept_header

from models.codecs.json import located, parse, plain
from models.errors import InvalidInput
from service.web.errors import Reply, Unsupported
from service.web.request_context import current_request, model_server

#: Content encodings, and the window bits by which zlib knows them.
_WINDOWS = {"gzip": 31, "deflate": 15}


#: Bytes of a reply; a smaller one fits one packet anyway.
WORTH_COMPRESSING = 1400


def body() -> bytes:
    """Return the request's body, decompressed.

    Raises InvalidInput for a body that is not whole, RequestEntityTooLarge (413) and
    RequestTimeout (408). The content type is ignored: real clients send JSON under any.
    """
    request = current_request()
    if request.body is None:  # kept, since the fallback reads it again
        request.body = _body()
    return request.body


def _body() -> bytes:
    encoding = (current_request().header("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", *_WINDOWS):
        raise Unsupported(
            f"unsupported Content-Encoding '{encoding[:20]}': expected gzip or deflate"
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
    # Werkzeug's own stream would silently cut a chunked body at the limit.
    read = limit + 1 if length is None else length
    try:
        raw: bytes = environ["wsgi.input"].read(read)
    except (
        BlockingIOError,
        SSLWantReadError,
    ):  # the time limit of service/server/worker.py
        raise RequestTimeout(
            "the body stalled for longer than GLASSNET_READ_SECONDS"
        ) from None
    except Exception:  # the client has gone, or its chunks are malformed
        raise InvalidInput("the body is incomplete") from None
    if len(raw) > limit:
        raise RequestEntityTooLarge
    if length is not None and len(raw) < length:
        raise InvalidInput(f"the body ends after {len(raw)} of {length} bytes")
    return raw


def _decompressed(raw: bytes, encoding: str, limit: int) -> bytes:
    stream = zlib.decompressobj(_WINDOWS[encoding])
    try:
        # One byte beyond the limit is enough to reject a body of any size.
        content = stream.decompress(raw, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not {encoding}") from None
    if len(content) > limit:
        raise RequestEntityTooLarge
    if not stream.eof:
        raise InvalidInput(f"the {encoding} body is cut off")
    if stream.unused_data:
        raise InvalidInput(f"there are bytes after the {encoding} body")
    return content


def compressed(reply: Reply) -> Reply:
    """Compress a large reply for a client that accepts it."""
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
    """Decode a request body; raises InvalidInput if it does not fit the type."""
    if not raw:
        raise InvalidInput("the body is empty, expected a JSON object")
    try:
        return parse(decoder, raw)
    except msgspec.ValidationError as error:
        path = located(error)[1].removeprefix(".")
        raise InvalidInput(f"{path}: " * bool(path) + plain(error)) from None

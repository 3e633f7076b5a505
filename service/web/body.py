"""Read request bodies and compress replies, for every dialect."""

from __future__ import annotations

import zlib
from codecs import BOM_UTF8
from typing import Any

import msgspec
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from models.codecs.blocks import nan_as_null
from models.codecs.json import located, parse, plain
from models.errors import InvalidInput
from service.middleware.rejection import TooLarge
from service.web.errors import Reply, Unsupported
from service.web.request_context import current_request, model_server

_GZIP, _ZLIB = 31, 15
#: Content encodings, and the window bits by which zlib knows them.
_WINDOWS = {"gzip": _GZIP, "deflate": _ZLIB, "x-gzip": _GZIP}
#: Members of a gzip body; a compressor with several threads writes one per block.
MAX_MEMBERS = 1_000
#: Compressed bytes that are decompressed at once.
_PIECE = 1 << 16
#: Larger bodies are answered one at a time, which bounds the memory of a worker.
LARGE = 1 << 20
#: Bytes of a reply; a smaller one fits one packet anyway.
WORTH_COMPRESSING = 1400


def body() -> bytes:
    """Return the request's body, decompressed.

    Raises InvalidInput for a body that is not whole, and TooLarge.
    The content type is ignored: real clients send JSON under any.
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
    if len(raw) > LARGE:
        current_request().take_turn()
    return raw if encoding == "identity" else _decompressed(raw, encoding, limit)


def _raw(environ: dict[str, Any], limit: int) -> bytes:
    """Return the body as it was sent, all of which the server has."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > limit:
        raise TooLarge(limit)
    raw: bytes = environ.pop("wsgi.input").read()
    if len(raw) < length:
        raise InvalidInput(f"the body ends after {len(raw)} of {length} bytes")
    return raw


def _decompressed(raw: bytes, encoding: str, limit: int) -> bytes:
    """Return a body of one deflate stream, zlib's or raw, or of gzip members."""
    window = _WINDOWS[encoding]
    if window == _ZLIB and not _is_zlib(raw):
        window = -_ZLIB
    request = current_request()
    stream, parts, size, members = zlib.decompressobj(window), [], 0, 1
    # Fed in pieces: `unused_data` would copy all that follows a member.
    for start in range(0, len(raw), _PIECE):
        piece = raw[start : start + _PIECE]
        while piece:
            if stream.eof:
                members += 1
                if window != _GZIP or members > MAX_MEMBERS:
                    raise InvalidInput(f"there are bytes after the {encoding} body")
                stream = zlib.decompressobj(window)
            # One byte beyond the limit is enough to reject a body of any size.
            most = limit if request.has_turn else min(limit, LARGE)
            try:
                parts.append(stream.decompress(piece, most + 1 - size))
            except zlib.error:
                if members > 1:
                    raise InvalidInput(
                        f"there are bytes after the {encoding} body"
                    ) from None
                raise InvalidInput(f"the body is not {encoding}") from None
            size += len(parts[-1])
            if size > limit:
                raise TooLarge(limit)
            if size > LARGE:
                request.take_turn()
            piece = stream.unused_data or stream.unconsumed_tail
    if not stream.eof:
        raise InvalidInput(f"the {encoding} body is cut off")
    return b"".join(parts)


def _is_zlib(raw: bytes) -> bool:
    """Tell whether bytes begin with zlib's header (RFC 1950), as deflate should."""
    return raw[:1] == b"\x78" and int.from_bytes(raw[:2], "big") % 31 == 0


def compressed(reply: Reply) -> Reply:
    """Compress a large reply for a client that accepts it."""
    content, code, headers = reply
    if code != 200 or len(content) < WORTH_COMPRESSING:
        return reply
    accepted = parse_accept_header(current_request().header("Accept-Encoding"), Accept)
    encoding = accepted.best_match((*_WINDOWS, "identity"))  # x-gzip is gzip
    headers = {**headers, "Vary": "Accept-Encoding"}
    if encoding in _WINDOWS:
        content = zlib.compress(content, 1, _WINDOWS[encoding])
        headers["Content-Encoding"] = encoding
    return content, code, headers


def decode(decoder: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    """Decode a request body, in which NaN is null.

    Raises InvalidInput if it does not fit the type.
    """
    raw = raw.removeprefix(BOM_UTF8)
    if not raw:
        raise InvalidInput("the body is empty, expected a JSON object")
    try:
        try:
            return parse(decoder, raw)
        except InvalidInput:
            # pandas, json.dumps and tritonclient write missing values so.
            if b"NaN" not in raw:
                raise
        return parse(decoder, nan_as_null(raw))
    except msgspec.ValidationError as error:
        path = located(error)[1].removeprefix(".")
        raise InvalidInput(f"{path}: " * bool(path) + plain(error)) from None

"""HTTP/1.1 in memory: bytes become a WSGI environment, and a reply becomes bytes.

gunicorn's parser decides what a head is, and what may follow the last chunk of a body.
The chunks themselves are taken as they arrive: its reader would need all of them.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from gunicorn.http import RequestParser, errors

from service.middleware.rejection import Incomplete, Rejected, TooLarge

#: Limits: bytes of a head, bytes of the line before a chunk, and chunks of a body.
MAX_HEAD_BYTES, MAX_LINE_BYTES, MAX_CHUNKS = 64 << 10, 8 << 10, 64 << 10
#: The line before a chunk (RFC 9112, section 7.1). Extensions are ignored.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[^\r\n]*)?\r\n")
#: Heads up to this size are parsed once.
REPEATED_BYTES = 2 << 10
#: Codes for the parser's errors; for others it is 400.
_CODES = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.InvalidHTTPVersion: 505,
}
_ENVIRON = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class Malformed(Rejected):
    """The parser refuses a request; the sentence quotes nothing of it."""

    reason = "malformed"

    def __init__(self, error: Exception) -> None:
        self.code = next(
            (code for kind, code in _CODES.items() if isinstance(error, kind)), 400
        )
        super().__init__(f"malformed request: {HTTPStatus(self.code).phrase.lower()}")


class Head(NamedTuple):
    """The head of a request."""

    environ: dict[str, Any]
    #: Bytes of the body; None if it comes in chunks.
    length: int | None
    keep: bool


def parse(cfg: Any, data: bytes) -> Head | None:
    """Parse a head; return None if it is not whole, and raise Malformed."""
    try:
        # No header is trusted by the client's address, so none is given.
        request = next(RequestParser(cfg, iter([data]), ""))
    except errors.NoMoreData as error:
        if len(data) > MAX_HEAD_BYTES:
            raise Malformed(errors.LimitRequestHeaders("head")) from error
        return None
    except Exception as error:
        raise Malformed(error) from error
    environ = {
        **_ENVIRON,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote_to_bytes(request.path or "/").decode("latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        "wsgi.url_scheme": request.scheme,
    }
    for name, value in request.headers:
        key = name.replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    chunked = environ.pop("HTTP_TRANSFER_ENCODING", None)
    length = None if chunked else int(environ.get("CONTENT_LENGTH", 0))
    tokens = environ.get("HTTP_CONNECTION", "").lower().split(",")
    keep = not (request.should_close() or "close" in map(str.strip, tokens))
    return Head(environ, length, keep)


_LAST_CHUNK = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
#: For clients that send the same head again and again.
parse_repeated = lru_cache(512)(parse)


class Received:
    """The requests of a client that are not answered yet."""

    #: The head of the request whose body arrives.
    head: Head | None = None

    def __init__(self, cfg: Any, max_body_bytes: int) -> None:
        self._cfg, self._limit = cfg, max_body_bytes
        self._bytes = bytearray()

    def __bool__(self) -> bool:
        return bool(self.head or self._bytes)

    def clear(self) -> None:
        """Forget all of it."""
        self.head = None
        self._bytes.clear()

    def add(self, data: bytes) -> None:
        """Add what has arrived."""
        self._bytes += data

    def has_head(self, ended: bool) -> bool:
        """Take the head if it is whole, or may be malformed since a line `ended`.

        Raises Malformed, and TooLarge for the body.
        """
        if self.head:
            return True
        size = self._bytes.find(b"\r\n\r\n") + 4
        if size >= 4:
            data = bytes(self._bytes[:size])
            self.head = (parse_repeated if size <= REPEATED_BYTES else parse)(
                self._cfg, data
            )
            del self._bytes[:size]
            self._body, self._chunks = bytearray(), 0
        elif ended or len(self._bytes) > MAX_HEAD_BYTES:
            parse(self._cfg, bytes(self._bytes))
        if self.head and (self.head.length or 0) > self._limit:
            raise TooLarge(self._limit)
        return self.head is not None

    def take(self) -> bytes | None:
        """Remove a request whose body is whole, and return that.

        Raises Malformed and TooLarge.
        """
        assert self.head
        length = self.head.length
        if length is None:
            return self._take_chunks()
        if len(self._bytes) < length:
            return None
        body = bytes(memoryview(self._bytes)[:length])
        del self._bytes[:length]
        return body

    def rest(self) -> bytes:
        """Return what there is of the body; raises Incomplete for one in chunks."""
        if self.head is None or self.head.length is None:
            raise Incomplete("the request is incomplete")
        return bytes(self._bytes)

    def _take_chunks(self) -> bytes | None:
        """Move the chunks that are whole to the body; return it after the last one."""
        while line := _CHUNK_LINE.match(self._bytes):
            size, start = int(line[1], 16), line.end()
            end = start + size
            if start > MAX_LINE_BYTES:
                raise Malformed(ValueError("line"))
            if len(self._body) + size > self._limit or self._chunks >= MAX_CHUNKS:
                raise TooLarge(self._limit)
            if not size:
                return self._end_chunks(start)
            if len(self._bytes) < end + 2:
                return None
            if self._bytes[end : end + 2] != b"\r\n":
                raise Malformed(ValueError("chunk"))
            self._body += memoryview(self._bytes)[start:end]
            self._chunks += 1
            del self._bytes[: end + 2]
        if b"\n" in self._bytes or len(self._bytes) > MAX_LINE_BYTES:
            raise Malformed(ValueError("line"))
        return None

    def _end_chunks(self, start: int) -> bytes | None:
        """Return the body if the trailers that start here are whole."""
        end = self._bytes.find(b"\r\n\r\n", start - 2) + 4
        if end < 4:
            if len(self._bytes) > MAX_HEAD_BYTES:
                raise Malformed(ValueError("trailers"))
            return None
        if end > start + 2:
            self._check(bytes(self._bytes[start:end]))
        del self._bytes[:end]
        return bytes(self._body)

    def _check(self, trailers: bytes) -> None:
        """Raise Malformed for trailers that gunicorn's parser refuses."""
        parser = RequestParser(self._cfg, iter([_LAST_CHUNK + trailers]), "")
        try:
            next(parser).body.read()
        except Exception as error:
            raise Malformed(error) from error


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def encode(
    status: str,
    headers: list[tuple[str, str]],
    body: bytes,
    keep: bool,
    environ: dict[str, Any],
) -> bytes:
    """Return the bytes of a reply; raises ValueError if a header has a line end."""
    lines = [f"HTTP/1.1 {status}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not any(name.lower() == "content-length" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    if not keep:
        lines.append("Connection: close")
    elif environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        lines.append("Connection: keep-alive")
    text = "\r\n".join(lines)
    if text.count("\r") + text.count("\n") != 2 * len(lines) - 2:
        raise ValueError("a header of the reply has a line end")
    body = b"" if environ.get("REQUEST_METHOD") == "HEAD" else body
    return b"%b\r\n\r\n%b" % (text.encode("latin-1"), body)


def call(application: Any, environ: dict[str, Any], keep: bool) -> bytes:
    """Return an application's reply."""
    started: list[Any] = []
    pieces = application(environ, lambda *given: started.append(given))
    try:
        body = b"".join(pieces)
    finally:
        if close := getattr(pieces, "close", None):
            close()
    status, headers, *_ = started[-1]
    return encode(status, headers, body, keep, environ)


def refusal(code: int, sentence: str) -> bytes:
    """Return the reply to what never became a request."""
    body = msgspec.json.encode({"error": sentence})
    status = f"{code} {HTTPStatus(code).phrase}"
    return encode(status, [("Content-Type", "application/json")], body, False, {})

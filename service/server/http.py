"""HTTP/1.1 in memory: bytes become a WSGI environment, and a reply becomes bytes.

gunicorn's parser alone decides what a request is.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from gunicorn.http import RequestParser, errors

#: Most bytes of a head, and most chunks of a body.
MAX_HEAD_BYTES, MAX_CHUNKS = 64 << 10, 64 << 10
#: Codes for the parser's errors; for others it is 400.
_CODES = {
    errors.LimitRequestLine: 414,
    errors.ExpectationFailed: 417,
    errors.LimitRequestHeaders: 431,
    errors.InvalidHTTPVersion: 505,
}
_REASONS = {
    400: "Bad Request",
    408: "Request Timeout",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    505: "HTTP Version Not Supported",
}
_WSGI = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class Head(NamedTuple):
    """The head of a request."""

    environ: dict[str, Any]
    #: Bytes of the head, and of the body; None if that comes in chunks.
    size: int
    length: int | None
    keep: bool


def parse(cfg: Any, data: bytes) -> Head:
    """Parse a head; raises what gunicorn's parser raises (NoMoreData: it is not whole).

    The client's address is not given, since no header is trusted by address.
    """
    request = next(RequestParser(cfg, iter([data]), ""))
    environ = {
        **_WSGI,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote_to_bytes(request.path or "/").decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.uri,
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
    return Head(environ, data.find(b"\r\n\r\n") + 4, length, keep)


#: For clients that send the same head again and again on a connection.
parse_repeated = lru_cache(512)(parse)


class Chunks:
    """Finds where a body in chunks may end; `read_chunked` then judges it."""

    def __init__(self, start: int) -> None:
        self.next, self.size, self.count = start, 0, 0

    def complete(self, received: bytearray) -> bool:
        """Tell whether to look no further: it is whole, or malformed."""
        while (end := received.find(b"\r\n", self.next)) >= 0:
            try:
                size = int(received[self.next : end].partition(b";")[0], 16)
            except ValueError:
                return True
            if size <= 0:
                return size < 0 or received.find(b"\r\n\r\n", end) >= 0
            self.next = end + size + 4
            self.size, self.count = self.size + size, self.count + 1
        return len(received) - self.next > MAX_HEAD_BYTES


def read_chunked(cfg: Any, data: bytes) -> tuple[bytes, bytes]:
    """Return a chunked request's body, and the bytes after the request.

    Raises what gunicorn's parser raises.
    """
    # In pieces, since it copies the rest of a piece for each chunk.
    pieces = iter([data[i : i + 8192] for i in range(0, len(data), 8192)])
    parser = RequestParser(cfg, pieces, "")
    body = next(parser).body.read()
    return body, parser.unreader.take_buffered() + b"".join(pieces)


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def encode(
    head: Head | None,
    status: str,
    headers: list[tuple[str, str]],
    body: bytes,
    keep: bool,
) -> bytes:
    """Return the bytes of a reply; raises ValueError if a header has a line end."""
    lines = [f"HTTP/1.1 {status}", f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not any(name.lower() == "content-length" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    if not keep:
        lines.append("Connection: close")
    elif head and head.environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        lines.append("Connection: keep-alive")
    text = "\r\n".join(lines)
    if text.count("\r") + text.count("\n") != 2 * len(lines) - 2:
        raise ValueError("a header of the reply has a line end")
    if head and head.environ["REQUEST_METHOD"] == "HEAD":
        body = b""
    return b"%b\r\n\r\n%b" % (text.encode("latin-1"), body)


def call(
    application: Any, environ: dict[str, Any]
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return an application's status, headers and body."""
    started: list[Any] = []
    pieces = application(environ, lambda *given: started.append(given))
    try:
        body = b"".join(pieces)
    finally:
        if close := getattr(pieces, "close", None):
            close()
    status, headers, *_ = started[-1]
    return status, headers, body


def refusal(code: int, sentence: str, keep: bool = False) -> bytes:
    """Return the reply to what never became a request."""
    body = msgspec.json.encode({"error": sentence})
    headers = [("Content-Type", "application/json")]
    return encode(None, f"{code} {_REASONS[code]}", headers, body, keep)


def malformed(error: Exception) -> tuple[int, str]:
    """Return the code and sentence for what the parser refuses."""
    code = next((c for kind, c in _CODES.items() if isinstance(error, kind)), 400)
    return code, f"malformed request: {_REASONS[code].lower()}"

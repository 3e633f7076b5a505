"""Requests from bytes in any pieces, as gunicorn's parser reads them, and replies."""

from __future__ import annotations

from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from service.middleware.rejection import Incomplete, Rejected, TooLarge
from service.server import http
from service.server.http import Malformed, Received, call, encode, refusal

LIMIT = 1 << 20


def received(*pieces: bytes, limit: int = LIMIT) -> tuple[Received, list[bytes]]:
    """Return what is left of some pieces, and the bodies of the whole requests."""
    buffer, bodies = Received(Config(), limit), []
    for piece in pieces:
        buffer.add(piece)
        while buffer and buffer.has_head(b"\n" in piece):
            body = buffer.take()
            if body is None:
                break
            buffer.head = None
            bodies.append(body)
    return buffer, bodies


def refused(*pieces: bytes, limit: int = LIMIT) -> Rejected:
    with pytest.raises(Rejected) as error:
        received(*pieces, limit=limit)
    return error.value


def post(*headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    head = "".join(f"{header}\r\n" for header in headers)
    return f"POST /a HTTP/{version}\r\n{head}\r\n".encode("latin-1") + body


@st.composite
def chunked(draw: st.DrawFn) -> bytes:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
    extension = draw(st.sampled_from(["", ";a=b", ';a="\\""']))
    trailer = draw(st.sampled_from(["", "X: y\r\n"]))
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension.encode(), p) for p in pieces)
    return body + f"0\r\n{trailer}\r\n".encode()


requests = st.one_of(
    st.binary(max_size=60).map(lambda b: post(f"Content-Length: {len(b)}", body=b)),
    chunked().map(lambda b: post("Transfer-Encoding: chunked", body=b)),
    st.just(post()),
)


@given(st.lists(requests, max_size=4), st.data())
@settings(deadline=None)
def test_however_requests_are_cut_they_are_what_gunicorn_reads(
    sent: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[i:j] for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    left, bodies = received(*pieces)
    parser = RequestParser(Config(), iter([whole]), "")
    assert bodies == [next(parser).body.read() for _ in sent]
    assert not left


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"no request\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
        (b"G" * (http.MAX_HEAD_BYTES + 1), 414),
        (post(*(f"A{i}: {'a' * 8000}" for i in range(9)))[:-2], 431),
        (post("A: " + "a" * 9000), 431),
        (post("Expect: more"), 417),
        (post("Content-Length: 1", "Content-Length: 1"), 400),
        (post("Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (post("Content-Length: ²"), 400),
        (post("Transfer-Encoding: chunked", version="1.0"), 400),
        (post("Transfer-Encoding: chunked", body=b"x\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"-1\r\n"), 400),
        (
            post(
                "Transfer-Encoding: chunked",
                body=b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
            ),
            400,
        ),
        (post("Transfer-Encoding: chunked", body=b"1\r\nabc\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"1;" + b"a" * 70_000), 400),
        (post("Transfer-Encoding: chunked", body=b"0" * 9_000 + b"1\r\na\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"1\na\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"1 \r\na\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"0\r\n" + b"a" * 70_000), 400),
        (post("Transfer-Encoding: chunked", body=b"0\r\nA: b\nC: d\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked", body=b"0\r\nno field\r\n\r\n"), 400),
        (
            post(
                "Transfer-Encoding: chunked",
                body=b"0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            ),
            431,
        ),
        (post("Transfer-Encoding: chunked", body=b"1\r\na\r\n" * 70_000), 413),
    ],
)
def test_what_is_malformed_is_refused_with_a_code_and_quotes_nothing(
    sent: bytes, code: int
) -> None:
    error = refused(sent)
    assert error.code == code
    assert "aaa" not in str(error)


def test_a_body_that_is_too_large_is_refused_before_it_arrives() -> None:
    assert isinstance(refused(post("Content-Length: 9"), limit=8), TooLarge)
    for body in (b"9\r\n", b"8\r\n12345678\r\n1\r\n", b"ffffffffffffffffffff\r\n"):
        sent = post("Transfer-Encoding: chunked", body=body)
        assert isinstance(refused(sent, limit=8), TooLarge)
    assert received(post("Content-Length: 8", body=b"12345678"), limit=8)[1]


def test_what_is_missing_of_a_body_at_the_end_is_known() -> None:
    left, bodies = received(post("Content-Length: 5", body=b"ab"))
    assert (bodies, left.rest()) == ([], b"ab")
    left, bodies = received(post("Transfer-Encoding: chunked", body=b"5\r\nab"))
    with pytest.raises(Incomplete):
        left.rest()


def test_the_environment_of_a_request() -> None:
    buffer, _ = received(
        b"GET /v1/a%20b//c?d=%20 HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n"
        b"Content-Type: t\r\nSCRIPT_NAME: /evil\r\nContent-Length: 3\r\n\r\n"
    )
    assert buffer.head
    environ = buffer.head.environ
    assert environ["PATH_INFO"] == "/v1/a b//c"
    assert (environ["QUERY_STRING"], environ["SCRIPT_NAME"]) == ("d=%20", "")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("t", "3")
    assert environ["HTTP_ACCEPT"] == "a,b"
    buffer, _ = received(b"GET http://x HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
    assert buffer.head and buffer.head.environ["PATH_INFO"] == "/"


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "TE, close", False),
        ("1.1", "Close ,TE", False),
        ("1.1", "keep-alive", True),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
def test_whether_a_connection_is_kept(
    version: str, connection: str, keep: bool
) -> None:
    headers = [f"Connection: {connection}"] if connection else []
    head = http.parse(Config(), post(*headers, version=version))
    assert head and head.keep is keep


def reply(
    status: str, *headers: tuple[str, str], body: bytes = b"ab", **environ: Any
) -> bytes:
    whole = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", **environ}
    return encode(status, list(headers), body, True, whole)


def test_a_reply_has_a_length_and_no_more_lines_than_headers() -> None:
    head, _, body = reply("200 OK", ("A", "b")).partition(b"\r\n\r\n")
    assert body == b"ab"
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert {b"A: b", b"Content-Length: 2"} < set(head.splitlines())
    given = reply("200 OK", ("content-length", "9"), body=b"", REQUEST_METHOD="HEAD")
    assert given.count(b"ength:") == 1 and given.endswith(b"\r\n\r\n")
    for value in ("a\r\nB: c", "a\n", "\r"):
        with pytest.raises(ValueError, match="line end"):
            reply("200 OK", ("A", value))


def test_an_application_is_closed_whether_it_fails_or_not() -> None:
    closed = []

    class Pieces(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Pieces(environ["pieces"])

    environ = {"SERVER_PROTOCOL": "HTTP/1.0", "pieces": [b"a", b"b"]}
    assert call(application, environ, keep=True).endswith(b"keep-alive\r\n\r\nab")
    with pytest.raises(TypeError):
        call(application, environ | {"pieces": [1]}, keep=True)
    assert closed == [True, True]


def test_a_refusal_has_the_one_shape() -> None:
    head, _, body = refusal(414, "too long").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 414 ")
    assert b"Connection: close" in head and b"application/json" in head
    assert body == b'{"error":"too long"}'


def test_malformed_takes_the_parsers_code() -> None:
    assert Malformed(ValueError("secret")).code == 400

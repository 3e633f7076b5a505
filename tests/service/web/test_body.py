"""Compressed bodies, in and out, of every dialect."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LIMIT = 200_000  # of the application under test
V1 = "/v1/models/xor:predict"
V2 = "/v2/models/xor/infer"
ROWS: dict[str, Any] = {"instances": [[0, 1], [1, 1]]}
INPUTS: dict[str, Any] = {
    "inputs": [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [1]}
        for name in ("x1", "x2")
    ]
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
both = pytest.mark.parametrize("encoding", sorted(COMPRESS))
dialects = pytest.mark.parametrize(("path", "body"), [(V1, ROWS), (V2, INPUTS)])


def post(client: FlaskClient, path: str, body: bytes, encoding: str) -> Any:
    return client.post(path, data=body, headers={"Content-Encoding": encoding})


@both
@dialects
def test_a_compressed_body_is_read(
    client: FlaskClient, path: str, body: Any, encoding: str
) -> None:
    plain = json.dumps(body).encode()
    reply = post(client, path, COMPRESS[encoding](plain), encoding.upper())
    assert reply.status_code == 200
    assert reply.data == client.post(path, data=plain).data


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("x-gzip", gzip.compress),
        ("deflate", raw_deflate),
        ("deflate", lambda body: zlib.compress(body, 9)),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        (
            "gzip",
            lambda body: b"".join(
                gzip.compress(body[i : i + 1]) for i in range(len(body))
            ),
        ),
    ],
)
def test_a_body_is_read_as_other_servers_read_it(
    client: FlaskClient, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    plain = json.dumps(ROWS).encode()
    reply = post(client, V1, compress(plain), encoding)
    assert reply.data == client.post(V1, data=plain).data


def test_gzip_has_a_bounded_number_of_members(client: FlaskClient) -> None:
    reply = post(client, V1, gzip.compress(b"") * 2_000, "gzip")
    assert reply.status_code == 400


@pytest.mark.parametrize("encoding", ["identity", ""])
def test_a_body_may_be_as_it_is(client: FlaskClient, encoding: str) -> None:
    reply = post(client, V1, json.dumps(ROWS).encode(), encoding)
    assert reply.status_code == 200


@both
def test_a_body_is_measured_decompressed(client: FlaskClient, encoding: str) -> None:
    plain = json.dumps(ROWS).encode()
    for length, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        body = COMPRESS[encoding](plain.ljust(length))
        assert len(body) < 1000
        reply = post(client, V1, body, encoding)
        assert reply.status_code == status
        assert status == 200 or "GLASSNET_MAX_BODY_BYTES" in reply.get_json()["error"]


@both
def test_a_bomb_is_not_unpacked(client: FlaskClient, encoding: str) -> None:
    bomb = COMPRESS[encoding](bytes(100_000_000))
    tracemalloc.start()
    try:
        assert post(client, V1, bomb, encoding).status_code == 413
        assert tracemalloc.get_traced_memory()[1] < 10 * LIMIT
    finally:
        tracemalloc.stop()


@both
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda body: b"", "is cut off"),
        (lambda body: b"plain", "is not"),
        (lambda body: body[:-1], "is cut off"),
        (lambda body: body[:-4] + b"\0\0\0\0", "is not"),
        (lambda body: body + b"xx", "there are bytes after"),
        (lambda body: body + body, ("there are bytes after", "trailing characters")),
    ],
)
def test_a_corrupt_body_is_refused(
    client: FlaskClient, encoding: str, damage: Callable[[bytes], bytes], said: Any
) -> None:
    body = damage(COMPRESS[encoding](json.dumps(ROWS).encode()))
    reply = post(client, V1, body, encoding)
    assert reply.status_code == 400
    reasons = [said] if isinstance(said, str) else said
    assert any(reason in reply.get_json()["error"] for reason in reasons)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "x" * 1000])
def test_another_compression_is_told(client: FlaskClient, encoding: str) -> None:
    reply = post(client, V1, b"x", encoding)
    assert reply.status_code == 415
    assert reply.get_json()["error"].endswith("expected gzip or deflate")
    assert len(reply.data) < 200


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=200), st.sampled_from(sorted(COMPRESS)), st.booleans())
def test_no_compressed_body_is_a_server_error(
    client: FlaskClient, raw: bytes, encoding: str, compressed: bool
) -> None:
    body = COMPRESS[encoding](raw) if compressed else raw
    assert post(client, V1, body, encoding).status_code in (200, 400)


def test_large_bodies_wait_for_their_turn(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.body.LARGE", 10_000)
    monkeypatch.setattr("service.web.request_context.TURN_SECONDS", 0.01)
    turn = app.extensions["glassnet"].turn
    large = json.dumps(ROWS).encode().ljust(LIMIT)
    bodies = {"identity": large, "gzip": gzip.compress(large)}
    with turn:
        assert client.post(V1, json=ROWS).status_code == 200
        for encoding, body in bodies.items():
            tracemalloc.start()
            assert post(client, V1, body, encoding).status_code == 503
            assert tracemalloc.get_traced_memory()[1] < LIMIT  # it was not inflated
            tracemalloc.stop()
    for encoding, body in bodies.items():
        assert post(client, V1, body, encoding).status_code == 200
        assert post(client, V1, body, "gzip").status_code != 503
    assert not turn.locked()


# Answers

MANY = {"instances": [[0, 1]] * 200}


@both
def test_an_answer_is_compressed_as_asked(client: FlaskClient, encoding: str) -> None:
    plain = client.post(V1, json=MANY)
    reply = client.post(V1, json=MANY, headers={"Accept-Encoding": encoding})
    assert reply.headers["Content-Encoding"] == encoding
    assert len(reply.data) == int(reply.headers["Content-Length"]) < len(plain.data) / 3
    unpack = gzip.decompress if encoding == "gzip" else zlib.decompress
    assert unpack(reply.data) == plain.data
    assert "Content-Encoding" not in plain.headers
    for each in reply, plain:
        assert each.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip, deflate, br", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("gzip;q=0, deflate;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("br", None),
        ("", None),
        ("*", "gzip"),
        (";;;q=,,", None),
    ],
)
def test_the_client_chooses(
    client: FlaskClient, accepted: str, chosen: str | None
) -> None:
    reply = client.post(V1, json=MANY, headers={"Accept-Encoding": accepted})
    assert reply.headers.get("Content-Encoding") == chosen


def test_a_page_is_compressed_too(client: FlaskClient) -> None:
    reply = client.get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.data).startswith(b"# HELP glassnet_")


def test_short_answers_and_errors_are_left_alone(client: FlaskClient) -> None:
    """Clients decode errors without looking at their encoding."""
    accept = {"Accept-Encoding": "gzip"}
    for reply in (
        client.post(V1, json=ROWS, headers=accept),
        client.post(V1, json={"instances": "no"}, headers=accept),
    ):
        assert "Content-Encoding" not in reply.headers
        assert reply.get_json()

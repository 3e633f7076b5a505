"""HTTPS by a certificate made here, and what gunicorn itself answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def test_https_and_nothing_else(
    start: Callable[..., Any], served: Path, certificate: dict[str, Path]
) -> None:
    server = start(served, workers=1, threads=2, read_seconds=1, **certificate)
    for _ in range(3):
        assert server.predict("xor", [[0, 1]])[0]["label"] == 1
    body = json.dumps({"instances": [[[0] * 8] * 8] * 2000}).encode()
    kept = server.connect()
    for _ in range(3):  # a large body and answer, on a connection that is kept
        kept.request("POST", "/v1/models/digits:predict", body)
        reply = kept.getresponse()
        assert reply.status == 200
        assert len(json.loads(reply.read())["predictions"]) == 2000
    kept.close()
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"200" not in client.recv(65536)
    stranger = ssl.create_default_context()
    with (
        socket.create_connection(("127.0.0.1", server.port)) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        stranger.wrap_socket(client, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        assert client.recv(1) == b""  # no handshake: given up
    assert server.request("GET", "/v2/health/ready")[0] == 200
    command = [sys.executable, "-m", "service.cli", "probe"]
    environment = {
        **os.environ,
        "GLASSNET_BIND": f"0.0.0.0:{server.port}",
        "GLASSNET_TLS_CERTIFICATE_FILE": str(certificate["tls_certificate_file"]),
    }
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    assert [line for line in server.log() if line["level"] == "error"] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"no request\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: secret\r\n\r\n", 417),
    ],
)
def test_what_is_no_request_gets_the_shape_of_all_errors(
    server: Any, sent: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(sent)
        reply = http.client.HTTPResponse(client)
        reply.begin()
        assert reply.status == status
        assert reply.headers["Content-Type"] == "application/json"
        said = json.loads(reply.read())
        assert list(said) == ["error"]
        assert "secret" not in said["error"] and "aaa" not in said["error"]

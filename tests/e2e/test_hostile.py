"""Clients that are slow in every way there is, beside one that behaves.

Liveness and readiness answer within a second, predictions are hardly slower, and
nothing is left behind. `make hostile` does it with 200 connections of each kind, for a
minute.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

CONNECTIONS = int(os.environ.get("HOSTILE_CONNECTIONS", "24"))
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "1"))
#: More than the length of a test with few connections, less than that of a long one.
READ_SECONDS = 4

HEAD = (
    b"POST /v1/models/digits:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
)
#: What a connection sends at once; the trickling ones send a byte a second after it.
KINDS = {
    "silent": b"",
    "half a head": b"GET /v2/health/live HT",
    "trickling head": b"GET / HTTP/1.1\r\n" + b"A: " + b"a" * 8000 + b"\r\nX: ",
    "trickling body": HEAD % 100_000 + b"{",
    "unread answer": b"GET /console/console.css HTTP/1.1\r\n\r\n" * 100,
    "no handshake": b"",
    "a byte of TLS": b"\x16",
    "hello alone": b"",
}
WITHOUT_HANDSHAKE = ("no handshake", "a byte of TLS", "hello alone")


def hello() -> bytes:
    """Return the first message of a handshake."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="here")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def connect(server: Server, kind: str) -> socket.socket:
    client = socket.socket()
    client.settimeout(30)
    if kind == "unread answer":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.connect(("127.0.0.1", server.port))
    if server.certificate and kind not in (
        "no handshake",
        "a byte of TLS",
        "hello alone",
    ):
        context = ssl.create_default_context(cafile=server.certificate)
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    client.sendall(hello() if kind == "hello alone" else KINDS[kind])
    return client


@contextmanager
def hostile(server: Server, kind: str) -> Iterator[None]:
    """Hold connections of a kind; those that the server closes are opened again."""
    clients = [connect(server, kind) for _ in range(CONNECTIONS)]
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(1):
            for number, client in enumerate(clients):
                try:
                    if kind.startswith("trickling"):
                        client.send(b" ")
                    elif kind != "unread answer":
                        client.setblocking(False)
                        with suppress(BlockingIOError, ssl.SSLWantReadError):
                            if not client.recv(4096):
                                raise ConnectionResetError
                        client.settimeout(30)
                except OSError:
                    client.close()
                    with suppress(OSError):
                        clients[number] = connect(server, kind)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for client in clients:
            client.close()


def measured(server: Server, seconds: float) -> tuple[list[float], list[float]]:
    """Return how long predictions and probes took, one after the other."""
    predictions, probes, kept = [], [], server.connect()
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(predictions) < 100:
        begun = time.monotonic()
        kept.request("POST", "/v1/models/xor:predict", b'{"instances":[[0,1]]}')
        reply = kept.getresponse()
        assert reply.status == 200, reply.read()
        reply.read()
        predictions.append(time.monotonic() - begun)
        if len(predictions) % 20 == 0:
            for path in ("/v2/health/live", "/v2/health/ready"):
                begun = time.monotonic()
                assert server.request("GET", path)[0] == 200
                probes.append(time.monotonic() - begun)
        time.sleep(0.005)
    kept.close()
    return predictions, probes


def sockets(server: Server) -> int:
    """Return how many sockets the workers have open."""
    count = 0
    for pid in server.workers():
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return count


@pytest.mark.long
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_slow_clients_delay_no_other_client(
    start: Callable[..., Server],
    served: Path,
    until: Callable[..., None],
    certificate: dict[str, Path],
    tls: bool,
) -> None:
    settings: dict[str, Any] = certificate if tls else {}
    server = start(served, threads=4, read_seconds=READ_SECONDS, **settings)
    pids = server.workers()
    usual, _ = measured(server, SECONDS)
    before = sockets(server)
    figures = {"usual": figure(usual)}
    for kind in KINDS:
        if not tls and kind in WITHOUT_HANDSHAKE:
            continue
        with hostile(server, kind):
            predictions, probes = measured(server, SECONDS)
        figures[kind] = {
            **figure(predictions),
            "slowest probe_ms": round(max(probes) * 1e3),
        }
        assert max(probes) < 1, kind
        until(
            f"{kind}: their connections to be closed",
            lambda: sockets(server) <= before,
            READ_SECONDS + 10,
        )
    print(json.dumps(figures, indent=1))
    assert server.workers() == pids
    assert [line for line in server.log() if line["level"] == "error"] == []
    if SECONDS >= 60:  # few requests say little about their hundredth
        worst = max(row["p99_ms"] for row in figures.values())
        assert worst <= 2 * figures["usual"]["p99_ms"]


def figure(seconds: list[float]) -> dict[str, float]:
    return {
        "requests": len(seconds),
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1e3, 2),
        "p99_ms": round(float(np.percentile(seconds, 99)) * 1e3, 2),
    }

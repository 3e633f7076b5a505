"""A bounded number of requests at once, in one process and under a real gunicorn."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service import create_app
from service.middleware.concurrency_limit import (
    REJECTION,
    ConcurrencyLimit,
    Overloaded,
)
from service.settings import Settings

PREDICT = "/v1/models/xor:predict"
BODY = json.dumps({"instances": [[0, 1]]}).encode()


class Nested:
    """An application of which requests overlap: each one makes the next."""

    def __init__(self, most: int) -> None:
        self.guard = ConcurrencyLimit(self.answer, self.refuse, most, ["/alive"])
        self.paths: list[str] = []
        self.seen: list[str] = []

    def ask(self, *paths: str) -> list[str]:
        """Have requests under way at once, and return who saw them."""
        self.seen, self.paths = [], list(paths)
        self.next()
        return self.seen

    def next(self) -> None:
        if self.paths:
            self.guard({"PATH_INFO": self.paths.pop(0)}, None)

    def answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.seen.append(environ["PATH_INFO"])
        self.next()
        if environ["PATH_INFO"] == "/fails":
            raise RuntimeError
        return []

    def refuse(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert isinstance(environ[REJECTION], Overloaded)
        self.seen.append("refused")
        return []


def test_as_many_as_allowed_are_let_in_and_slots_come_back() -> None:
    app = Nested(2)
    for _ in range(3):
        assert app.ask("/a", "/b") == ["/a", "/b"]
        assert app.ask("/a", "/b", "/c") == ["/a", "/b", "refused"]
        assert app.ask("/a", "/b", "/alive") == ["/a", "/b", "/alive"]
        assert app.ask("/alive", "/alive", "/a", "/b")[2:] == ["/a", "/b"]
        with pytest.raises(RuntimeError):
            app.ask("/fails")


def test_a_refusal_is_counted_and_has_the_one_shape(served: Path) -> None:
    app = create_app(Settings(store=str(served)))
    client: FlaskClient = app.test_client()
    refused = {REJECTION: Overloaded("too many")}
    reply = client.get("/v1/models", environ_overrides=refused)
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    assert reply.get_json() == {"error": "too many"}
    text = client.get("/metrics").get_data(as_text=True)
    assert 'glassnet_requests_refused_total{reason="overload"} 1.0' in text
    assert 'code="503",method="GET",route="/v1/models"' in text


@pytest.mark.e2e
def test_probes_are_answered_while_every_slot_is_taken(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served, workers=1, threads=2)
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(2)
        ]
        for client in slow:
            client.settimeout(30)
            client.sendall(head.encode() + BODY[:5])

        # A scrape needs no slot, and counts itself. A request that asked for a slot
        # could take the one that a slow client is about to get.
        def taken() -> bool:
            in_progress = server.metrics()["glassnet_requests_in_progress"]
            return bool(in_progress == {(): 3.0})

        until("all slots to be taken", taken)
        assert server.request("POST", PREDICT, BODY)[0] == 503
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert server.request("GET", path)[0] == 200
        assert taken()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        for _ in range(2):  # the connection is kept, refused body and all
            connection.request("POST", PREDICT, BODY)
            reply = connection.getresponse()
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert "GLASSNET_THREADS" in json.loads(reply.read())["error"]
        connection.close()
        slow[0].sendall(BODY[5:])
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200")
        assert server.request("POST", PREDICT, BODY)[0] == 200

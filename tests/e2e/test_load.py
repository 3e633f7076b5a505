"""Requests without a pause, while versions come and go and servers are renewed.

Not one may be lost, and each answer must be that of the version it names. `make load`
asks as often as it takes to be sure; here it is a small version of the same.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from models.features.predictions import Regression
from models.features.tensor import TensorInput
from models.nn.architectures import mlp
from models.storage.base import ARTEFACT, PRODUCTION, ArtefactStore
from models.storage.factory import open_store
from tests.buckets import BucketServer, running
from tests.models.conftest import make
from tests.serving import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

REQUESTS = int(os.environ.get("LOAD_REQUESTS", "2000"))
PUBLISHES = int(os.environ.get("LOAD_PUBLISHES", "3"))
ROLLBACKS = int(os.environ.get("LOAD_ROLLBACKS", "1"))
SIGHUPS = int(os.environ.get("LOAD_SIGHUPS", "1"))
OUTAGE_SECONDS = float(os.environ.get("LOAD_OUTAGE_SECONDS", "5"))
CLIENTS = 4

HEAD = re.compile(rb"HTTP/1\.1 (\d+) .*?\r\n\r\n", re.DOTALL)
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
VERSION = re.compile(rb"\r\nx-model-version: (\d+)\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)

X = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)


class Versions:
    """A store, and what each version in it answers to the rows of X.

    Versions have the same weights, and answers that are ten apart. They are made
    before they are needed: clients wait for nothing but the server.
    """

    def __init__(self, store: ArtefactStore) -> None:
        self.store = store
        self.answers: dict[int, Any] = {}
        inputs = TensorInput((8,), 0.0, 1.0, [0.0], [1.0])
        self._made = [
            make(inputs, X, mlp([8, 32, 1]), Regression(10.0 * number, 1.0))
            for number in range(1, PUBLISHES + 2)
        ]
        self._contents = [{ARTEFACT: made.dump()} for made in self._made]

    def publish(self) -> int:
        number = len(self.answers) + 1
        self.answers[number] = self._made[number - 1].model.predict(X)["value"]
        content = self._contents[number - 1]
        assert self.store.publish("m", content, PRODUCTION) == number
        return number

    def rollback(self) -> int:
        return self.store.rollback("m")


class Balancer:
    """Sends to the first of some servers that says it is ready, as it last said."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.port = 0
        self.never_ready = 0
        self._stop = threading.Event()

    def look(self) -> None:
        ready = [server.port for server in self.servers if is_ready(server)]
        if ready:
            self.port = ready[0]
        else:
            self.never_ready += 1

    @contextmanager
    def balancing(self) -> Iterator[None]:
        def loop() -> None:
            while not self._stop.wait(0.1):
                self.look()

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()


def is_ready(server: Server) -> bool:
    with suppress(OSError):
        return server.request("GET", "/v2/health/ready")[0] == 200
    return False


class Answer(NamedTuple):
    started: float
    seconds: float
    version: int
    row: int
    value: float


class Clients:
    """Some who ask for row after row, on connections that they keep.

    Until they have asked often enough, and all that was to happen has.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.answers: list[Answer] = []
        self.lost: list[str] = []
        self.recent: deque[int] = deque(maxlen=20 * CLIENTS)
        self._turns = itertools.count()
        self._over = threading.Event()
        bodies = [json.dumps({"instances": [row]}).encode() for row in X.tolist()]
        self._requests = [
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            for body in bodies
        ]

    def run(self) -> None:
        kept: dict[int, socket.socket] = {}
        for turn in self._turns:
            if turn >= REQUESTS and self._over.is_set():
                break
            port = self.balancer.port
            try:
                self._ask(turn % len(X), port, kept)
            except (OSError, EOFError, ValueError) as error:
                self.lost.append(f"request {turn}: {error!r}")
                kept.pop(port).close()
        for connection in kept.values():
            connection.close()

    def _ask(self, row: int, port: int, kept: dict[int, socket.socket]) -> None:
        started = time.monotonic()
        if port not in kept:
            kept[port] = socket.create_connection(("127.0.0.1", port), 30)
        connection = kept[port]
        connection.sendall(self._requests[row])
        head, body = receive(connection)
        seconds = time.monotonic() - started
        if CLOSE.search(head):
            kept.pop(port).close()
        named = VERSION.search(head)
        if named is None:
            raise ValueError(head + body)
        version, (value,) = int(named[1]), json.loads(body)["predictions"]
        self.answers.append(Answer(started, seconds, version, row, value))
        self.recent.append(version)

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return head and body of an answer."""
    content = b""
    while True:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(f"closed after {len(content)} bytes")
        content += chunk
        if head := HEAD.match(content):
            length = LENGTH.search(head[0])
            assert length
            body = content[head.end() :]
            if len(body) >= int(length[1]):
                return head[0], body


class Events:
    """What happens meanwhile, evenly over the requests, and when it did."""

    def __init__(
        self,
        versions: Versions,
        balancer: Balancer,
        clients: Clients,
        start: Callable[..., Server],
        until: Callable[..., None],
        bucket: BucketServer | None,
    ) -> None:
        self.bucket = bucket
        self.versions, self.balancer, self.clients = versions, balancer, clients
        self._start, self._until = start, until
        self.times: dict[str, list[tuple[float, float]]] = {}

    def run(self) -> None:
        todo = self.order()
        if self.bucket is not None:
            todo.insert(len(todo) // 2, "outage")
        for number, what in enumerate(todo, 1):
            goal = REQUESTS * number // (len(todo) + 1)
            while len(self.clients.answers) + len(self.clients.lost) < goal:
                time.sleep(0.01)
            began = time.monotonic()
            getattr(self, what)()
            kind = "reload" if what in ("publish", "rollback") else what
            self.times.setdefault(kind, []).append((began, time.monotonic()))

    @staticmethod
    def order() -> list[str]:
        """Every kind spread evenly over the whole."""
        kinds = {
            "publish": PUBLISHES,
            "rollback": ROLLBACKS,
            "sighup": SIGHUPS,
            "replace": 1,
        }
        places = [
            ((place + 0.5) / count, kind)
            for kind, count in kinds.items()
            for place in range(count)
        ]
        return [kind for _, kind in sorted(places)]

    def publish(self) -> None:
        self._live(self.versions.publish())

    def rollback(self) -> None:
        self._live(self.versions.rollback())

    def _live(self, version: int) -> None:
        recent = self.clients.recent
        recent.clear()
        self._until(
            f"nothing but version {version}",
            lambda: len(recent) == recent.maxlen and {*recent} == {version},
        )

    def sighup(self) -> None:
        server = self.balancer.servers[-1]
        before = {*server.workers()}
        server.process.send_signal(signal.SIGHUP)
        self._until("new workers", lambda: not before & {*server.workers()})

    def replace(self) -> None:
        """The old one is told to go while it has all the traffic."""
        (old,) = self.balancer.servers
        new = self._start(str(self.versions.store), drain_seconds=2)
        self.balancer.servers.append(new)
        assert self.balancer.port == old.port
        assert old.stop() == 0
        assert self.balancer.port == new.port
        self.balancer.servers.remove(old)

    def outage(self) -> None:
        """The store is gone for some time."""
        assert self.bucket is not None
        self.bucket.stop(signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        self.bucket.start()


def percentile(seconds: list[float], q: float) -> float:
    return round(float(np.percentile(seconds, q)) * 1e3, 2) if seconds else np.nan


def figures(answers: list[Answer], times: dict[str, list[tuple[float, float]]]) -> Any:
    """Milliseconds of the quiet, and of what was asked during each kind of event."""

    def during(answer: Answer, spans: list[tuple[float, float]]) -> bool:
        return any(
            answer.started < end and answer.started + answer.seconds > begin
            for begin, end in spans
        )

    parts = {
        kind: [a.seconds for a in answers if during(a, spans)]
        for kind, spans in times.items()
    }
    every = [span for spans in times.values() for span in spans]
    parts["quiet"] = [a.seconds for a in answers if not during(a, every)]
    return {
        kind: {
            "requests": len(seconds),
            "p50_ms": percentile(seconds, 50),
            "p99_ms": percentile(seconds, 99),
        }
        for kind, seconds in parts.items()
    }


@pytest.fixture(params=["directory", pytest.param("bucket", marks=pytest.mark.cloud)])
def bucket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BucketServer | None]:
    """Nothing, for a store on a disk, or the server of a store in a bucket."""
    if request.param == "directory":
        yield None
        return
    with running("seaweedfs") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.mark.load
def test_no_request_is_lost_or_wrong_whatever_happens(
    bucket: BucketServer | None,
    start: Callable[..., Server],
    tmp_path: Path,
    until: Callable[..., None],
) -> None:
    place = bucket.address("load") if bucket else str(tmp_path / "store")
    versions = Versions(open_store(place))
    versions.publish()
    balancer = Balancer()
    balancer.servers.append(start(place, drain_seconds=2))
    balancer.look()
    clients = Clients(balancer)
    events = Events(versions, balancer, clients, start, until, bucket)
    began = time.monotonic()
    with balancer.balancing(), clients.asking():
        events.run()
    took = time.monotonic() - began

    assert clients.lost == []
    assert len(clients.answers) >= REQUESTS
    wrong = [
        answer
        for answer in clients.answers
        if abs(answer.value - versions.answers[answer.version][answer.row]) > 1e-4
    ]
    assert wrong == []
    assert {a.version for a in clients.answers} == {*versions.answers}
    assert len(versions.answers) == PUBLISHES + 1
    assert balancer.never_ready == 0
    happened = {kind: len(spans) for kind, spans in events.times.items()}
    told = {
        "requests": len(clients.answers),
        "seconds": round(took, 1),
        "events": happened,
        "slowest_reload_seconds": max(e - b for b, e in events.times["reload"]),
    }
    print(json.dumps({**told, **figures(clients.answers, events.times)}, indent=1))

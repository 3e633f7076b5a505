"""Faults of the machine: the server keeps answering, and reports what is wrong."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from tests.serving import Server, serving

pytestmark = pytest.mark.e2e

ROWS = [[0, 1]]


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Store:
    """A store of one model that a test may write to."""
    shutil.copytree(served / "xor", tmp_path / "store" / "xor")
    return Store(tmp_path / "store")


@pytest.fixture
def small(mount: Callable[[str], Path]) -> Path:
    """A directory in memory of one megabyte."""
    return mount("1m")


def fill(place: Path) -> None:
    """Leave no room in a file system."""
    with suppress(OSError), (place / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(place).free == 0


class Clients:
    """Two who ask all the time, each request on a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answered = 0
        self.failures: list[str] = []
        self.unready = 0
        self._stop = threading.Event()

    def ask(self) -> None:
        while not self._stop.is_set():
            try:
                assert self.server.predict("xor", ROWS)[0]["label"] == 1
                status, _ = self.server.request("GET", "/v2/health/ready")
                self.unready += status != 200
                self.answered += 1
            except Exception as error:
                self.failures.append(repr(error))


@contextmanager
def asking(server: Server) -> Iterator[Clients]:
    clients = Clients(server)
    threads = [threading.Thread(target=clients.ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients._stop.set()
        for thread in threads:
            thread.join()


def reported(server: Server, metric: str) -> set[float]:
    """What the workers say of the store, each asked by chance."""
    return {server.metrics()[f"glassnet_store_{metric}"][()] for _ in range(8)}


def more(clients: Clients, until: Callable[..., None], n: int = 40) -> None:
    goal = clients.answered + n
    until("more answers", lambda: clients.answered >= goal)


@pytest.mark.parametrize("how", ["gone", "damaged labels"])
def test_without_its_store_a_server_goes_on(
    start: Callable[..., Any],
    store: Store,
    until: Callable[..., None],
    how: str,
) -> None:
    server = start(store.root, poll_seconds=0.1)
    away = store.root.with_name("away")
    metric = "unreadable_models" if how == "damaged labels" else "unreadable"
    assert reported(server, metric) == {0.0}
    with asking(server) as clients:
        if how == "damaged labels":
            shutil.copytree(store.root, away)
            (store.root / "xor" / "labels.json").write_text("{")
        else:
            store.root.rename(away)
        until("the metric to say so", lambda: reported(server, metric) == {1.0})
        more(clients, until)
        # Its store comes back, with a version that is new.
        content = Store(away).path("xor", 1).read_bytes()
        Store(away).publish("xor", {ARTEFACT: content}, "production")
        shutil.rmtree(store.root, ignore_errors=True)
        away.rename(store.root)
        until("the metric to say so", lambda: reported(server, metric) == {0.0})
        version = "/v2/models/xor/versions/2/ready"
        until("the new one", lambda: server.request("GET", version)[0] == 200)
        more(clients, until)
    assert clients.failures == []
    assert clients.unready == 0


def test_a_worker_that_is_replaced_while_the_store_is_gone_has_its_models(
    start: Callable[..., Any], store: Store, until: Callable[..., None]
) -> None:
    server = start(store.root, poll_seconds=0.1)
    store.root.rename(store.root.with_name("away"))
    until("the metric to say so", lambda: reported(server, "unreadable") == {1.0})
    before = server.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until("others", lambda: len({*server.workers()} - {*before}) == 2)
    until("readiness", lambda: server.request("GET", "/v2/health/ready")[0] == 200)
    with asking(server) as clients:
        more(clients, until)
    assert clients.failures == []
    assert reported(server, "unreadable") == {1.0}


def test_too_little_memory_for_metrics_is_told_at_the_start(
    start: Callable[..., Any],
    store: Store,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(small))
    server = start(store.root, workers=2)
    (told,) = [line for line in server.log() if line["level"] == "warning"]
    assert re.match(rf"{small} has \d+ KiB free, and the metrics", told["message"])
    server.predict("xor", ROWS)
    assert server.metrics()["glassnet_http_requests_total"]


def test_a_log_on_a_full_disk_costs_no_request(
    served: Path, small: Path, until: Callable[..., None]
) -> None:
    with serving(small) as start:
        server = start(served)
        fill(small)
        pids = server.workers()
        with asking(server) as clients:
            more(clients, until, 100)
        assert clients.failures == []
        assert server.workers() == pids


#: Run by the server's Python before anything else: the clock on the wall is set.
CLOCK = """
import time
true = time.time
time.time = lambda: true() + 86_400 * float(open({clock!r}).read() or 0)
"""


def test_a_clock_that_jumps_is_not_noticed(
    start: Callable[..., Any],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
) -> None:
    """Days ahead and back: workers live, models reload, the drain has its end."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(clock=str(clock)))
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), path]))
    )
    server = start(store.root, poll_seconds=0.1, drain_seconds=1)
    pids = server.workers()
    content = store.path("xor", 1).read_bytes()
    with asking(server) as clients:
        for days in ("1", "-1", "400"):
            clock.write_text(days)
            more(clients, until)
            version = store.publish("xor", {ARTEFACT: content}, "production")
            ready = f"/v2/models/xor/versions/{version}/ready"
            until("it", lambda path=ready: server.request("GET", path)[0] == 200)
    assert clients.failures == []
    assert clients.unready == 0
    assert server.workers() == pids
    assert len({line["time"][:10] for line in server.log()}) == 4  # it did jump
    assert server.stop() == 0

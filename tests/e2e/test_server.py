"""The service as it runs in production: gunicorn, two workers, a store that changes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store

pytestmark = pytest.mark.e2e

PREDICT = "/v1/models/<name>:predict"


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Path:
    """A copy of the served store that a test may write to."""
    copy = tmp_path / "store"
    shutil.copytree(served, copy)
    return copy


def publish(store: Path, model: str, content: bytes | None = None) -> int:
    """Publish version 1 again, or other bytes, and put it in production."""
    place = Store(store)
    content = place.path(model, 1).read_bytes() if content is None else content
    version = place.publish(model, {ARTEFACT: content})
    place.promote(model, version)
    return version


def total(samples: dict[Any, float], **wanted: str) -> float:
    return sum(
        value
        for labels, value in samples.items()
        if wanted.items() <= dict(labels).items()
    )


class Load:
    """Clients that ask all the time, on connections they keep."""

    def __init__(self, port: int, model: str, row: list[float]) -> None:
        self.port, self.path = port, f"/v1/models/{model}:predict"
        self.body = json.dumps({"instances": [row]})
        self.versions: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.is_set():
            try:
                connection.request("POST", self.path, self.body)
                reply = connection.getresponse()
                content = reply.read()
                if reply.status != 200:
                    self.failures.append(f"{reply.status} {content!r}")
                self.versions.append(reply.headers["X-Model-Version"])
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.002)
        connection.close()


@contextmanager
def load(port: int, model: str, row: list[float]) -> Iterator[Load]:
    clients = Load(port, model, row)
    threads = [threading.Thread(target=clients.run) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients._stop.set()
        for thread in threads:
            thread.join()


def test_a_thousand_requests_over_two_workers_are_counted_as_a_thousand(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served)
    assert len(server.workers()) == 2
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(
            lambda _: server.predict("xor", [[0, 1], [1, 1]]), range(1000)
        )
        assert all([p["label"] for p in reply] == [1, 0] for reply in replies)
    metrics = server.metrics()
    assert total(metrics["glassnet_http_requests_total"]) == 1000
    counted = metrics["glassnet_http_requests_total"]
    assert total(counted, route=PREDICT, method="POST", code="200") == 1000
    assert total(metrics["glassnet_http_request_duration_seconds_count"]) == 1000
    rows = metrics["glassnet_inference_rows_total"]
    assert total(rows, model="xor", version="1") == 2000
    assert metrics["glassnet_requests_in_progress"] == {(): 1.0}  # the scrape itself
    refreshed = metrics["glassnet_store_last_refresh_timestamp_seconds"][()]
    assert time.time() - 60 < refreshed <= time.time()


def test_a_new_version_goes_live_without_a_failed_request(
    start: Callable[..., Any], store: Path, until: Callable[..., None]
) -> None:
    server = start(store, poll_seconds=1)
    with load(server.port, "xor", [0, 1]) as clients:
        until("traffic", lambda: len(clients.versions) > 50)
        assert publish(store, "xor") == 2
        until(
            "version 2 from both workers",
            lambda: clients.versions[-50:] == ["2"] * 50,
            5,
        )
        Store(store).rollback("xor")
        until("version 1 again", lambda: clients.versions[-50:] == ["1"] * 50, 5)
    assert clients.failures == []
    assert set(clients.versions) == {"1", "2"}
    _, reply = server.request("GET", "/v1/models/xor")
    assert [v["version"] for v in reply["model_version_status"]] == ["2", "1"]
    info = server.metrics()["glassnet_model_info"]
    assert total(info, model="xor", version="2") == 1


def test_a_corrupt_version_is_refused_and_the_old_one_goes_on(
    start: Callable[..., Any], store: Path, until: Callable[..., None]
) -> None:
    server = start(store)
    content = bytearray(Store(store).path("xor", 1).read_bytes())
    content[len(content) // 2] ^= 1
    with load(server.port, "xor", [0, 1]) as clients:
        assert publish(store, "xor", bytes(content)) == 2

        def refused() -> bool:
            reloads = server.metrics().get("glassnet_reloads_total", {})
            return total(reloads, model="xor", result="refused") == 2  # both workers

        until("the refusal in the metrics", refused)
        before = len(clients.versions)
        until("more traffic", lambda: len(clients.versions) > before + 50)
    assert clients.failures == []
    assert set(clients.versions) == {"1"}
    told = [line for line in server.log() if line["level"] == "error"]
    assert told
    assert all("model xor version 2 refused" in line["message"] for line in told)
    assert server.request("GET", "/v2/health/ready")[0] == 200
    _, reply = server.request("GET", "/v1/models/xor")
    assert [v["state"] for v in reply["model_version_status"]] == ["AVAILABLE", "END"]
    assert publish(store, "xor") == 3  # a good one afterwards goes live
    until(
        "version 3",
        lambda: server.request("GET", "/v1/models/xor/versions/3")[0] == 200,
    )


def test_a_server_started_on_nothing_becomes_ready_with_the_first_model(
    start: Callable[..., Any], served: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    store = tmp_path / "later"
    server = start(store, ready=False, workers=1)
    assert server.request("GET", "/v2/health/ready")[0] == 503
    assert server.request("GET", "/v2/health/live")[0] == 200
    content = Store(served).path("xor", 1).read_bytes()
    Store(store).publish("xor", {ARTEFACT: content})
    until("readiness", lambda: server.request("GET", "/v2/health/ready")[0] == 200)
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1


def test_told_to_stop_it_says_so_and_goes_on_answering_first(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served, drain_seconds=2)
    with load(server.port, "xor", [0, 1]) as clients:
        until("traffic", lambda: len(clients.versions) > 20)
        server.process.send_signal(signal.SIGTERM)
        until(
            "readiness to fail",
            lambda: server.request("GET", "/v2/health/ready")[0] == 503,
        )
        before = len(clients.versions)
        until("answers while draining", lambda: len(clients.versions) > before + 50)
        assert clients.failures == []
    assert server.process.wait(60) == 0


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_request_in_flight_is_answered_before_the_end_and_new_clients_are_refused(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served)
    body = json.dumps({"instances": [[0, 1]]}).encode()
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        head = "POST /v1/models/xor:predict HTTP/1.1\r\nHost: x\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body[:5])
        time.sleep(0.3)  # a worker reads the first half by now
        server.process.send_signal(signal.SIGTERM)
        until("the listener to close", lambda: not listens(server.port))
        client.sendall(body[5:])
        reply = b""
        while chunk := client.recv(65536):
            reply += chunk
    assert reply.startswith(b"HTTP/1.1 200")
    assert server.process.wait(60) == 0


def test_told_to_stop_while_workers_start_it_stops_at_once(served: Path) -> None:
    environment = {
        **os.environ,
        "GLASSNET_STORE": str(served),
        "GLASSNET_BIND": "127.0.0.1:0",
        "GLASSNET_WORKERS": "4",
        "GLASSNET_DRAIN_SECONDS": "0",
    }
    code = (
        "import random, sys\n"
        "random.random = lambda: 0\n"  # else gunicorn rests after each fork
        "sys.argv = ['gunicorn', '-c', 'python:service.server.gunicorn_conf']\n"
        "from gunicorn.app.wsgiapp import run\n"
        "run()"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as master:
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children")
        while not children.read_text():
            time.sleep(0.001)
        master.terminate()
        assert master.wait(20) == 0  # not the 30 s that a deaf worker is given


def test_until_it_is_ready_nothing_is_looked_over_for_garbage() -> None:
    code = (
        "import gc, types\n"
        "from service.server import gunicorn_conf as conf\n"
        "assert not gc.isenabled()\n"
        "conf.when_ready(types.SimpleNamespace(log=None))\n"
        "conf.on_exit(None)\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 10_000"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_start_imports_nothing_that_takes_long_and_serves_no_request() -> None:
    needless = (
        "asyncio concurrent.futures.thread multiprocessing numpy.fft "
        "numpy.ma numpy.polynomial numpy.random numpy.testing pandas polars pydoc "
        "sqlite3 unittest werkzeug.debug xml"
    )
    code = (
        "import sys, service.server.gunicorn_conf, service.server.worker, service.app\n"
        "service.app.build()\n"
        f"print({set(needless.split())} & sys.modules.keys())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "set()"


def test_a_killed_worker_is_replaced_and_its_counts_stay(
    start: Callable[..., Any], store: Path, until: Callable[..., None]
) -> None:
    server = start(store)
    for _ in range(40):
        server.predict("xor", [[0, 1]])
    first = server.workers()
    publish(
        store, "xor"
    )  # the new worker must start from the store, not from the master
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    until("new workers", lambda: len(set(server.workers()) - set(first)) == 2)
    until("an answer", lambda: server.request("GET", "/v2/health/ready")[0] == 200)
    assert server.request("GET", "/v1/models/xor/versions/2")[0] == 200
    for _ in range(10):
        server.predict("xor", [[0, 1]])
    metrics = server.metrics()
    assert total(metrics["glassnet_http_requests_total"], route=PREDICT) == 50
    assert metrics["glassnet_requests_in_progress"] == {(): 1.0}


def test_sighup_renews_the_workers_without_a_failed_request(
    start: Callable[..., Any], served: Path, until: Callable[..., None]
) -> None:
    server = start(served)
    first = set(server.workers())
    with load(server.port, "xor", [0, 1]) as clients:
        until("traffic", lambda: len(clients.versions) > 20)
        server.process.send_signal(signal.SIGHUP)
        until(
            "new workers",
            lambda: len(server.workers()) == 2 and not first & set(server.workers()),
        )
        before = len(clients.versions)
        until("more traffic", lambda: len(clients.versions) > before + 50)
    assert clients.failures == []
    requests = server.metrics()["glassnet_http_requests_total"]
    assert total(requests, route=PREDICT) == len(clients.versions)


@pytest.mark.parametrize("encoding", ["length", "chunked"])
def test_a_body_over_the_limit_is_refused(
    start: Callable[..., Any], served: Path, encoding: str
) -> None:
    server = start(served, max_body_bytes=100_000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = b'{"instances": [[0, 1]]}' + b" " * 100_000
    pieces = iter([body]) if encoding == "chunked" else body
    connection.request("POST", "/v1/models/xor:predict", pieces, encode_chunked=True)
    reply = connection.getresponse()
    assert reply.status == 413
    assert "GLASSNET_MAX_BODY_BYTES" in json.loads(reply.read())["error"]
    connection.close()
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1


def test_hostile_requests_leave_no_trace(
    start: Callable[..., Any], served: Path
) -> None:
    server = start(served)
    pids = server.workers()
    for body in (
        b"",
        b"{",
        b"[" * 100_000,
        b'{"instances": ' + b"[" * 100_000,
        b'{"instances": [[Infinity, 1]]}',
        b'{"instances": [[1e999, 1]]}',
        b'{"instances": [["a", 1]]}',
        b'{"instances": [[1], [1, 2]]}',
        b'{"instances": [' + b"9" * 10_000 + b"]}",
        b"\x00\xff" * 1000,
    ):
        status, reply = server.request("POST", "/v1/models/xor:predict", body)
        assert status == 400, body[:40]
        assert list(reply) == ["error"]
    assert server.workers() == pids
    assert [line for line in server.log() if line["level"] == "error"] == []
    assert server.predict("xor", [[0, 1]])[0]["label"] == 1


#: Run by the server's Python before anything else: on a signal, a worker writes the
#: stack of each of its threads to a file.
STACKS = """
import faulthandler, os, signal

def register():
    file = open(os.path.join({stacks!r}, str(os.getpid())), "a")
    faulthandler.register(signal.SIGRTMIN, file, all_threads=True)

os.register_at_fork(after_in_child=register)
"""


def test_blas_has_one_thread_and_the_metrics_directory_goes_at_the_end(
    start: Callable[..., Any],
    served: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STACKS.format(stacks=str(tmp_path)))
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), path]))
    )
    server = start(served, threads=2)
    for _ in range(10):
        server.predict("digits", [[[0] * 8] * 8] * 500)
    for pid in server.workers():
        stacks, threads = tmp_path / str(pid), f"/proc/{pid}/task"

        # Asked anew each time: a thread may start between the stacks and the count.
        def all_are_pythons(
            pid: int = pid, stacks: Path = stacks, threads: str = threads
        ) -> bool:
            stacks.write_text("")
            os.kill(pid, signal.SIGRTMIN)
            time.sleep(0.1)
            known = stacks.read_text().count("most recent call first")
            return known == len(os.listdir(threads))

        # A thread of BLAS would have no stack of Python's.
        until("a stack of every thread", all_are_pythons)
        # The loop, those that answer, one for slow probes, and two that watch the
        # store and the tokens.
        assert len(os.listdir(threads)) <= 1 + 2 + 1 + 2
        assert b"MALLOC_ARENA_MAX=1" in Path(f"/proc/{pid}/environ").read_bytes()
    mapped = Path(f"/proc/{server.workers()[0]}/maps").read_text()
    found = re.search(r"(/\S+/glassnet-metrics-\w+)/", mapped)
    assert found
    assert Path(found[1]).is_dir()
    assert server.stop() == 0
    assert not Path(found[1]).exists()


@pytest.mark.parametrize("bind", ["0.0.0.0:{}", "[::1]:{}", "localhost:{}", "unix:{}"])
def test_the_probe_command_asks_where_the_server_listens(
    served: Path, tmp_path: Path, until: Callable[..., None], bind: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = bind.format(tmp_path / "s" if bind.startswith("unix") else port)
    environment = {**os.environ, "GLASSNET_BIND": where, "GLASSNET_WORKERS": "1"}
    environment |= {"GLASSNET_STORE": str(served), "GLASSNET_DRAIN_SECONDS": "0"}
    command = [sys.executable, "-m", "service.cli"]

    def probe() -> int:
        asked = subprocess.run(
            [*command, "probe"], env=environment, capture_output=True
        )
        return asked.returncode

    assert probe() == 1
    with subprocess.Popen([*command, "run"], env=environment) as server:
        try:
            until("readiness", lambda: probe() == 0)
        finally:
            server.terminate()
        assert server.wait(60) == 0
    assert probe() == 1

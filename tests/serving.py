"""A real server: `service run`, started on a free port and stopped by its own pid."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.private import write_secret

#: What lets a test load and unload models of any server it starts.
ADMIN = "may-load-and-unload"


@dataclass
class Server:
    """The process, its port and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    certificate: Path | None = None
    admin: ClassVar[dict[str, str]] = {"Authorization": f"Bearer {ADMIN}"}

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, by TLS where it has a certificate."""
        if self.certificate is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        trusted = ssl.create_default_context(cafile=self.certificate)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=30, context=trusted
        )

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Send one request on a connection of its own; return status and JSON."""
        connection = self.connect()
        try:
            raw = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            connection.request(method, path, raw, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def predict(self, model: str, instances: list[Any]) -> list[Any]:
        status, reply = self.request(
            "POST", f"/v1/models/{model}:predict", {"instances": instances}
        )
        assert status == 200, reply
        predictions: list[Any] = reply["predictions"]
        return predictions

    def metrics(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return what Prometheus would read: sample name → labels → value."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    def log(self) -> list[dict[str, Any]]:
        """Return its log so far; every line must be JSON."""
        lines = self.log_file.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def workers(self) -> list[int]:
        """Return the pids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def wait_for(what: str, condition: Callable[[], object], seconds: float = 30) -> None:
    """Poll until the condition holds, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, http.client.HTTPException):
            if condition():
                return
        time.sleep(0.02)
    pytest.fail(f"waited {seconds} s for {what}")


@contextmanager
def serving(logs: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that log to a directory; all are stopped in the end."""
    started: list[Server] = []

    def start(store: Path, ready: bool = True, **settings: object) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        admin = logs / "admin-tokens"
        write_secret(admin, ADMIN)
        defaults: dict[str, object] = {
            "workers": 2,
            "poll_seconds": 0.2,
            "drain_seconds": 0,
            "admin_token_file": admin,
        }
        chosen = {**defaults, **settings}
        environment = {
            f"GLASSNET_{name.upper()}": str(value) for name, value in chosen.items()
        }
        environment |= {"GLASSNET_STORE": str(store)}
        environment |= {"GLASSNET_BIND": f"127.0.0.1:{port}"}
        log_file = logs / f"server-{len(started)}.log"
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "run"],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
        certificate = settings.get("tls_certificate_file")
        assert certificate is None or isinstance(certificate, Path)
        server = Server(process, port, log_file, certificate)
        started.append(server)

        def answers() -> bool:
            if process.poll() is not None:
                pytest.fail(f"the server ended: {log_file.read_text()}")
            status, _ = server.request("GET", "/v2/health/ready")
            return status == 200 or not ready

        wait_for("the server to be ready", answers, 120)
        # The first worker may answer before the master has forked the last.
        wait_for("its workers", lambda: len(server.workers()) == chosen["workers"])
        return server

    try:
        yield start
    finally:
        for server in started:
            if server.process.poll() is None:
                server.process.terminate()
                try:
                    server.process.wait(60)
                except subprocess.TimeoutExpired:
                    server.process.kill()

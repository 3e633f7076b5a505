"""Real servers of buckets: SeaweedFS and moto, on loopback, stopped by their pid."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lacking import lacking

BUCKET = "artefacts"
KEY, SECRET = "trainer", "a-secret-of-the-tests"
#: All that a server of the tests may do.
IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def program(name: str) -> str:
    """Return a program of this environment, which `make cloud` installs."""
    found = Path(sys.executable).with_name(name)
    if found.exists():
        return str(found)
    return shutil.which(name) or lacking(f"no {name} here: make cloud installs it")


@dataclass
class BucketServer:
    """A server of S3 with one bucket, on a port and a directory of its own."""

    kind: str = "seaweedfs"
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="s3-")))
    process: subprocess.Popen[bytes] | None = None
    ports: list[int] = field(default_factory=lambda: free_ports(8))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """What the tools of AWS read."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def address(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def _command(self) -> list[str]:
        if self.kind == "moto":
            host = ["-H", "127.0.0.1", "-p", str(self.ports[0])]
            return [program("moto_server"), *host]
        config = self.home / "identities.json"
        config.write_text(json.dumps(IDENTITIES))
        names = ["s3.port", "s3.port.grpc"]
        for part in "master", "volume", "filer":
            names += [f"{part}.port", f"{part}.port.grpc"]
        ports = [f"-{name}={n}" for name, n in zip(names, self.ports, strict=True)]
        return [
            *(program("weed"), "server", f"-dir={self.home}", "-s3", *ports),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
            *("-volume.max=20", "-master.volumeSizeLimitMB=64"),
        ]

    def start(self) -> None:
        """Start it, with what it held before, and wait until the bucket is there."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, cwd=self.home
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(OSError, http.client.HTTPException):
                if self._make_bucket():
                    return
            time.sleep(0.1)
        pytest.fail((self.home / "log").read_text()[-2000:])

    def _make_bucket(self) -> bool:
        """Make the bucket with a signed request, by the library under the tests."""
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        options = {"endpoint": self.endpoint, "region": "us-east-1"}
        options |= {"access_key_id": KEY, "secret_access_key": SECRET}
        # A bucket is made as an object is, but of the empty name.
        url = obstore.sign(
            S3Store(BUCKET, client_options={"allow_http": True}, **options),  # type: ignore[arg-type]
            "PUT",
            "",
            timedelta(minutes=1),
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=10)
        try:
            connection.request("PUT", url.removeprefix(self.endpoint))
            return connection.getresponse().status in (200, 409)
        except BaseError:
            return False
        finally:
            connection.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it by its pid."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


class _WithoutConditions(BaseHTTPRequestHandler):
    """Passes requests on, but for their conditions, as an old server would see them."""

    protocol_version = "HTTP/1.1"
    port = 0

    def do_any(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        dropped = {"if-match", "if-none-match"}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = do_any

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def without_conditions(server: BucketServer) -> Iterator[str]:
    """Give the endpoint of a bucket that ignores If-Match and If-None-Match."""
    handler = type("Handler", (_WithoutConditions,), {"port": server.ports[0]})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
        proxy.shutdown()
        thread.join()


@contextmanager
def running(kind: str) -> Iterator[BucketServer]:
    """Run a server for a time."""
    server = BucketServer(kind)
    try:
        server.start()
        yield server
    finally:
        server.close()

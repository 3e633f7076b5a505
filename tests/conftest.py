"""Shared fixtures: small data, fitted models, a store to serve, a real server.

A server is `service run`, started on a free port and stopped by its own pid.
"""

from __future__ import annotations

import csv
import http.client
import json
import math
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.store import Store
from trainer import config
from trainer.job import Request, Result
from trainer.job import fit as run_fit

Fit = Callable[..., Result]
#: Most tests fit a model for its own sake, and a report takes a second to draw.
WITHOUT_REPORT = "runtime.report=false"
#: What lets a test load and unload models of any server it starts.
ADMIN = "may-load-and-unload"
#: Of the PostgreSQL made here: a password with every character that means something.
USER = "reader"
PASSWORD = "p w:@/?#%'\\"
#: Who runs the server where the tests are root's: initdb refuses root.
UNPRIVILEGED: dict[str, Any] = (
    {"user": "nobody", "group": "nogroup", "extra_groups": []}
    if os.geteuid() == 0
    else {}
)


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write columns as CSV; None becomes an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if value is None else value for value in row])
    return path


def people(n: int = 300, seed: int = 0) -> dict[str, list[Any]]:
    """A table of every column kind, with missing values, and a target it explains."""
    rng = np.random.default_rng(seed)
    income = rng.normal(50, 15, n)
    home = rng.choice(["owner", "rent", "parents"], n)
    member = rng.random(n) < 0.5
    day = rng.integers(0, 700, n)
    score = (income - 50) / 15 + (home == "owner") + 0.8 * member
    target = np.where(score + rng.normal(0, 0.3, n) > 0.7, "good", "bad")
    since = np.datetime64("2024-01-01") + day
    return {
        "income": [None if rng.random() < 0.1 else round(x, 2) for x in income],
        "home": [None if rng.random() < 0.1 else str(x) for x in home],
        "member": [bool(x) for x in member],
        "since": [str(x) for x in since],
        "children": [int(x) for x in rng.integers(0, 4, n)],
        "Status": [str(x) for x in target],
    }


@pytest.fixture(scope="session")
def fit() -> Fit:
    """Fit and publish like `trainer fit`; settings as for --set."""

    def fit(
        store: Path | Store,
        data: str | Path,
        *,
        target: str | None = None,
        model: str = "m",
        promote: str = "auto",
        seed: int = 42,
        settings: tuple[str, ...] = ("train.epochs=20",),
        **request: Any,
    ) -> Result:
        asked = Request(
            data=str(data),
            target=target,
            model=model,
            task=request.get("task"),
            validation=request.get("validation"),
            config=config.load(None, (WITHOUT_REPORT, *settings), {"seed": seed}),
            promote=promote,  # type: ignore[arg-type]
            resume=request.get("resume", False),
            time_limit=request.get("time_limit", math.inf),
        )
        place = store if isinstance(store, Store) else Store(store)
        say = request.get("say", lambda sentence: None)
        return run_fit(asked, place, say, request.get("watch", lambda standing: None))

    return fit


@pytest.fixture(scope="session")
def people_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The people of `people()` in a file."""
    return write_csv(tmp_path_factory.mktemp("data") / "people.csv", people())


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, fit: Fit, people_csv: Path
) -> Path:
    """A store with a table classifier, a regression of one column, images and xor.

    Not to be written to: tests that publish take a copy.
    """
    store = tmp_path_factory.mktemp("served") / "store"
    x = np.linspace(-10, 10, 200)
    half = {"x": x.tolist(), "y": (x / 2 + 2).tolist()}
    half_csv = write_csv(store.parent / "half.csv", half)
    fit(store, people_csv, target="Status", model="people")
    fit(store, half_csv, target="y", model="half_plus_two", settings=())
    fit(store, "builtin:digits", model="digits", settings=("train.epochs=5",))
    fit(store, "builtin:xor", model="xor", settings=())
    return store


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


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_for


@contextmanager
def serving(logs: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that log to a directory; all are stopped in the end."""
    started: list[Server] = []

    def start(store: Path, ready: bool = True, **settings: object) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        admin = logs / "admin-tokens"
        admin.write_text(ADMIN)
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

        wait_for("the server to be ready", answers)
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


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on a store; all are stopped when the test ends."""
    with serving(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """The same for a server that the tests of a module share."""
    with serving(tmp_path_factory.mktemp("shared")) as start:
        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, served: Path) -> Iterator[Server]:
    """One server on the served store for all tests that only ask."""
    with serving(tmp_path_factory.mktemp("server")) as start:
        yield start(served)


def lacking(reason: str) -> NoReturn:
    """Fail in CI, which has everything; elsewhere skip, and say what is lacking."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def absent(name: str, package: str) -> NoReturn:
    """Say how to have a program that is not here."""
    lacking(f"no {name} here: apt-get install {package}")


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount file systems in memory, of a size such as `1m`."""
    places: list[Path] = []

    def tmpfs(size: str) -> Path:
        place = tmp_path / f"tmpfs-{size}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs"]
        done = subprocess.run([*command, place], capture_output=True, text=True)
        if done.returncode:
            lacking(f"no file system can be mounted here: {done.stderr.strip()}")
        places.append(place)
        return place

    yield tmpfs
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """Find a program by its name and Debian's package."""

    def find(name: str, package: str) -> str:
        return shutil.which(name) or absent(name, package)

    return find


def _programs() -> Path:
    """Return where the server's programs are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        absent("PostgreSQL", "postgresql")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


@dataclass
class Postgres:
    """A real server on its own port and data directory, as a user without rights.

    `url` is without the password.
    """

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pg-")))
    programs: Path = field(default_factory=_programs)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    password: str = PASSWORD

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the data directory, with a superuser who needs the password."""
        secret = self.home / "password"
        secret.write_text(PASSWORD)
        if UNPRIVILEGED:
            shutil.chown(self.home, "nobody", "nogroup")
            shutil.chown(secret, "nobody", "nogroup")
        self.home.chmod(0o755)
        command = [self.programs / "initdb", "-D", self.home / "data", "-U", USER]
        command += ["-A", "scram-sha-256", f"--pwfile={secret}", "-N", "-E", "UTF8"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **UNPRIVILEGED)

    def start(self) -> None:
        """Start it, on the port it had, and wait until it answers."""
        if not self.port:
            with closing(socket.socket()) as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [self.programs / "postgres", "-D", self.home / "data", "-F"]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", self.home]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, **UNPRIVILEGED
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.home / "log").read_text()
            with suppress(Exception):
                self.run("SELECT 1")
                return
            time.sleep(0.05)
        pytest.fail((self.home / "log").read_text())

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it by its pid: SIGINT breaks connections off, SIGQUIT is a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)

    def run(self, *statements: str) -> None:
        """Carry out statements as the owner of everything."""
        import adbc_driver_postgresql.dbapi as driver

        host = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres"
        secret = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        with (
            driver.connect(f"{host} password='{secret}'") as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """A running PostgreSQL, and its password in the environment."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    if _postgres.process is None or _postgres.process.poll() is not None:
        _postgres.start()
    return _postgres

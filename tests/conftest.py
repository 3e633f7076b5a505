"""Shared fixtures: small data, fitted models, a store to serve."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.store import Store
from trainer import config
from trainer.job import Request, Result
from trainer.job import fit as run_fit

Fit = Callable[..., Result]
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
            config=config.load(None, settings, {"seed": seed}),
            promote=promote,  # type: ignore[arg-type]
        )
        place = store if isinstance(store, Store) else Store(store)
        return run_fit(asked, place, lambda sentence: None, lambda history: None)

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


def _programs() -> Path:
    """Return where the server's programs are; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        reason = "no PostgreSQL here: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
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

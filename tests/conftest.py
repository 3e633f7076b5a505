"""Shared fixtures: small data, fitted models, a store to serve, real servers."""

from __future__ import annotations

import csv
import inspect
import math
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.directory import DirectoryStore as Store
from tests.buckets import BucketServer, running
from tests.lacking import absent, lacking
from tests.postgres import PASSWORD, Postgres
from tests.serving import Server, serving, wait_for
from tests.starting import starts
from trainer.config import loading
from trainer.pipeline import FitRequest, FitResult
from trainer.pipeline import run as run_fit
from trainer.types import Messages

Fit = Callable[..., FitResult]
#: Most tests fit a model for its own sake, and a report takes a second to draw.
WITHOUT_REPORT = "runtime.report=false"
#: Small tables are promoted too: most tests are of something else than the gate.
LENIENT = ("gate.baseline=false", "gate.minimum_rows=1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --times, which `make repeat` uses."""
    parser.addoption(
        "--times", type=int, default=1, help="run each test marked `processes` N times"
    )


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start, also under `nohup` and `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _starts(test: Any) -> bool:
    fixtures = test._fixtureinfo.name2fixturedefs.values()
    functions = [test.function, *(each[-1].func for each in fixtures)]
    return any(starts(inspect.unwrap(function)) for function in functions)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test that starts a process, a thread or a signal.

    Only if `-m` asks for the mark: reading all sources takes seconds.
    """
    asked = "processes" in item.config.getoption("markexpr")
    if asked and isinstance(item, pytest.Function) and _starts(item):
        item.add_marker("processes")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the tests that are marked so as often as --times says."""
    times = metafunc.config.getoption("times")
    if times > 1 and _starts(metafunc.definition):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


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
    ) -> FitResult:
        asked = FitRequest(
            data=str(data),
            target=target,
            model=model,
            task=request.get("task"),
            validation=request.get("validation"),
            config=loading.load(
                None, (WITHOUT_REPORT, *LENIENT, *settings), {"seed": seed}
            ),
            promote=promote,  # type: ignore[arg-type]
            resume=request.get("resume", False),
            time_limit=request.get("time_limit", math.inf),
        )
        place = store if isinstance(store, Store) else Store(store)
        say = request.get("say", lambda sentence: None)
        messages = Messages(finding=say, step=say, reason=say)
        watch = request.get("watch", lambda progress: None)
        return run_fit(asked, place, messages, watch)

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
    plain = ("network.architecture=mlp",)
    fit(store, half_csv, target="y", model="half_plus_two", settings=plain)
    fit(store, "builtin:digits", model="digits", settings=("train.epochs=5",))
    fit(store, "builtin:xor", model="xor", promote="always", settings=())
    return store


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_for


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


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    """A running server of the tests' own: SeaweedFS, or moto if BUCKETS says so."""
    with running(os.environ.get("BUCKETS", "seaweedfs")) as server:
        yield server


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store in a bucket, and its keys in the environment."""
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    return bucket_server.address(uuid.uuid4().hex)

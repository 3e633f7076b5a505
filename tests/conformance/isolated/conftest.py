"""A real server for real clients, each in an environment of its own.

`make conformance` makes those environments, since no client is among our dependencies.
A client is a script in `clients/`: it asks, and prints what its library returned.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from models.model import Model
from models.storage.directory import DirectoryStore as Store

ROOT = Path(__file__).parents[3]
CLIENTS = Path(__file__).parent / "clients"
ENVIRONMENTS = ROOT / ".conformance"

Serve = Callable[[str], int]


@pytest.fixture(scope="session")
def serve(
    served: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], int]]:
    """Return the port of a server whose default is a model; started once for each."""
    ports: dict[str, int] = {}
    processes: list[subprocess.Popen[bytes]] = []

    def serve(model: str) -> int:
        if model not in ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                ports[model] = probe.getsockname()[1]
            settings = {
                "GLASSNET_STORE": str(served),
                "GLASSNET_BIND": f"127.0.0.1:{ports[model]}",
                "GLASSNET_DEFAULT_MODEL": model,
                "GLASSNET_DRAIN_SECONDS": "0",
            }
            log = tmp_path_factory.mktemp("log") / "server.log"
            processes.append(start(settings, log))
            wait_for(processes[-1], ports[model], log)
        return ports[model]

    yield serve
    for process in processes:
        process.terminate()
        assert process.wait(60) == 0


def start(settings: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "service.cli", "run"],
            env={**os.environ, **settings},
            stdout=file,
            stderr=file,
        )


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
            return
        time.sleep(0.05)
    pytest.fail(f"the server is not ready: {log.read_text()}")


@pytest.fixture(scope="session")
def run_client() -> Callable[..., dict[str, Any]]:
    """Run a client's script on given facts; return what it printed."""

    def run_client(
        name: str, facts: dict[str, Any], script_name: str = ""
    ) -> dict[str, Any]:
        python = ENVIRONMENTS / name / "bin" / "python"
        assert python.exists(), f"no {python}: `make conformance` makes it"
        script = CLIENTS / f"{script_name or name}_client.py"
        environment = {
            **os.environ,
            "PYTHONPATH": "",
            "NO_PROXY": "127.0.0.1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        done = subprocess.run(
            [python, script],
            input=json.dumps(facts),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run_client


@pytest.fixture(scope="session")
def model(served: Path) -> Callable[[str], Model]:
    """Return a served model itself, to know what it answers."""
    return lambda name: Store(served).load(name, 1).model

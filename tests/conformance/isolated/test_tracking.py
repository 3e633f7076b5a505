"""`trainer fit --track` on a real MLflow server, read back with MLflow's own client."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trainer.cli.main import main

from .conftest import ENVIRONMENTS

XOR = ("fit", "builtin:xor", "--model", "x", "--epochs", "20", "--json")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with a database and a folder of files."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    arguments += ["--artifacts-destination", str(folder / "files")]
    command = ENVIRONMENTS / "mlflow" / "bin" / "mlflow"
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONPATH": "",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "server", *arguments],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        time.sleep(0.2)
    else:
        pytest.fail((folder / "server.log").read_text())
    yield url
    process.terminate()
    process.wait(60)


def fit(store: Path, url: str, *more: str) -> tuple[dict[str, Any], str]:
    """Return what a run has printed: its result, and its messages."""
    done = CliRunner().invoke(
        main, [*XOR, "--store", str(store), "--track", url, *more]
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_runs_are_written_with_settings_figures_and_files(
    server: str, tmp_path: Path, run_client: Callable[..., Any]
) -> None:
    first, said = fit(tmp_path, server)
    second, _ = fit(tmp_path, server, "--seed", "5")
    facts = {"url": server, "experiment": "x"}
    runs = run_client("mlflow", facts, "tracking")["runs"]
    assert f"tracked: {server}/#/experiments/" in said
    assert [run["name"] for run in runs] == ["x 1", "x 2"]
    for run, result in zip(runs, (first, second), strict=True):
        assert run["status"] == "FINISHED"
        assert run["seconds"] == pytest.approx(result["timing"]["total_s"], abs=0.01)
        assert run["params"]["seed"] == str(result["config"]["seed"])
        assert run["params"]["train.epochs"] == "20"
        assert run["metrics"]["log_loss"] == pytest.approx(
            result["metrics"]["log_loss"]
        )
        assert run["metrics"]["timing/train_s"] == result["timing"]["train_s"]
        assert run["tags"]["glassnet.sha256"] == result["sha256"]
        assert run["tags"]["mlflow.note.content"] == result["reason"]
        version = tmp_path / "x" / str(result["version"])
        assert run["files"] == {
            name: hashlib.sha256((version / name).read_bytes()).hexdigest()
            for name in ("model.npz", "report.html")
        }


def test_a_server_that_refuses_is_quoted(server: str, tmp_path: Path) -> None:
    result, said = fit(tmp_path, f"{server}/nothing/here")
    assert "--track: the server answered 404: " in said
    assert (tmp_path / "x" / str(result["version"]) / "model.npz").exists()

"""`trainer fit --engine ray` on a Ray of this machine and on a cluster of eight nodes.

`make ray` runs this: it installs Ray into an environment of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.processes import gone
from tests.serving import wait_for
from trainer.engines.blas import find_blas

ROOT = Path(__file__).resolve().parents[4]
PYTHON = ROOT / ".ray" / "bin" / "python"
PARTS = ("ensemble.members=8", "runtime.report=false", "network.hidden=[32]")
#: Long enough that a signal meets a network in the middle.
LONG = ("train.epochs=400", "train.patience=400")
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


class Trainer:
    """The command, in the environment that has Ray."""

    def __init__(self, store: Path, data: Path) -> None:
        self.store, self.data = store, data
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, *settings: str, options: tuple[str, ...] = (), **env: str
    ) -> subprocess.Popen[str]:
        command = [PYTHON, "-m", "trainer.cli", "fit", self.data, "--target", "Status"]
        command += ["--model", "m", "--promote", "always", "--json", *options]
        for setting in (*PARTS, *settings):
            command += ["--set", setting]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        started = subprocess.Popen(
            [*command, "--store", self.store],
            env=clean | env,
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(started)
        return started

    def stop(self) -> None:
        """End what a failed test left running; Ray's processes end with it."""
        for started in self.started:
            started.kill()
            started.communicate(timeout=PATIENCE)

    def fit(self, *settings: str, options: tuple[str, ...] = (), **env: str) -> Any:
        """Return the result of a run that must succeed, with what it said."""
        started = self.start(*settings, options=options, **env)
        out, err = started.communicate(timeout=PATIENCE)
        assert started.returncode == 0, err
        return json.loads(out) | {"said": err}

    def fail(self, *settings: str, options: tuple[str, ...] = (), **env: str) -> str:
        """Return what a run said that must end in one sentence and publish nothing."""
        started = self.start(*settings, options=options, **env)
        out, err = started.communicate(timeout=PATIENCE)
        assert started.returncode in (1, 2) and not out, (out, err)
        assert "Traceback" not in err and not list(self.store.glob("m/[0-9]*")), err
        return err


pytestmark = pytest.mark.timeout(1200)
#: Seconds to wait for what a busy machine does slowly, such as to start Ray.
PATIENCE = 240
RAY = ("--engine", "ray")


@pytest.fixture
def trainer(tmp_path: Path, people_csv: Path) -> Iterator[Trainer]:
    trainer = Trainer(tmp_path / "store", people_csv)
    yield trainer
    trainer.stop()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, people_csv: Path) -> list[str]:
    """The digests of a short and a long run in one process."""
    runs = [Trainer(tmp_path_factory.mktemp("store"), people_csv) for _ in range(2)]
    settings = [("train.epochs=20",), LONG]
    return [
        run.fit("runtime.threads=2", *more)["sha256"]
        for run, more in zip(runs, settings, strict=True)
    ]


@contextlib.contextmanager
def clustered(*arguments: str) -> Iterator[dict[str, str]]:
    """Start a cluster; give the environment of a command that uses it."""
    with subprocess.Popen(
        [PYTHON, Path(__file__).with_name("cluster.py"), *arguments],
        env=os.environ | TOKEN | {"RAY_USAGE_STATS_ENABLED": "0"},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as started:
        assert started.stdin and started.stdout
        address = started.stdout.readline().strip()
        assert address
        yield TOKEN | {"RAY_ADDRESS": address}


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """Hold a cluster of eight nodes."""
    with clustered("8") as environment:
        yield environment


def children(pid: int) -> list[int]:
    """Return the processes below one, as they are now."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def working(pid: int) -> list[int]:
    """Return the Ray workers below a process that run a task now."""

    def title(child: int) -> bytes:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{child}/cmdline").read_bytes()
        return b""

    return [child for child in children(pid) if title(child).startswith(b"ray::_run")]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_number_of_workers_changes_no_byte(
    workers: int, trainer: Trainer, expected: list[str]
) -> None:
    threads = f"runtime.threads={workers}"
    result = trainer.fit("train.epochs=20", threads, options=RAY)
    assert result["sha256"] == expected[0]
    run = json.loads((trainer.store / "m" / "1" / "run.json").read_text())
    assert len(run["networks"]) == 8 and len(set(run["networks"])) == 1
    assert "ray" not in result["said"].lower(), result["said"]


def test_a_worker_that_is_killed_is_replaced_and_changes_no_byte(
    trainer: Trainer, expected: list[str]
) -> None:
    started = trainer.start(*LONG, "runtime.threads=2", options=RAY)
    wait_for("workers", lambda: len(working(started.pid)) == 2, PATIENCE)
    time.sleep(1.0)  # for a checkpoint
    os.kill(working(started.pid)[0], signal.SIGKILL)
    out, err = started.communicate(timeout=PATIENCE)
    assert json.loads(out)["sha256"] == expected[1], err
    assert err.count("lost its worker and is started again") == 1, err


def test_a_warm_start_changes_no_byte(trainer: Trainer, people_csv: Path) -> None:
    """The weights of production travel to the workers with the tasks."""
    trainer.fit("train.epochs=5")
    other = Trainer(trainer.store.with_name("other"), people_csv)
    shutil.copytree(trainer.store, other.store)
    found, expected = (
        runner.fit("train.epochs=5", options=("--warm-start", *options))
        for runner, options in ((trainer, RAY), (other, ()))
    )
    assert found["version"] == 2 and "no warm start" not in found["said"]
    assert found["sha256"] == expected["sha256"]


def test_workers_read_their_files_and_change_no_byte(
    trainer: Trainer, people_csv: Path, tmp_path: Path, cluster: dict[str, str]
) -> None:
    """With `data.partitions=members`, on this machine's Ray and on eight nodes."""
    rows = tmp_path / "rows"
    rows.mkdir()
    people = pl.read_csv(people_csv, infer_schema_length=None)
    for number in range(10):
        people[number::10].write_parquet(rows / f"{number}.parquet")
    trainer.data = rows
    settings = ("train.epochs=5", "data.partitions=members")
    expected = trainer.fit(*settings)
    assert "each of 8 networks learns 1 or 2 of the 10 files" in expected["said"]
    for env in {}, cluster:
        found = trainer.fit(*settings, options=RAY, **env)
        assert found["sha256"] == expected["sha256"]


def test_files_are_predicted_to_the_same_bytes(
    trainer: Trainer, people_csv: Path, tmp_path: Path
) -> None:
    trainer.fit("train.epochs=2", "ensemble.members=1")
    rows = tmp_path / "rows" / "kind=a"
    rows.mkdir(parents=True)
    for number in range(4):
        shutil.copy(people_csv, rows / f"{number}.csv")
    command = [PYTHON, "-m", "trainer.cli", "predict", rows.parent, "--model", "m"]
    command += ["--keep", "kind", "--store", trainer.store, "--out"]

    def predict(out: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, tmp_path / out, *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=PATIENCE,
        )

    for out, options in ("serial", ()), ("ray", RAY):
        done = predict(out, *options)
        assert done.returncode == 0, done.stderr
        assert "in 4 files" in done.stderr and done.stderr.count("300 rows") == 4
    found = [
        {path.name: path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("serial", "ray")
    ]
    assert found[0] == found[1] and len(found[0]) == 4
    assert "4 were there already" in predict("ray", *RAY).stderr
    (rows / "bad.csv").write_text("income,home\n1,2\n")
    failed = predict("ray", *RAY)
    assert failed.returncode == 1 and "bad.csv: column" in failed.stderr
    assert "Traceback" not in failed.stderr
    refused = predict("all.csv", *RAY)
    assert (
        refused.returncode == 2 and "DATA and --out must be folders" in refused.stderr
    )


def test_our_own_error_is_not_tried_again(trainer: Trainer) -> None:
    said = trainer.fail("train.learning_rate=1e6", options=RAY)
    assert "Error: " in said and "learning_rate" in said
    assert "started again" not in said


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)]
)
def test_an_interrupted_run_leaves_no_process_and_is_resumed(
    number: signal.Signals, code: int, trainer: Trainer, expected: list[str]
) -> None:
    started = trainer.start(*LONG, "runtime.threads=2", options=RAY)
    wait_for("workers", lambda: len(working(started.pid)) == 2, PATIENCE)
    kept = trainer.store / "m"
    wait_for("checkpoints", lambda: bool([*kept.glob(".checkpoint-*/*.npz")]), PATIENCE)
    pids = children(started.pid)
    if number == signal.SIGINT:
        os.killpg(started.pid, number)  # as a terminal does
    else:
        started.terminate()
    _, err = started.communicate(timeout=PATIENCE)
    assert started.returncode == code and "Traceback" not in err, err
    wait_for("their end", lambda: all(gone(pid) for pid in pids), PATIENCE)
    more = trainer.fit(*LONG, "runtime.threads=2", options=("--resume",))
    assert "resuming the interrupted run" in more["said"]
    assert more["sha256"] == expected[1]


def test_workers_end_with_a_caller_that_is_killed(trainer: Trainer) -> None:
    started = trainer.start(*LONG, "runtime.threads=2", options=RAY)
    wait_for("workers", lambda: len(working(started.pid)) == 2, PATIENCE)
    pids = working(started.pid)  # Ray's agents need another minute
    started.kill()
    started.communicate(timeout=PATIENCE)
    wait_for("their end", lambda: all(gone(pid) for pid in pids), PATIENCE)


def test_a_time_limit_ends_training(trainer: Trainer) -> None:
    options = (*RAY, "--time-limit", "10")
    result = trainer.fit(
        "train.epochs=1000000", "train.patience=1000000", options=options
    )
    assert "the time limit ended training in epoch" in result["said"]


# A cluster.


def test_eight_nodes_change_no_byte(
    trainer: Trainer, expected: list[str], cluster: dict[str, str]
) -> None:
    result = trainer.fit("train.epochs=20", options=RAY, **cluster)
    assert result["sha256"] == expected[0]


def test_a_wrong_token_is_said(trainer: Trainer, cluster: dict[str, str]) -> None:
    wrong = cluster | {"RAY_AUTH_TOKEN": "f" * 64}
    assert "token" in trainer.fail(options=RAY, **wrong)


@pytest.fixture
def site(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Run a line of Python at the start of the command."""

    def write(line: str) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(line)
        return {"PYTHONPATH": str(tmp_path)}

    return write


def test_another_version_of_ray_is_said(
    trainer: Trainer, cluster: dict[str, str], site: Callable[[str], dict[str, str]]
) -> None:
    other = site("import ray; ray.__version__ = '2.40.0'")
    said = trainer.fail(options=RAY, **cluster, **other)
    assert "runs Ray 2.6" in said and "this machine Ray 2.40.0" in said


def test_a_mixture_of_kernels_is_refused_and_one_for_all_can_be_chosen(
    trainer: Trainer, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = find_blas().kernel
    with clustered("2", "Nehalem") as cluster:
        monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)  # a choice for all nodes
        said = trainer.fail("train.epochs=20", options=RAY, **cluster)
        assert "(node-2) has glassnet" in said and " Nehalem, 1 thread" in said
        chosen = cluster | {"OPENBLAS_CORETYPE": kernel}
        result = trainer.fit("train.epochs=20", options=RAY, **chosen)
        assert result["sha256"] == expected[0]


def test_no_cluster_at_the_address_is_said(trainer: Trainer) -> None:
    said = trainer.fail(options=RAY, RAY_ADDRESS="127.0.0.1:1")
    assert "the Ray cluster at 127.0.0.1:1" in said

"""Real runs, killed at any moment and resumed: the artefact has the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from models.storage.directory import DirectoryStore as Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

#: Half of them here at least; `make endurance` asks for 200.
KILLS = int(os.environ.get("KILLS", "12")) // 2
AT_ONCE = 2
#: Two of RealMLP, each long enough to be written down a few times.
SETTINGS = ("ensemble.members=2", "train.epochs=400", "train.patience=400")
#: The command, in a process that kills itself where it would clear its checkpoints.
KILLED_BEFORE_CLEAR = """
import os, signal
from trainer.cli.main import main
from trainer.training.checkpoint import Checkpoints
clear = Checkpoints.clear
def killed(self):
    if self.exist:
        os.kill(os.getpid(), signal.SIGKILL)
    clear(self)
Checkpoints.clear = killed
main()
"""


@dataclass(frozen=True)
class Trainer:
    """`trainer fit` on one table, into a store of its own."""

    data: Path
    root: Path

    def start(
        self,
        *options: str,
        settings: tuple[str, ...] = SETTINGS,
        command: tuple[str, ...] = ("-m", "trainer.cli"),
    ) -> subprocess.Popen[str]:
        assignments = [("--set", text) for text in (*settings, "runtime.threads=2")]
        return subprocess.Popen(
            [
                *(sys.executable, *command, "fit", str(self.data), "--target", "y"),
                *("--model", "m", "--store", str(self.root), "--json", *options),
                *(part for pair in assignments for part in pair),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def checkpoints(self) -> list[Path]:
        return list(self.root.glob("m/.checkpoint-*/*.npz"))

    def check(self, expected: str) -> None:
        """Prove that every version has the bytes, and that nothing else is left."""
        store = Store(self.root)
        for version in store.require("m"):
            assert store.load("m", version).sha256 == expected
        assert not list(self.root.rglob(".checkpoint-*"))


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end; return the sha256 of what came of it."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    digest: str = json.loads(out)["sha256"]
    return digest


def killed(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill after some seconds; return whether it had not ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    X, kind = rng.normal(size=(600, 3)).round(4), rng.choice(["a", "b", "c"], 600)
    score = X[:, 0] + X[:, 1] * X[:, 2] + (kind == "a") + rng.normal(0, 0.3, 600)
    path = tmp_path_factory.mktemp("data") / "data.csv"
    lines = [
        f"{u},{v},{w},{k},{'yes' if s > 0 else 'no'}\n"
        for (u, v, w), k, s in zip(X, kind, score, strict=True)
    ]
    path.write_text("u,v,w,kind,y\n" + "".join(lines))
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The sha256 of a run that is not interrupted, and the seconds that it takes."""
    homes = [tmp_path_factory.mktemp("whole") for _ in range(AT_ONCE)]
    began = time.monotonic()
    runs = [Trainer(data, home).start() for home in homes]
    (digest,) = {finish(run) for run in runs}
    return digest, time.monotonic() - began


@pytest.mark.long
def test_killed_at_any_moment_and_resumed_it_ends_in_the_same_bytes(
    data: Path, whole: tuple[str, float], tmp_path: Path
) -> None:
    expected, usual = whole
    lengths = [usual]  # the machine may have been busy then, and be so no more
    moments = np.random.default_rng(9).random((10 * KILLS, 8)).tolist()

    def one(number: int) -> tuple[int, int]:
        """Kill a run again and again until it is done; count the kills, and those
        after which there was something to go on from."""
        trainer = Trainer(data, tmp_path / str(number))
        kills = hits = 0
        for share in moments[number]:
            began = time.monotonic()
            process = trainer.start("--resume")
            if not killed(process, share * min(lengths)):
                if not kills:
                    lengths.append(time.monotonic() - began)
                break
            kills, hits = kills + 1, hits + bool(trainer.checkpoints)
        else:
            process = trainer.start("--resume")
        assert finish(process) == expected
        trainer.check(expected)
        return kills, hits

    kills = hits = runs = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while kills < KILLS:
            for some, useful in pool.map(one, range(runs, runs + AT_ONCE)):
                kills, hits = kills + some, hits + useful
            runs += AT_ONCE
    print(f"{kills} kills of {runs} runs, {hits} with a checkpoint to go on from")
    assert hits


@pytest.mark.long
def test_killed_between_publishing_and_clearing_it_ends_in_the_same_bytes(
    data: Path, whole: tuple[str, float], tmp_path: Path
) -> None:
    expected, _ = whole
    trainer = Trainer(data, tmp_path)
    process = trainer.start(command=("-c", KILLED_BEFORE_CLEAR))
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert Store(tmp_path).versions("m") == [1]
    assert trainer.checkpoints
    assert finish(trainer.start("--resume")) == expected
    trainer.check(expected)


@pytest.mark.long
def test_ctrl_c_ends_it_soon_and_it_is_resumed(
    data: Path, whole: tuple[str, float], tmp_path: Path, until: Callable[..., None]
) -> None:
    expected, _ = whole
    trainer = Trainer(data, tmp_path)
    process = trainer.start()
    until("a checkpoint", lambda: trainer.checkpoints)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.endswith("Aborted!\n") and "Traceback" not in error
    assert Store(tmp_path).versions("m") == []
    assert finish(trainer.start("--resume")) == expected
    trainer.check(expected)


def test_ctrl_c_does_not_wait_for_what_would_take_hours(
    data: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    trainer = Trainer(data, tmp_path)
    process = trainer.start(settings=("train.epochs=1000000", "train.patience=1000000"))
    try:
        until("a checkpoint", lambda: trainer.checkpoints)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1

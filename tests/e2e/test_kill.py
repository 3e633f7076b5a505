"""kill -9 at any moment of a training run: what can be seen is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models.storage import files
from models.storage.base import PRODUCTION
from models.storage.directory import ABANDONED_SECONDS
from models.storage.directory import DirectoryStore as Store

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(3600)]

#: Half of them at any moment; `make endurance` asks for 200.
KILLS = int(os.environ.get("KILLS", "6"))
AT_ONCE = 2


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start `trainer fit` on a small table, always into the same store."""
    x = np.random.default_rng(0).normal(size=80).round(4)
    data = tmp_path / "data.csv"
    data.write_text("x,y\n" + "".join(f"{v},{'ab'[int(v > 0)]}\n" for v in x))
    arguments = ["fit", str(data), "--target", "y", "--model", "m", "--json"]
    arguments += ["--promote", "always"]  # too few rows to prove anything
    arguments += ["--store", str(tmp_path / "store"), "--set", "train.epochs=20"]

    def run() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def check(store: Store, seen: set[int]) -> None:
    """Prove every version that is new; a load answers the golden request again."""
    # Others publish meanwhile: a label may not lead to what is not there yet.
    meant = [label.version for label in store.labels("m").values()]
    meant += [store.resolve("m")]
    versions = store.versions("m")
    assert seen | set(meant) <= set(versions)
    for version in set(versions) - seen:
        store.load("m", version)
        seen.add(version)


def finish(process: subprocess.Popen[str]) -> int:
    """Wait; a run that was not killed must have ended well or been refused."""
    out, error = process.communicate(timeout=120)
    if process.returncode != -signal.SIGKILL:
        assert process.returncode in (0, 3), error
        assert json.loads(out)["model"] == "m"
    return process.returncode


def at_a_moment(seconds: float) -> Callable[[subprocess.Popen[str]], None]:
    """Kill after some seconds."""

    def wait(process: subprocess.Popen[str]) -> None:
        time.sleep(seconds)

    return wait


def while_publishing(store: Store, seconds: float) -> Callable[..., None]:
    """Kill some seconds after a change in the store that only publishing makes."""
    home = store.root / "m"

    def entries() -> set[str]:
        return {e for e in os.listdir(home) if not e.startswith(".checkpoint-")}

    def wait(process: subprocess.Popen[str]) -> None:
        before = entries()
        while entries() == before and process.poll() is None:
            pass
        time.sleep(seconds)

    return wait


@pytest.mark.parametrize("when", ["at any moment", "while publishing"])
def test_whatever_is_killed_what_is_visible_is_whole(
    when: str, start: Callable[[], subprocess.Popen[str]], store: Store
) -> None:
    began = time.monotonic()
    codes = [finish(process) for process in [start() for _ in range(AT_ONCE)]]
    usual = time.monotonic() - began
    assert 0 in codes
    rng = np.random.default_rng(9)

    def moment() -> Callable[[subprocess.Popen[str]], None]:
        if when == "at any moment":
            return at_a_moment(rng.uniform(0, usual))
        return while_publishing(store, rng.uniform(0, 0.01))

    def kill(wait: Callable[[subprocess.Popen[str]], None]) -> int:
        """Kill a run; the next one must not be affected."""
        process = start()
        wait(process)
        process.kill()
        code = finish(process)
        assert finish(start()) in (0, 3)
        return code

    seen: set[int] = set()
    runs = killed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while killed < KILLS // 2:  # some end before their moment
            for code in pool.map(kill, [moment() for _ in range(AT_ONCE)]):
                runs, killed = runs + 1, killed + (code == -signal.SIGKILL)
                check(store, seen)
    with files.locked(store.root / "m", wait=False):
        pass  # no lock outlives who held it
    print(f"{when}: {killed} of {runs} runs were killed, {len(seen)} versions")

    # Remains of killed runs do no harm, and are removed once they are old.
    home = store.root / "m"
    for left in home.glob(".new-*"):
        old = time.time() - 2 * ABANDONED_SECONDS
        os.utime(left, (old, old))
    assert finish(start()) in (0, 3)
    assert max(seen) < store.versions("m")[-1]
    check(store, seen)
    assert not list(home.glob(".new-*"))
    assert store.load("m", store.labels("m")[PRODUCTION].version)

"""The disk is full at any moment of a run: one sentence, and a store that is whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.storage import files
from models.storage.directory import DirectoryStore as Store

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(3600)]

#: `make endurance` asks for 20.
MOMENTS = int(os.environ.get("MOMENTS", "4"))
SIZE = 4 << 20
PAGE = 4096


class Disk:
    """A small file system of its own; a file as large as need be leaves it full."""

    def __init__(self, place: Path) -> None:
        self.place, self.ballast = place, place / "ballast"

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.place).free

    def fill(self, leave: int = 0) -> None:
        """Leave this many bytes free, if there are as many."""
        with self.ballast.open("wb") as file:
            while (left := self.free - leave) >= PAGE:
                file.write(bytes(min(left, 64 * PAGE) // PAGE * PAGE))
                file.flush()

    def empty(self) -> None:
        self.ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(mount: Callable[[str], Path]) -> Disk:
    return Disk(mount(str(SIZE)))


def start(data: Path, store: Store) -> subprocess.Popen[str]:
    arguments = ["fit", str(data), "--target", "y", "--model", "m", "--json"]
    arguments += ["--promote", "always"]  # too few rows to prove anything
    arguments += ["--store", str(store.root), "--set", "train.epochs=20"]
    return subprocess.Popen(
        [sys.executable, "-m", "trainer.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait; return how it ended, and what it said last."""
    out, error = process.communicate(timeout=120)
    assert "Traceback" not in error, error
    if process.returncode != 1:
        assert process.returncode in (0, 3), error
        assert json.loads(out)["model"] == "m"
    return process.returncode, error.splitlines()[-1]


def check(store: Store) -> None:
    """Verify the visible versions, and that the lock is free."""
    for version in store.versions("m"):
        store.load("m", version)
    assert store.resolve("m") in store.versions("m")
    for label in store.labels("m").values():
        assert label.version in store.versions("m")
    with files.locked(store.root / "m", wait=False):
        pass


def test_a_disk_that_is_full_at_any_moment(disk: Disk, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=80).round(4)
    data = tmp_path / "data.csv"
    data.write_text("x,y\n" + "".join(f"{v},{'ab'[int(v > 0)]}\n" for v in x))
    store = Store(disk.place / "store")
    code, error = finish(start(data, store))
    assert code == 0, error
    before, began = disk.free, time.monotonic()
    code, error = finish(start(data, store))
    assert code == 0, error
    usual, takes = time.monotonic() - began, before - disk.free
    shares = np.random.default_rng(1).random(MOMENTS)
    codes = []
    for number, share in enumerate(shares):
        if number % 2:  # full from some moment on
            process = start(data, store)
            time.sleep(share * usual)
            disk.fill()
        else:  # full once so much is written
            disk.fill(leave=int(share * takes))
            process = start(data, store)
        code, last = finish(process)
        codes.append(code)
        if code == 1:
            assert "No space left on device" in last
        check(store)
        disk.empty()
        code, error = finish(start(data, store))
        assert code in (0, 3), error
        check(store)
        store.prune("m", keep=2)
    print(f"{codes.count(1)} of {MOMENTS} runs found the disk full")
    assert 1 in codes
    assert not list(store.root.rglob(".new-*"))

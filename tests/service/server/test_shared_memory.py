"""Memory that is reserved before it is used, and a sentence where there is little."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.server.shared_memory import WORKER_BYTES, mapped, shortage


def full(*_: object) -> None:
    raise OSError("no space left on device")


def test_a_file_is_made_with_its_room(tmp_path: Path) -> None:
    memory = mapped(tmp_path / "file", 100_000)
    assert memory[:] == bytes(100_000)
    assert (tmp_path / "file").stat().st_blocks * 512 >= 100_000
    memory[:3] = b"abc"
    assert (tmp_path / "file").read_bytes()[:4] == b"abc\0"


def test_a_file_without_room_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no space"):
        mapped(tmp_path / "file", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [0, 1])
def test_too_little_memory_for_all_workers_is_told(
    monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    free = SimpleNamespace(free=3 * WORKER_BYTES - missing)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    told = shortage(Path("/shm"), 3)
    assert (told is not None) == bool(missing)
    assert told is None or told.startswith("/shm has 3071 KiB free, and the metrics of")

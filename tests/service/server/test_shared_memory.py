"""Memory that is reserved before it is used, and a sentence where there is little."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.server.shared_memory import (
    LEFT_SECONDS,
    WORKER_BYTES,
    make_directory,
    mapped,
    place,
    shortage,
)


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


def test_with_too_little_memory_the_files_are_on_the_disk_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: True)
    free = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    directory, warning = place(2)
    assert directory == Path(tempfile.gettempdir())
    assert "1024 KiB free" in warning and f"now they are in {directory}" in warning
    assert place(1) == (Path("/dev/shm"), "")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert place(1) == (directory, "")


def test_what_dead_servers_left_is_removed_and_what_is_held_is_not(
    tmp_path: Path,
) -> None:
    held, other = make_directory("ours-", tmp_path), tmp_path / "other-1"
    left, young = tmp_path / "ours-left", tmp_path / "ours-young"
    for directory in (other, left, young):
        directory.mkdir()
    (left / "counter_1.db").write_bytes(b"counts")
    for directory in (held, other, left):
        os.utime(directory, (0, time.time() - LEFT_SECONDS - 1))
    new = make_directory("ours-", tmp_path)
    assert {*tmp_path.iterdir()} == {held, other, young, new}


def test_a_file_that_is_there_is_mapped_as_it_is(tmp_path: Path) -> None:
    mapped(tmp_path / "file", 100)[:3] = b"abc"
    assert mapped(tmp_path / "file", 100)[:4] == b"abc\0"

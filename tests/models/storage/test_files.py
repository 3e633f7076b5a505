"""Files appear whole or not at all, and locks end with their process."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import ArtefactCorrupt
from models.storage import files


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_written_once(tmp_path: Path) -> None:
    files.write_durable(tmp_path / "a", b"1")
    with pytest.raises(FileExistsError):
        files.write_durable(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_file_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    files.replace_atomically(path, b"1")
    files.replace_atomically(path, b"2")
    assert path.read_bytes() == b"2"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.replace_atomically(path, b"3")
    assert path.read_bytes() == b"2"
    assert os.listdir(tmp_path) == ["a"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".a-dead").write_bytes(b"half")
    (tmp_path / ".ab-other").write_bytes(b"")
    files.remove_leftovers(tmp_path / "a")
    assert os.listdir(tmp_path) == [".ab-other"]


def test_one_holds_a_lock_at_a_time(tmp_path: Path) -> None:
    with (
        files.locked(tmp_path),
        pytest.raises(BlockingIOError),
        files.locked(tmp_path, wait=False),
    ):
        pytest.fail("two at once")
    with files.locked(tmp_path, wait=False):
        pass


def test_a_lock_ends_with_the_last_process_that_has_its_handle(tmp_path: Path) -> None:
    with files.locked(tmp_path) as handle:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=(handle,),
        )
    try:
        with pytest.raises(BlockingIOError), files.locked(tmp_path, wait=False):
            pytest.fail("its child holds it")
    finally:
        child.kill()
        child.communicate()
    with files.locked(tmp_path, wait=False):
        pass


# Reading


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # the address of a socket is short
        server.bind(path.name)


ODD = {
    "fifo": os.mkfifo,
    "directory": os.mkdir,
    "socket": make_socket,
    "loop": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ODD[kind](tmp_path / "odd")
    with pytest.raises((ArtefactCorrupt, OSError), match="odd"):
        files.read(tmp_path / "odd", 100)


def test_a_file_or_a_link_to_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        assert files.read(tmp_path / name, 1) == b"1"
    assert files.read(tmp_path / "none", 1) is None


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtefactCorrupt, match="a: larger than 100 bytes"):
        files.read(tmp_path / "a", 100)

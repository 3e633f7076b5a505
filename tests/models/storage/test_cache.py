"""A cache is bounded, verified, and never in the way."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from models.storage.cache import Cache


def keep(cache: Cache, content: bytes, read: float) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    cache.write(sha256, content)
    if (cache.folder / sha256).exists():
        os.utime(cache.folder / sha256, (read, read))
    return sha256


def test_what_was_not_read_for_longest_is_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "made" / "cache", 10)
    old, older = keep(cache, b"1234", 2.0), keep(cache, b"5678", 1.0)
    assert cache.read(old) == b"1234"
    newest = keep(cache, b"abcd", 3.0)
    assert cache.read(older) is None and cache.read(newest) == b"abcd"
    assert cache.read(old) == b"1234"
    assert sorted(os.listdir(cache.folder)) == sorted([old, newest])


def test_a_damaged_file_is_not_read(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    sha256 = keep(cache, b"1234", 1.0)
    (tmp_path / sha256).write_bytes(b"1235")
    assert cache.read(sha256) is None
    cache.write(sha256, b"1234")
    assert cache.read(sha256) == b"1234"


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3)
    assert cache.read(keep(cache, b"1234", 1.0)) is None


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / folder, 100)
    assert cache.read(keep(cache, b"1234", 1.0)) is None

"""The container: sealed, read in place, and only if it ends as it was written."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from models.errors import ArtefactCorrupt
from models.storage import archive

MEMBERS = {"a": b"first", "b": b"x" * 1000}


def unsigned(sha256: str) -> None:
    pass


def test_members_are_read_in_place() -> None:
    data = archive.seal(MEMBERS)
    archive.check_seal(data, unsigned)
    found = archive.members(data, ["a", "b"])
    assert {name: bytes(view) for name, view in found.items()} == MEMBERS
    assert all(view.obj is data for view in found.values())
    assert bytes(archive.first_member(data)) == b"first"
    assert zipfile.ZipFile(io.BytesIO(data)).read("b") == MEMBERS["b"]


def test_a_changed_byte_breaks_the_seal() -> None:
    data = archive.seal(MEMBERS)
    for at in (0, 40, len(data) // 2, len(data) - 1):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ArtefactCorrupt, match="not those that were written"):
            archive.check_seal(changed, unsigned)


def test_a_file_is_read_if_it_ends_as_it_was_written(tmp_path: Path) -> None:
    data = archive.seal({"a": b"first", "b": b"x" * 2 * archive.SMALL_BYTES})
    path = tmp_path / "file"
    for content in (data[:-1], data[1000:-90], b"x" * len(data), data + b"\0"):
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(ArtefactCorrupt, match="its end"):
            archive.read(file)
    for content in (data, archive.seal(MEMBERS), b"", b"small, whatever it is"):
        path.write_bytes(content)
        with path.open("rb") as file:
            assert archive.read(file) == content


def test_a_large_file_of_something_else_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.npz").open("w+b") as file:
        file.truncate(1 << 30)  # takes no room on the disk
        tracemalloc.start()
        try:
            with pytest.raises(ArtefactCorrupt, match="its end is missing"):
                archive.read(file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1 << 20

"""Counts that have room, beside prometheus_client's own, in memory and without any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from service.room import FIRST_BYTES, Counts, make, mapped


def full(*_: object) -> None:
    raise OSError("no space left on device")


def blocks(path: Path) -> int:
    """The bytes that a file has room for, whatever its size."""
    return path.stat().st_blocks * 512


def test_a_file_is_made_with_its_room(tmp_path: Path) -> None:
    memory = mapped(tmp_path / "file", 100_000)
    assert memory[:] == bytes(100_000)
    assert blocks(tmp_path / "file") >= 100_000
    memory[:3] = b"abc"
    assert (tmp_path / "file").read_bytes()[:4] == b"abc\0"


def test_a_file_without_room_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no space"):
        make(tmp_path / "file", 10)
    assert list(tmp_path.iterdir()) == []


keys = st.text(min_size=1, max_size=3000)


@given(st.lists(st.tuples(keys, st.floats(0, 9)), max_size=60), st.integers(0, 60))
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_it_counts_as_theirs_does(
    tmp_path: Path, entries: list[tuple[str, float]], until: int
) -> None:
    """Also what is counted when there is no room any more, but not for others."""
    ours_file, theirs_file = tmp_path / "ours.db", tmp_path / "theirs.db"
    ours_file.unlink(missing_ok=True)
    theirs_file.unlink(missing_ok=True)
    ours, theirs = Counts(str(ours_file)), MmapedDict(str(theirs_file))
    with pytest.MonkeyPatch.context() as patched:
        for number, (key, value) in enumerate(entries):
            if number == until:
                shared = list(MmapedDict.read_all_values_from_file(str(ours_file)))
                patched.setattr(os, "posix_fallocate", full)
            for each in (ours, theirs):
                each.write_value(key, value, 0.0)
                assert each.read_value(key) == (value, 0.0)
        assert list(ours.read_all_values()) == list(theirs.read_all_values())
    found = list(MmapedDict.read_all_values_from_file(str(ours_file)))
    if until >= len(entries):
        assert found == list(MmapedDict.read_all_values_from_file(str(theirs_file)))
        assert blocks(ours_file) >= ours_file.stat().st_size
    else:
        assert [key for key, *_ in found] == [key for key, *_ in shared]
    ours.close()
    theirs.close()


def test_where_there_is_no_room_at_all_it_counts_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    counts = Counts(str(tmp_path / "counts.db"))
    for number in range(2 * FIRST_BYTES // 1000):
        counts.write_value(f"{number:01000}", number, 0.0)
    assert counts.read_value(f"{9:01000}") == (9, 0.0)
    assert list(tmp_path.iterdir()) == []
    counts.close()

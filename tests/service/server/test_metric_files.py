"""Counts outlive their processes, and their files do not."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from service.server.metric_files import Summed, merge_ended, unchanged


@pytest.fixture
def ended() -> int:
    """The id of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def write(path: Path, **values: float) -> None:
    file = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    for key, value in values.items():
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]


def values(path: Path) -> dict[str, float]:
    found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {key: value for key, value, _, _ in found}


def test_files_of_ended_processes_become_one_of_each_kind(
    tmp_path: Path, ended: int
) -> None:
    for number in range(20):
        write(tmp_path / f"counter_{ended}.db", **{f"key{number}" * 40: 1.0, "all": 2})
        write(tmp_path / f"gauge_max_{ended}.db", last=number % 7)
        write(tmp_path / f"gauge_livesum_{ended}.db", now=1)
        merge_ended(tmp_path)
    write(tmp_path / f"counter_{os.getpid()}.db", all=5)
    merge_ended(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        f"counter_{os.getpid()}.db",
        "counter_ended.db",
        "gauge_max_ended.db",
    ]
    counts = values(tmp_path / "counter_ended.db")
    assert counts.pop("all") == 40 and set(counts.values()) == {1.0}
    assert len(counts) == 20
    assert values(tmp_path / "gauge_max_ended.db") == {"last": 6}


def test_a_file_that_was_only_opened_has_no_values(tmp_path: Path, ended: int) -> None:
    """A process opens a file before it gives it a size, and may end in between."""
    key = mmap_key("a", "a_total", [], [], "help")  # type: ignore[no-untyped-call]
    write(tmp_path / f"counter_{os.getpid()}.db", **{key: 3.0})
    for process in (1, ended):
        (tmp_path / f"counter_{process}.db").touch()
    (family,) = Summed(tmp_path).collect()
    assert [sample.value for sample in family.samples] == [3.0]
    merge_ended(tmp_path)
    assert not (tmp_path / f"counter_{ended}.db").exists()
    assert not (tmp_path / "counter_ended.db").exists()


def test_nothing_is_merged_during_a_scrape(tmp_path: Path, ended: int) -> None:
    write(tmp_path / f"counter_{ended}.db", all=1)
    with unchanged(tmp_path), unchanged(tmp_path):
        merge_ended(tmp_path)
        assert os.listdir(tmp_path) == [f"counter_{ended}.db"]
    merge_ended(tmp_path)
    assert os.listdir(tmp_path) == ["counter_ended.db"]


def test_without_room_the_files_stay(
    tmp_path: Path, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    write(tmp_path / f"counter_{ended}.db", all=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        merge_ended(tmp_path)
    assert (tmp_path / f"counter_{ended}.db").exists()
    merge_ended(tmp_path)
    assert values(tmp_path / "counter_ended.db") == {"all": 1}


def test_a_lock_is_not_waited_for_by_the_master(tmp_path: Path, ended: int) -> None:
    write(tmp_path / f"counter_{ended}.db", all=1)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    merge_ended(tmp_path)  # as beside a scrape that was stopped
    os.close(handle)

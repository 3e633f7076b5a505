"""The metric files of workers that have ended, merged into one file of each kind.

prometheus_client gives each process files of its own and keeps those of ended ones, so
that no count is lost. Here the master adds them up, so that neither memory nor a scrape
grows with each worker that ends. A lock keeps scrapes from seeing half of a merge.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import operator
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

#: The name, in place of a process id, of the merged files.
ENDED = "ended"


class Summed(Collector):
    """The metrics of all processes, summed from the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Return every family of the files."""
        files = [str(p) for p in self._directory.glob("*.db") if _has_begun(p)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found


def _has_begun(path: Path) -> bool:
    """Tell whether its process has given a file its size, just after opening it."""
    with contextlib.suppress(FileNotFoundError):  # that of an ended process
        return path.stat().st_size > 0
    return False


@contextlib.contextmanager
def unchanged(directory: Path) -> Iterator[None]:
    """Keep the files of a directory from being merged; raises OSError."""
    with _locked(directory, fcntl.LOCK_SH):
        yield


def merge_ended(directory: Path) -> None:
    """Merge the files of ended processes; those of a later call if a scrape is on."""
    with (
        contextlib.suppress(OSError),  # a scrape, or no room: the next call does it
        _locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB),
    ):
        for path in sorted(directory.glob("*_[0-9]*.db")):
            kind, _, pid = path.stem.rpartition("_")
            if Path("/proc", pid).exists():
                continue
            # A live gauge ends with its process.
            if not kind.startswith("gauge_live") and _has_begun(path):
                _add(path, directory / f"{kind}_{ENDED}.db")
            path.unlink()


def _add(path: Path, total: Path) -> None:
    """Add a file's values to the totals; a gauge keeps the largest."""
    combine = max if path.name.startswith("gauge") else operator.add
    with total.open("a+b") as file:
        # Without a free page the kernel would kill this process (SIGBUS).
        room = _used(total) + _used(path) + mmap.PAGESIZE
        os.posix_fallocate(file.fileno(), 0, room)
    values = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            before, _ = values.read_value(key)  # type: ignore[no-untyped-call]
            values.write_value(key, combine(before, value), timestamp)  # type: ignore[no-untyped-call]
    finally:
        values.close()  # type: ignore[no-untyped-call]


def _used(path: Path) -> int:
    """Return how many bytes of a file hold values: its first number says so."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(4), "little")


@contextlib.contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)

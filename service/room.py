"""Shared memory that has room: to write to it where there is none ends the process.

A file in memory is given its size at once and its pages when they are first written
to. Is there no page left, the kernel sends SIGBUS. So room is taken before
(posix_fallocate), and a process that gets none counts in memory of its own: what it
counts is not seen by others, and nothing else is lost.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

#: What prometheus_client begins with.
FIRST_BYTES = 1 << 16
#: More than an entry takes beside its key.
ENTRY_BYTES = 64


def make(path: Path, size: int) -> None:
    """Make a file of zeros that is there with all its room; else raise OSError."""
    hidden = path.with_name(f".{path.name}")
    try:
        with hidden.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        hidden.rename(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise


def mapped(path: Path, size: int) -> mmap.mmap:
    """Return the memory of a file that is made for it; OSError where it has no room."""
    make(path, size)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)


class Counts(MmapedDict):
    """prometheus_client's file of counts, with room for all that is in it."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not os.path.exists(filename):
            try:
                make(Path(filename), FIRST_BYTES)
            except OSError:
                filename = f"/proc/self/fd/{os.memfd_create('counts')}"
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        size = self._capacity
        while self._used + len(key.encode()) + ENTRY_BYTES > size:
            size *= 2
        try:
            os.posix_fallocate(self._f.fileno(), 0, size)
        except OSError:
            self._move()
        super()._init_value(key)  # type: ignore[no-untyped-call]

    def _move(self) -> None:
        """Go on in memory of one's own; the file keeps what it has."""
        own = os.fdopen(os.memfd_create("counts"), "r+b")
        own.write(self._m[:])
        own.flush()
        self._f.close()
        self._f, self._m = own, mmap.mmap(own.fileno(), self._capacity)


def install() -> None:
    """Have prometheus_client count so in this process and those forked from it."""
    values.MmapedDict = Counts  # type: ignore[attr-defined]

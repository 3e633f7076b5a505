"""Directories and files in shared memory: their place, and pages that are reserved.

A file in shared memory gets its pages when they are first written to. If no page is
free, the kernel kills the process with SIGBUS. `mapped` reserves all pages of a file
first. The files of prometheus_client reserve nothing, so `shortage` looks at the start.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import tempfile
import time
from pathlib import Path

#: Bytes of the metric files of one worker, with dozens of models and versions.
WORKER_BYTES = 1 << 20


#: An unlocked directory is removed after this time.
LEFT_SECONDS = 60.0


def place(workers: int) -> tuple[Path, str]:
    """Return the directory for what workers share, and a warning if it is on a disk.

    It is in memory if there is room: heartbeats and counters then wait for no disk.
    """
    memory, disk = Path("/dev/shm"), Path(tempfile.gettempdir())
    if not os.access(memory, os.W_OK):
        return disk, ""
    sentence = shortage(memory, workers)
    return (disk, f"{sentence}; now they are in {disk}") if sentence else (memory, "")


def make_directory(prefix: str, parent: Path) -> Path:
    """Make a directory that this process and its children hold by a lock.

    Those that killed servers and failed starts left are removed.
    """
    for left in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # it is another user's, or in use
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                os.close(_lock(left))
                shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    _lock(made)  # for as long as a process has it open
    return made


def _lock(directory: Path) -> int:
    """Lock a file in a directory, and return its handle; raises OSError if it is."""
    handle = os.open(directory / ".held", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def shortage(directory: Path, workers: int) -> str | None:
    """Return a warning if the workers' metric files may not fit, or None."""
    free, needed = shutil.disk_usage(directory).free, workers * WORKER_BYTES
    if free >= needed:
        return None
    return (
        f"{directory} has {free >> 10} KiB free, and the metrics of {workers} workers "
        f"need up to {needed >> 10}: the kernel kills a worker that finds no free page "
        "(SIGBUS). Give it more, such as with docker run --shm-size"
    )


def mapped(path: Path, size: int) -> mmap.mmap:
    """Map a file; make it first, of zeros and with its pages reserved, if need be.

    Raises OSError, and leaves no file, if the pages are not free.
    """
    with contextlib.suppress(FileNotFoundError, ValueError), path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)
    hidden = path.with_name(f".{path.name}")
    try:
        with hidden.open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
            memory = mmap.mmap(file.fileno(), size)
        hidden.rename(path)
    except OSError:
        hidden.unlink(missing_ok=True)
        raise
    return memory

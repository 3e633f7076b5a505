"""Durable and atomic writes, and locks that end with the process that holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import uuid
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import BinaryIO

from models.errors import ArtefactCorrupt


def open_regular(path: Path | str, limit: int) -> BinaryIO | None:
    """Open a regular file of at most `limit` bytes to read; None if it does not exist.

    Raises ArtefactCorrupt for anything else, such as a FIFO, whose reader would wait
    for ever, or a device, and OSError.
    """
    opened = _open(path, limit)
    return None if opened is None else os.fdopen(opened[0], "rb")


def read(path: Path | str, limit: int) -> bytes | None:
    """Return the content of a regular file; None, or raise, as `open_regular`."""
    opened = _open(path, limit)
    if opened is None:
        return None
    handle, size = opened
    try:
        return os.read(handle, size)
    finally:
        os.close(handle)


def _open(path: Path | str, limit: int) -> tuple[int, int] | None:
    """Return the handle and the size of a regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    status = os.fstat(handle)
    is_regular = stat.S_ISREG(status.st_mode)
    if is_regular and status.st_size <= limit:
        return handle, status.st_size
    os.close(handle)
    fault = f"larger than {limit} bytes" if is_regular else "not a regular file"
    raise ArtefactCorrupt(f"{path}: {fault}")


def write_durable(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and flush it to the disk; raises FileExistsError or OSError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_atomically(path: Path, content: bytes | memoryview) -> None:
    """Replace a file: a reader sees all of the old content or all of the new."""
    hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        write_durable(hidden, content)
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed writers of `path`; the caller holds a lock."""
    for leftover in path.parent.glob(f".{path.name}-*"):
        leftover.unlink(missing_ok=True)


def stamp(path: Path) -> Hashable:
    """Return a value that changes when a file changes."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def fsync_directory(directory: Path) -> None:
    """Flush a directory, so that renames in it survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(directory: Path, wait: bool = True) -> Iterator[int]:
    """Hold the lock of a directory, which the kernel drops with the process.

    Gives the file descriptor that holds it; a child process that inherits it keeps the
    lock. Without `wait`, raises BlockingIOError if another process holds the lock.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle
    finally:
        os.close(handle)

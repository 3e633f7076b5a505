"""Writing that lasts, and locks that end with the process that holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def write_durable(path: Path, content: bytes) -> None:
    """Write a new file, and return once it is on the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_atomically(path: Path, content: bytes) -> None:
    """Put a file in the place of another: a reader sees the one or the other, whole."""
    hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        write_durable(hidden, content)
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what was to replace a file when its writer was killed; under a lock."""
    for left in path.parent.glob(f".{path.name}-*"):
        left.unlink(missing_ok=True)


def fsync_directory(directory: Path) -> None:
    """Make renames inside a directory last through a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(directory: Path, wait: bool = True) -> Iterator[int]:
    """Hold the lock of a directory, which the kernel drops with the process.

    Gives the handle that holds it; a child that is given it holds the lock on.
    Without `wait` BlockingIOError says that another holds it.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle
    finally:
        os.close(handle)

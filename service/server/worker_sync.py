"""The workers of one server: what is asked of one is done by all.

Each worker listens on a socket of its own, in a directory that they share. Who calls
them is answered when they have looked at the store since, so that no worker says what
another has just changed. A worker that is gone refuses the call, or ends it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator, MutableSet
from pathlib import Path


@functools.cache
def directory(parent: str | None) -> Path:
    """Make, once before its workers are forked, the directory that a server's share."""
    return Path(tempfile.mkdtemp(prefix="glassnet-workers-", dir=parent))


class SharedSet(MutableSet[str]):
    """A set that processes share: each name is an empty file, for who starts later."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def __contains__(self, name: object) -> bool:
        # A look at the path would follow a name such as `..`.
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter(os.listdir(self._directory))

    def __len__(self) -> int:
        return len(os.listdir(self._directory))

    def add(self, name: str) -> None:
        """Add a name that can be a file's."""
        (self._directory / name).touch()

    def discard(self, name: str) -> None:
        """Remove a name, if it is there."""
        (self._directory / name).unlink(missing_ok=True)


class RefreshListener:
    """Where one worker hears that it is to look."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._callers: list[socket.socket] = []
        hidden = directory / f".{os.getpid()}"
        self._socket.bind(str(hidden))
        self._socket.listen(128)
        self._socket.setblocking(False)
        # Seen only once it listens: what refuses a call is taken for dead.
        hidden.rename(directory / str(os.getpid()))

    def wait(self, seconds: float) -> None:
        """Tell earlier callers that it is done; return at the next call or in time."""
        for caller in self._callers:
            with contextlib.suppress(OSError), caller:
                caller.send(b"\n")
        self._callers.clear()
        select.select([self._socket], [], [], seconds)
        with contextlib.suppress(OSError):  # no more of them
            while True:
                self._callers.append(self._socket.accept()[0])


def refresh_all_workers(directory: Path, seconds: float) -> int:
    """Have every worker look, and return how many have not when the time is over."""
    deadline = time.monotonic() + seconds
    called, silent = [], 0
    with contextlib.ExitStack() as all_of_them:
        for path in directory.iterdir():
            if not path.name.isdigit():
                continue
            worker = all_of_them.enter_context(socket.socket(socket.AF_UNIX))
            worker.settimeout(seconds)
            try:
                worker.connect(str(path))
                called.append(worker)
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)  # left by one that was killed
            except BlockingIOError:
                silent += 1  # so many have called it before
        return silent + sum(not _has_refreshed(worker, deadline) for worker in called)


def _has_refreshed(worker: socket.socket, deadline: float) -> bool:
    """Wait for a worker; one that ends instead needs to look no more."""
    worker.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        worker.recv(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True

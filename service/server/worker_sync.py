"""Make all workers of a server refresh from the store together.

Each worker listens on a socket of its own in a directory that they share. The caller
gets its reply once every worker has refreshed, so that afterwards all of them agree.
Connections to a worker that has exited are refused or reset.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import time
from collections.abc import Iterator, MutableSet
from pathlib import Path

from service.server.shared_memory import make_directory


@functools.cache
def directory(parent: Path) -> Path:
    """Make the directory that a server's workers share; call it before the fork."""
    return make_directory("glassnet-workers-", parent)


class SharedSet(MutableSet[str]):
    """A set of names that processes share, as empty files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def __contains__(self, name: object) -> bool:
        # Testing the path would follow a name such as `..`.
        return name in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter(os.listdir(self._directory))

    def __len__(self) -> int:
        return len(os.listdir(self._directory))

    def add(self, name: str) -> None:
        """Add a name, which must be a valid file name."""
        (self._directory / name).touch()

    def discard(self, name: str) -> None:
        """Remove a name, if it is there."""
        (self._directory / name).unlink(missing_ok=True)


class RefreshListener:
    """Receives calls to refresh, in one worker."""

    def __init__(self, directory: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._callers: list[socket.socket] = []
        for path in directory.iterdir():  # of workers that were killed
            if path.name.isdigit() and not Path("/proc", path.name).exists():
                path.unlink(missing_ok=True)
        hidden = directory / f".{os.getpid()}"
        self._socket.bind(str(hidden))
        self._socket.listen(128)
        self._socket.setblocking(False)
        # Visible only once it listens: one that refuses is taken for a dead worker.
        hidden.rename(directory / str(os.getpid()))

    def wait(self, seconds: float) -> None:
        """Reply to earlier callers; return at the next call or after `seconds`."""
        for caller in self._callers:
            with contextlib.suppress(OSError), caller:
                caller.send(b"\n")
        self._callers.clear()
        select.select([self._socket], [], [], seconds)
        with contextlib.suppress(OSError):  # no more callers
            while True:
                self._callers.append(self._socket.accept()[0])


def refresh_all_workers(directory: Path, seconds: float) -> int:
    """Make every worker refresh; return how many did not within `seconds`."""
    deadline = time.monotonic() + seconds
    called, silent = [], 0
    with contextlib.ExitStack() as sockets:
        for path in directory.iterdir():
            if not path.name.isdigit():
                continue
            worker = sockets.enter_context(socket.socket(socket.AF_UNIX))
            worker.settimeout(seconds)
            try:
                worker.connect(str(path))
                called.append(worker)
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)  # its worker was killed
            except BlockingIOError:
                silent += 1  # its queue of callers is full
        return silent + sum(not _has_refreshed(worker, deadline) for worker in called)


def _has_refreshed(worker: socket.socket, deadline: float) -> bool:
    """Wait until a worker has refreshed or exited."""
    worker.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        worker.recv(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True

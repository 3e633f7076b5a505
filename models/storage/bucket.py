"""A bucket whose requests are done by a process beside this one.

obstore runs threads (Rust's tokio) that do not exist in a fork of their process, where
its requests would wait for ever (tokio-rs/tokio#4301). But gunicorn's master forks, and
so does the trainer. So obstore is in a child, a new process of each process that uses
a bucket. It ends with its parent, or after a pause.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from models.errors import ArtefactCorrupt, ConfigError
from models.storage.bucket_client import (
    PATIENCE,
    BucketClient,
    BucketError,
    Found,
    Listed,
    check,
)

#: A child without requests ends after this time; its parent does not wait as long.
IDLE_SECONDS, PARENT_IDLE_SECONDS = 10.0, 7.0


class Bucket:
    """A prefix of a bucket; its methods are those of `BucketClient`."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        """Take an address; raises ConfigError if it is wrong or obstore is missing."""
        check(address)
        self.address, self.patience = address.rstrip("/"), patience
        self.after_fork()
        _buckets.add(self)

    def after_fork(self) -> None:
        """Leave the child to the parent."""
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def get(self, key: str, limit: int, revision: str = "") -> Found | None:
        """Return an object, or None; without content if it has the `revision` still.

        Raises ArtefactCorrupt if it has more than `limit` bytes.
        """
        found, content = self._call("get", key, limit, revision)
        return found and Found(content if found[0] else None, found[1])

    def revision(self, key: str) -> str:
        """Return the revision of an object, or nothing if it does not exist."""
        return str(self._call("revision", key)[0])

    def put(self, key: str, content: bytes, condition: str = "") -> str:
        """Write an object; return its revision, or nothing if the condition fails."""
        return str(self._call("put", key, condition, content=content)[0])

    def download(self, key: str, path: Path | str) -> bool:
        """Copy an object to a file of this disk; return False if it does not exist."""
        return bool(self._call("download", key, str(path))[0])

    def upload(self, key: str, path: Path | str, note: str = "") -> None:
        """Copy a file of this disk to an object, with a note of ASCII letters."""
        self._call("upload", key, str(path), note)

    def note(self, key: str) -> str:
        """Return the note of an object; nothing if it has none, or does not exist."""
        return str(self._call("note", key)[0])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, if they exist."""
        self._call("delete", list(keys))

    def entries(self, prefix: str) -> list[Listed]:
        """Return the objects below a prefix."""
        return [Listed(*entry) for entry in self._call("entries", prefix)[0]]

    def folders(self, prefix: str) -> Sequence[str]:
        """Return the names of the folders in one."""
        return [str(name) for name in self._call("folders", prefix)[0]]

    def check_conditions(self) -> None:
        """Raise BucketError unless conditional writes are done as they should be."""
        self._call("check_conditions")

    def _call(
        self, method: str, *arguments: object, content: bytes = b""
    ) -> tuple[Any, bytes]:
        """Return the result of a method, and the content of an object that it read."""
        with self._lock:
            if self._child is None or not self._child.usable:
                self._child = _Child(self.address, self.patience)
            return self._child.call([method, *arguments], content)


_buckets: weakref.WeakSet[Bucket] = weakref.WeakSet()


def _after_fork() -> None:
    for bucket in _buckets:
        bucket.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class _Child:
    """The process that does the requests, one at a time."""

    def __init__(self, address: str, patience: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            handle = theirs.fileno()
            # A session of its own: Ctrl-C is for the parent, which may need it still.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    __name__,
                    *map(str, (handle, patience, address)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[handle],
                start_new_session=True,
            )
        self._address = address
        self._connection = Connection(ours.detach())
        self._used = time.monotonic()
        self._end = weakref.finalize(
            self, _end, os.getpid(), self._connection, self._process
        )

    @property
    def usable(self) -> bool:
        """Whether it still waits for requests."""
        recent = time.monotonic() - self._used < PARENT_IDLE_SECONDS
        return recent and self._end.alive

    def call(self, request: list[object], content: bytes) -> tuple[Any, bytes]:
        """Have a request done; return, or raise, what `BucketClient` does.

        A content is sent apart, so that a large one is not copied into a message.
        """
        try:
            self._connection.send_bytes(msgspec.msgpack.encode(request))
            self._connection.send_bytes(content)
            kind, value = msgspec.msgpack.decode(self._connection.recv_bytes())
            received = self._connection.recv_bytes()
        except (EOFError, OSError):
            self._end()
            raise BucketError(
                errno.EIO, f"{self._address}: the process that reads it has ended"
            ) from None
        except BaseException:  # such as Ctrl-C: the reply would answer the next call
            self._end()
            raise
        self._used = time.monotonic()
        if kind == "result":
            return value, received
        if kind == "bucket":
            raise BucketError(*value)
        raise (ConfigError if kind == "config" else ArtefactCorrupt)(value)


def _end(parent: int, connection: Connection, process: subprocess.Popen[bytes]) -> None:
    """End the child, unless this process is a fork of its parent."""
    connection.close()
    if os.getpid() == parent:
        process.kill()
        process.wait()
    else:
        process.returncode = 0  # not ours to wait for


def _do(client: BucketClient, request: bytes, content: bytes) -> tuple[Any, bytes]:
    """Return the result of a request, and the content of an object that it read."""
    method, *arguments = msgspec.msgpack.decode(request)
    if method == "put":
        arguments.insert(1, content)
    result = getattr(client, method)(*arguments)
    if not isinstance(result, Found):
        return result, b""
    return (result.content is not None, result.revision), result.content or b""


def _exchange(connection: Connection, connect: Callable[[], BucketClient]) -> None:
    """Receive a request, and send what becomes of it."""
    request, content = connection.recv_bytes(), connection.recv_bytes()
    received = b""
    try:
        value, received = _do(connect(), request, content)
        outcome: tuple[str, Any] = "result", value
    except BucketError as error:
        outcome = "bucket", (error.errno, error.strerror)
    except ConfigError as error:
        outcome = "config", str(error)
    except ArtefactCorrupt as error:
        outcome = "corrupt", str(error)
    connection.send_bytes(msgspec.msgpack.encode(outcome))
    connection.send_bytes(received)


def main() -> None:
    """Do the requests of the parent, until it ends or has none for some time."""
    handle, patience, address = sys.argv[1:]
    with Connection(int(handle)) as connection, contextlib.suppress(EOFError, OSError):
        connect = cache(partial(BucketClient, address, float(patience)))
        while connection.poll(IDLE_SECONDS):
            _exchange(connection, connect)


if __name__ == "__main__":
    main()

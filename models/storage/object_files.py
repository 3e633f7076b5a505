"""Checkpoints and schedules in a bucket.

A schedule's lease is an object that its holder rewrites every few seconds. A scheduler
that finds it unchanged for LEASE_SECONDS takes it over; clocks of machines are not
compared. The holder is a process beside the scheduler. It keeps the lease until every
process that inherited the end of a pipe has ended, as the kernel keeps a lock of a
file; so the run of a killed scheduler still holds it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from models.storage.archive import MAX_FILE_BYTES
from models.storage.bucket import Bucket
from models.storage.bucket_client import ABSENT, BucketClient

#: A lease that was not renewed for this time is free, and how often it is renewed.
LEASE_SECONDS, RENEW_SECONDS = 60.0, 10.0
#: Seconds to wait for a lease to be free once this process does not hold it.
RELEASE_SECONDS = 2.0
#: Seconds between two attempts of those who wait.
RETRY_SECONDS = 1.0
#: The content of a lease that is free.
FREE = b"free"
#: Processes that keep leases for children of this one; they end by themselves.
_keepers: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class ObjectFile:
    """One object that may be replaced."""

    bucket: Bucket
    name: str

    def __str__(self) -> str:
        return f"{self.bucket.address}/{self.name}"

    @property
    def key(self) -> str:
        """The last two parts of its address."""
        return "/".join(self.name.split("/")[-2:])

    def read(self) -> bytes | None:
        """Return the content, or None if there is no object; raises OSError."""
        found = self.bucket.get(self.name, MAX_FILE_BYTES)
        return None if found is None else found.content

    def write(self, content: bytes | memoryview) -> None:
        """Replace the content; a reader sees the old or the new; raises OSError."""
        self.bucket.put(self.name, bytes(content))


@dataclass(frozen=True)
class ObjectScratch:
    """The objects of an unfinished run."""

    bucket: Bucket
    model: str
    run: str

    @property
    def _prefix(self) -> str:
        return f"{self.model}/.checkpoint-{self.run}"

    @property
    def exists(self) -> bool:
        """Whether it holds a file."""
        return bool(self.bucket.entries(self._prefix))

    def file(self, name: str) -> ObjectFile:
        """Return one of its files, whether or not it exists."""
        return ObjectFile(self.bucket, f"{self._prefix}/{name}")

    def remove(self, max_age: float) -> None:
        """Remove its files, and the model's other scratch older than `max_age` s."""
        folders = {
            folder
            for folder in self.bucket.folders(self.model)
            if folder.startswith(".checkpoint-")
        }
        for folder in folders:
            entries = self.bucket.entries(f"{self.model}/{folder}")
            newest = max((entry.modified for entry in entries), default=0.0)
            mine = f"{self.model}/{folder}" == self._prefix
            if mine or time.time() - newest > max_age:
                self.bucket.delete([entry.key for entry in entries])


@dataclass
class ObjectSchedule:
    """The state of a schedule, and its lease."""

    bucket: Bucket
    home: str
    #: The lease that another process holds, and since when it was seen unchanged.
    _seen: tuple[str, float] = field(default=("", 0.0), init=False)

    def __str__(self) -> str:
        return f"{self.bucket.address}/{self.home}"

    @property
    def state(self) -> ObjectFile:
        """The object of the state."""
        return ObjectFile(self.bucket, f"{self.home}/state.json")

    @contextlib.contextmanager
    def lease(self, wait: bool = False) -> Iterator[tuple[int, ...]]:
        """Hold the lease; give the handle that a child process inherits to hold it.

        Raises BlockingIOError if another process holds it, unless told to `wait`.
        """
        key = f"{self.home}/lease"
        while not (revision := self._take(key)):
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "another process has it", key)
            time.sleep(RETRY_SECONDS)
        _keepers[:] = [keeper for keeper in _keepers if keeper.poll() is None]
        reading, writing = os.pipe()
        try:
            command = [sys.executable, "-m", __name__, str(reading)]
            keeper = subprocess.Popen(
                [*command, self.bucket.address, key, revision],
                stdin=subprocess.DEVNULL,
                pass_fds=[reading],
                start_new_session=True,
            )
        finally:
            os.close(reading)
        try:
            yield (writing,)
        finally:
            os.close(writing)
            try:
                keeper.wait(RELEASE_SECONDS)
            except subprocess.TimeoutExpired:  # a child process holds it still
                _keepers.append(keeper)

    def _take(self, key: str) -> str:
        """Take the lease if it is free; return its revision, or nothing."""
        owner = uuid.uuid4().hex.encode()
        found = self.bucket.get(key, MAX_FILE_BYTES)
        if found is None:
            return self.bucket.put(key, owner, ABSENT)
        revision, since = self._seen
        if found.revision != revision:
            since = time.monotonic()
            self._seen = found.revision, since
        if found.content == FREE or time.monotonic() - since > LEASE_SECONDS:
            return self.bucket.put(key, owner, found.revision)
        return ""


def keep(handle: int, address: str, key: str, revision: str) -> None:
    """Renew a lease until the pipe's other ends are closed, then free it.

    It ends early if another process has taken the lease over.
    """
    bucket = BucketClient(address)
    ended = False
    while revision and not ended:
        ended = bool(select.select([handle], [], [], RENEW_SECONDS)[0])
        content = FREE if ended else uuid.uuid4().hex.encode()
        # The bucket may be back before the lease is over.
        with contextlib.suppress(OSError):
            revision = bucket.put(key, content, revision)


if __name__ == "__main__":
    keep(int(sys.argv[1]), *sys.argv[2:])

"""Parts of a store beside versions: snapshots, scratch space and schedules."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Snapshot:
    """The versions and the content of labels.json, as they were at one `revision`."""

    versions: tuple[int, ...]
    labels: bytes | None
    #: For stores that tell by it whether anything has changed, such as an ETag.
    revision: str = ""


@runtime_checkable
class StoredFile(Protocol):
    """One file that may be replaced; `str()` says where it is."""

    @property
    def key(self) -> str:
        """The last two parts of its address; they stay when the store is moved."""

    def read(self) -> bytes | None:
        """Return the content, or None if there is no file; raises OSError."""

    def write(self, content: bytes | memoryview) -> None:
        """Replace the content; a reader sees the old or the new; raises OSError."""


class Scratch(Protocol):
    """Files of an unfinished run, such as checkpoints."""

    @property
    def exists(self) -> bool:
        """Whether it holds a file."""

    def file(self, name: str) -> StoredFile:
        """Return one of its files, whether or not it exists."""

    def remove(self, max_age: float) -> None:
        """Remove its files, and the model's other scratch older than `max_age` s."""


class Schedule(Protocol):
    """The state of a model's schedule, and the lease under which it changes.

    `str()` says where it is.
    """

    @property
    def state(self) -> StoredFile:
        """The file of the state."""

    def lease(self, wait: bool = False) -> AbstractContextManager[tuple[int, ...]]:
        """Hold the lease, which ends with the process that holds it.

        Gives the file descriptors that a child process inherits to hold it too.
        Raises BlockingIOError if another process holds it, unless told to `wait`.
        """

"""The part of a store that reads and writes bytes, one class for each kind.

The methods need no rename and no lock, only to create what does not exist and to
replace what has not changed. Every one of them may raise OSError.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import BinaryIO, TypeAlias

from models.storage.interfaces import Schedule, Scratch, Snapshot

#: Of the number of a new version and of labels.json as it is, further files of the
#: version, and the new labels.json, or None to leave it.
Complete: TypeAlias = Callable[
    [int, bytes | None], tuple[Mapping[str, bytes], bytes | None]
]


class StoreBackend(ABC):
    """The abstract methods of `ArtefactStore`."""

    @abstractmethod
    def check_writable(self) -> None:
        """Change nothing, and raise OSError if no version can be written."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""

    @abstractmethod
    def versions(self, name: str) -> list[int]:
        """Return the published versions, oldest first."""

    @abstractmethod
    def snapshot(self, name: str) -> Snapshot:
        """Return the versions and labels of a model, as they are now."""

    @abstractmethod
    def commit(
        self,
        name: str,
        before: Snapshot,
        labels: bytes | None,
        remove: Collection[int] = (),
    ) -> bool:
        """Replace the labels and remove versions, if nothing changed since `before`.

        With `labels` None they stay. Return False, with nothing done, if versions or
        labels changed in the meantime. An open file that is removed stays readable.
        """

    @abstractmethod
    def add_version(
        self, name: str, contents: Mapping[str, bytes], complete: Complete
    ) -> int:
        """Write files as the next version, all or nothing, and return its number.

        The files that `complete` returns are written too. No file is written if it
        raises an error.
        """

    @abstractmethod
    def add_model(
        self,
        name: str,
        versions: Iterable[tuple[int, Mapping[str, bytes]]],
        labels: bytes,
    ) -> bool:
        """Write a model with numbered versions and labels, all or nothing.

        Return False, with no version added, if the model exists.
        """

    @abstractmethod
    def open_file(
        self, name: str, version: int, file: str, limit: int
    ) -> BinaryIO | None:
        """Open a file of a version to read, or return None if it does not exist.

        Raises ArtefactCorrupt if it has more than `limit` bytes, or is no file.
        """

    @abstractmethod
    def has_attachment(self, name: str, version: int, file: str) -> bool:
        """Tell whether a version has a file."""

    @abstractmethod
    def replace_files(
        self, name: str, version: int, contents: Mapping[str, bytes]
    ) -> None:
        """Add files to a version, or replace them; two calls never mix.

        Raises FileNotFoundError if the version is gone.
        """

    @abstractmethod
    def file_stamp(self, name: str, version: int, file: str) -> Hashable:
        """Return a value that changes when a file of a version changes."""

    @abstractmethod
    def scratch(self, name: str, key: str) -> Scratch:
        """Return the scratch space of a model's run that is identified by `key`."""

    @abstractmethod
    def schedule(self, name: str) -> Schedule:
        """Return the schedule of a model."""

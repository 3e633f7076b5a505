"""A store in a directory of this machine, in which a reader never sees half a file.

    STORE/NAME/VERSION/…              the files of a version
    STORE/NAME/labels.json            production, candidate, …, with their history
    STORE/NAME/.checkpoint-KEY/…      checkpoints of a run that has not ended
    STORE/NAME/schedule/state.json    the state of the schedule

A version is written to a hidden directory beside its final one, flushed to the disk,
and renamed; then labels.json is replaced. Versions get their numbers and are removed,
and labels change, under a lock that the kernel drops with the process that holds it.
Only regular files are read, so a FIFO or a device in a store never blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from models.storage import files
from models.storage.archive import MAX_FILE_BYTES
from models.storage.backend import Complete
from models.storage.base import ARTEFACT, LABELS, NAME, ArtefactStore
from models.storage.interfaces import Snapshot

#: An unlocked hidden directory older than this was left by a trainer that died.
ABANDONED_SECONDS = 60.0
SCHEDULE = "schedule"
#: A larger labels.json is refused: ten years of an hourly run take a tenth of it.
MAX_LABELS_BYTES = 64 << 20
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


class DirectoryStore(ArtefactStore):
    """A directory of models, versions and labels."""

    def __init__(self, root: str | Path, key_file: str | None = None) -> None:
        super().__init__(str(Path(root)), key_file)
        self.root = Path(root)

    def path(self, name: str, version: int, file: str = ARTEFACT) -> Path:
        """Return the path of a file of a version."""
        return Path(self.root, name, str(version), file)

    def check_writable(self) -> None:
        """Raise NotADirectoryError or PermissionError if no version can be written."""
        existing = self.root.absolute()
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            reason = "the store needs a directory here"
            raise NotADirectoryError(errno.ENOTDIR, reason, str(existing))
        if not os.access(existing, os.W_OK | os.X_OK):
            reason = "this user cannot write the store here; choose another by --store"
            raise PermissionError(errno.EACCES, reason, str(existing))

    def names(self) -> list[str]:
        """Return the names of the models that have a version, sorted.

        A directory that cannot be read counts: its error belongs to its model.
        """
        return sorted(
            entry
            for entry in _directories(self.root)
            if NAME.fullmatch(entry) and self._may_have_versions(entry)
        )

    def _may_have_versions(self, name: str) -> bool:
        try:
            return bool(self.versions(name))
        except OSError:
            return True

    def versions(self, name: str) -> list[int]:
        """Return the published versions, oldest first."""
        with contextlib.suppress(NotADirectoryError):
            names = _directories(f"{self.root}/{name}")
            return sorted(int(entry) for entry in names if _VERSION.fullmatch(entry))
        return []

    def read_labels(self, name: str) -> bytes | None:
        """Return the content of labels.json, or None if it does not exist."""
        return files.read(f"{self.root}/{name}/{LABELS}", MAX_LABELS_BYTES)

    def snapshot(self, name: str) -> Snapshot:
        """Return the versions and labels of a model, as they are now."""
        return Snapshot(tuple(self.versions(name)), self.read_labels(name))

    def commit(
        self,
        name: str,
        before: Snapshot,
        labels: bytes | None,
        remove: Collection[int] = (),
    ) -> bool:
        """Replace the labels and remove versions, if nothing changed since `before`."""
        home = self.root / name
        hidden = home / f".old-{uuid.uuid4().hex}"
        with files.locked(home):
            if self.snapshot(name) != before:
                return False
            if remove:
                hidden.mkdir()
            for version in map(str, remove):
                os.rename(home / version, hidden / version)
            if labels is not None:
                self._replace_labels(home, labels)
        shutil.rmtree(hidden, ignore_errors=True)
        return True

    def _replace_labels(self, home: Path, content: bytes) -> None:
        """Replace labels.json; the caller holds the lock of `home`."""
        files.remove_leftovers(home / LABELS)
        files.replace_atomically(home / LABELS, content)

    def add_version(
        self, name: str, contents: Mapping[str, bytes], complete: Complete
    ) -> int:
        """Write files as the next version, all or nothing, and return its number."""
        home = self.root / name
        hidden = _hidden(home)
        try:
            files.fsync_directory(self.root)  # the model's directory may be new
            self._remove_abandoned(home)
            # The lock tells `_remove_abandoned` in another trainer that we are alive.
            with files.locked(hidden):
                _write(hidden, contents)
                with files.locked(home):
                    version = _next_version(home)
                    further, labels = complete(version, self.read_labels(name))
                    _write(hidden, further)
                    files.fsync_directory(hidden)
                    hidden.rename(home / str(version))
                    files.fsync_directory(home)
                    if labels is not None:
                        self._replace_labels(home, labels)
            return version
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise

    def add_model(
        self,
        name: str,
        versions: Iterable[tuple[int, Mapping[str, bytes]]],
        labels: bytes,
    ) -> bool:
        """Write a model with numbered versions and labels, all or nothing."""
        home = self.root / name
        if home.exists():
            return False
        hidden = _hidden(self.root)
        try:
            self._remove_abandoned(self.root)
            with files.locked(hidden):
                for version, contents in versions:
                    (hidden / str(version)).mkdir()
                    _write(hidden / str(version), contents)
                    files.fsync_directory(hidden / str(version))
                files.write_durable(hidden / LABELS, labels)
                files.fsync_directory(hidden)
                hidden.rename(home)
            files.fsync_directory(self.root)
            return True
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # made meanwhile
                return False
            raise
        finally:
            shutil.rmtree(hidden, ignore_errors=True)

    def _remove_abandoned(self, home: Path) -> None:
        """Remove the hidden directories of killed processes."""
        if old := list(home.glob(".old-*")):
            with files.locked(home):  # no version is being moved into one
                for directory in old:
                    shutil.rmtree(directory, ignore_errors=True)
        for directory in home.glob(".new-*"):
            # BlockingIOError: its trainer is alive. Others: it is harmless, skip it.
            with contextlib.suppress(OSError), files.locked(directory, wait=False):
                # A living trainer holds the lock, except right after it made it.
                if time.time() - directory.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(directory, ignore_errors=True)

    def open_file(
        self, name: str, version: int, file: str, limit: int
    ) -> BinaryIO | None:
        """Open a file of a version to read, or return None if it does not exist."""
        # A list of 10,000 versions would make paths for a second.
        return files.open_regular(f"{self.root}/{name}/{version}/{file}", limit)

    def has_attachment(self, name: str, version: int, file: str) -> bool:
        """Tell whether a version has a file."""
        return self.path(name, version, file).is_file()

    def replace_files(
        self, name: str, version: int, contents: Mapping[str, bytes]
    ) -> None:
        """Add files to a version, or replace them, under the model's lock."""
        with files.locked(self.root / name):
            for file, content in contents.items():
                path = self.path(name, version, file)
                files.remove_leftovers(path)
                files.replace_atomically(path, content)

    def file_stamp(self, name: str, version: int, file: str) -> Hashable:
        """Return a value that changes when a file of a version changes."""
        return files.stamp(self.path(name, version, file))

    def scratch(self, name: str, key: str) -> DirectoryScratch:
        """Return the scratch space of a model's run that is identified by `key`."""
        return DirectoryScratch(self.root / name, key)

    def schedule(self, name: str) -> DirectorySchedule:
        """Return the schedule of a model."""
        return DirectorySchedule(self.root / name / SCHEDULE)


def _directories(path: Path | str) -> list[str]:
    """Return the names of the directories in `path`; none if it does not exist."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if _is_directory(entry)]
    except FileNotFoundError:
        return []


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a loop of links: whoever reads it will say so
        return True


def _hidden(home: Path) -> Path:
    """Make a hidden directory in that of a model, which is made if need be."""
    hidden = home / f".new-{uuid.uuid4().hex}"
    while not hidden.exists():
        home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # a run that gave up removed it
            hidden.mkdir()
    return hidden


def _next_version(home: Path) -> int:
    """Return the number after the largest entry; the caller holds the lock."""
    return 1 + max(map(int, filter(_VERSION.fullmatch, os.listdir(home))), default=0)


def _write(directory: Path, contents: Mapping[str, bytes]) -> None:
    for file, content in contents.items():
        files.write_durable(directory / file, content)


@dataclass(frozen=True)
class LocalFile:
    """One file that may be replaced."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def key(self) -> str:
        """The names of its directory and of itself."""
        return f"{self.path.parent.name}/{self.path.name}"

    def read(self) -> bytes | None:
        """Return the content, or None if there is no file; raises OSError."""
        return files.read(self.path, MAX_FILE_BYTES)

    def write(self, content: bytes | memoryview) -> None:
        """Replace the content; a reader sees the old or the new; raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        files.replace_atomically(self.path, content)


class DirectoryScratch:
    """A hidden directory of an unfinished run's files."""

    def __init__(self, home: Path, key: str) -> None:
        self.home = home
        self.directory = home / f".checkpoint-{key}"
        self._made = [path for path in (home, *home.parents) if not path.exists()]

    @property
    def exists(self) -> bool:
        """Whether it holds a file."""
        return any(self.directory.glob("[!.]*"))

    def file(self, name: str) -> LocalFile:
        """Return one of its files, whether or not it exists."""
        return LocalFile(self.directory / name)

    def remove(self, max_age: float) -> None:
        """Remove its files, the model's other scratch older than `max_age` s, and
        directories that were made for nothing else.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        for other in self.home.glob(".checkpoint-*"):
            with contextlib.suppress(OSError):  # another trainer removed it
                if time.time() - other.stat().st_mtime > max_age:
                    shutil.rmtree(other, ignore_errors=True)
        with contextlib.suppress(OSError):  # not empty, or not there
            for path in self._made:
                path.rmdir()


@dataclass(frozen=True)
class DirectorySchedule:
    """The directory of a schedule, whose lock is the lease."""

    home: Path

    def __str__(self) -> str:
        return str(self.home)

    @property
    def state(self) -> LocalFile:
        """The file of the state."""
        return LocalFile(self.home / "state.json")

    @contextlib.contextmanager
    def lease(self, wait: bool = False) -> Iterator[tuple[int, ...]]:
        """Hold the lock; give its file descriptor, which a child process inherits."""
        self.home.mkdir(parents=True, exist_ok=True)
        with files.locked(self.home, wait) as handle:
            files.remove_leftovers(self.state.path)
            yield (handle,)

"""A store in a bucket: S3, Google Cloud Storage or Azure.

    PREFIX/.glassnet.json             the names of the models
    PREFIX/NAME/labels.json           the versions with their digests, and the labels
    PREFIX/NAME/VERSION/.claim        who writes this version
    PREFIX/NAME/VERSION/…             the files of the version
    PREFIX/NAME/.checkpoint-KEY/…     checkpoints of a run that has not ended
    PREFIX/NAME/schedule/…            the state of the schedule, and its lease

There are no renames and no locks. A number belongs to the trainer that creates its
claim, which only one can. A version exists once labels.json lists it; that file is
replaced on the condition that it is still the one that was read. So a version and its
label appear together, and of two changes at once one is repeated.

Readers ask for labels.json unless it is the one they have, and never list. They verify
each file by its digest and keep it in a cache. `DirectoryStore` reads a copy of the
bucket on a disk.
"""

from __future__ import annotations

import contextlib
import errno
import io
import random
import time
import uuid
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from models.errors import ArtefactCorrupt, GlassnetError
from models.storage.archive import digest_of
from models.storage.backend import Complete
from models.storage.base import LABELS, NAME, ArtefactStore
from models.storage.bucket import Bucket
from models.storage.bucket_client import (
    ABSENT,
    MAX_CONDITIONAL_BYTES,
    PATIENCE,
    BucketError,
)
from models.storage.cache import Cache
from models.storage.interfaces import Snapshot
from models.storage.labels import Labels, StoredObject
from models.storage.object_files import ObjectSchedule, ObjectScratch

INDEX, CLAIM, SCHEDULE = ".glassnet.json", ".claim", "schedule"
#: A larger index or labels.json is refused.
MAX_LABELS_BYTES = MAX_CONDITIONAL_BYTES
#: A claim this old without a version was left by a trainer that died: uploads are given
#: up in less than half of this time.
ABANDONED_SECONDS = 86_400.0
#: Seconds for which a request is repeated while the bucket does not answer.
SERVING_SECONDS = 3.0
#: The longest pause before a change is repeated.
PAUSE_SECONDS = 0.1


class _Index(msgspec.Struct):
    """The content of .glassnet.json."""

    models: list[str] = []


@dataclass(frozen=True)
class _Document:
    """labels.json of a model at one revision; empty if it does not exist."""

    content: bytes | None
    revision: str
    versions: Mapping[int, Mapping[str, StoredObject]]


class ObjectStore(ArtefactStore):
    """Models, versions and labels in a bucket.

    A store with a `cache` serves: what cannot be read now is read at the next look. One
    without, as of a trainer, is patient.
    """

    def __init__(
        self, address: str, key_file: str | None = None, cache: Cache | None = None
    ) -> None:
        super().__init__(address.rstrip("/"), key_file)
        self.bucket = Bucket(self.location, SERVING_SECONDS if cache else PATIENCE)
        self.cache = cache
        self._documents: dict[str, _Document] = {}
        self._index: tuple[str, list[str]] = "", []

    def check_writable(self) -> None:
        """Raise BucketError if the bucket cannot be written, or ignores conditions."""
        self.bucket.check_conditions()

    def names(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""
        return sorted(
            name
            for name in self._read_index()[1]
            if name in self._documents or self.versions(name)
        )

    def _read_index(self) -> tuple[str, list[str]]:
        """Return the revision of the index, and the names in it."""
        revision, _ = self._index
        found = self.bucket.get(INDEX, MAX_LABELS_BYTES, revision)
        if found is None:
            self._index = "", []
        elif found.content is not None:
            try:
                index = msgspec.json.decode(found.content, type=_Index)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                address = f"{self.location}/{INDEX}"
                raise ArtefactCorrupt(f"{address}: {error}") from None
            self._index = found.revision, [*filter(NAME.fullmatch, index.models)]
        return self._index

    def _add_to_index(self, name: str) -> None:
        """Add a model to the index, before its first version."""
        while name not in (read := self._read_index())[1]:
            if not read[0]:
                self.bucket.check_conditions()
            index = msgspec.json.encode(_Index(sorted([*read[1], name])))
            if not self.bucket.put(INDEX, index, read[0] or ABSENT):
                _pause()

    def versions(self, name: str) -> list[int]:
        """Return the published versions, oldest first."""
        return sorted(self._document(name).versions)

    def snapshot(self, name: str) -> Snapshot:
        """Return the versions and labels of a model, as they are now."""
        document = self._document(name)
        versions = tuple(sorted(document.versions))
        return Snapshot(versions, document.content, document.revision)

    def _document(self, name: str) -> _Document:
        """Return labels.json as it is now; it is sent only if it has changed."""
        known = self._documents.get(name)
        key = f"{name}/{LABELS}"
        found = self.bucket.get(key, MAX_LABELS_BYTES, known.revision if known else "")
        if found is None:
            self._documents.pop(name, None)
            return _Document(None, "", {})
        if found.content is None:
            assert known is not None
            return known
        versions = self._decode(name, found.content).versions
        document = _Document(found.content, found.revision, versions or {})
        if document.versions:
            self._documents[name] = document
        return document

    def commit(
        self,
        name: str,
        before: Snapshot,
        labels: bytes | None,
        remove: Collection[int] = (),
    ) -> bool:
        """Replace the labels and remove versions, if nothing changed since `before`."""
        listed = self._decode(name, before.labels).versions or {}
        versions = {v: files for v, files in listed.items() if v not in remove}
        document = self._decode(name, before.labels if labels is None else labels)
        if not self._replace(name, before.revision, document, versions):
            _pause()
            return False
        for version in remove:
            self._discard(name, version)
        return True

    def _replace(
        self,
        name: str,
        revision: str,
        labels: Labels,
        versions: dict[int, dict[str, StoredObject]],
    ) -> bool:
        """Replace labels.json; return whether it was the one of a revision."""
        labels.versions, labels.write = versions, uuid.uuid4().hex
        key, content = f"{name}/{LABELS}", labels.encode()
        if new := self.bucket.put(key, content, revision or ABSENT):
            self._documents[name] = _Document(content, new, versions)
            return True
        return False

    def add_version(
        self, name: str, contents: Mapping[str, bytes], complete: Complete
    ) -> int:
        """Write files as the next version, all or nothing, and return its number.

        Raises BucketError, also if the upload took too long.
        """
        self._add_to_index(name)
        self._remove_abandoned(name)
        began, version = time.time(), self._claim(name)
        try:
            files = self._write(name, version, contents)
            while True:
                before = self._document(name)
                further, encoded = complete(version, before.content)
                files |= self._write(name, version, further)
                labels = self._decode(name, encoded or before.content)
                if time.time() - began > ABANDONED_SECONDS / 2:
                    raise BucketError(
                        errno.ETIMEDOUT,
                        f"{self.location}/{name}/{version}: the upload took too long",
                    )
                versions = {**_copied(before), version: files}
                if self._replace(name, before.revision, labels, versions):
                    return version
                _pause()
        except BaseException:
            with contextlib.suppress(OSError, GlassnetError):
                # An error may have come after the write was done.
                if version not in self._document(name).versions:
                    self._discard(name, version)
            raise

    def add_model(
        self,
        name: str,
        versions: Iterable[tuple[int, Mapping[str, bytes]]],
        labels: bytes,
    ) -> bool:
        """Write a model with numbered versions and labels, all or nothing.

        The claims name the labels, so a copy that was killed may be repeated.
        """
        self._add_to_index(name)
        owner, listed = digest_of(labels).encode(), {}
        if self._document(name).content is not None:
            return False
        try:
            for version, contents in versions:
                if not self.bucket.put(f"{name}/{version}/{CLAIM}", owner, ABSENT):
                    return False
                listed[version] = self._write(name, version, contents)
            return self._replace(name, "", self._decode(name, labels), listed)
        finally:
            with contextlib.suppress(OSError, GlassnetError):
                for version in listed.keys() - self._document(name).versions.keys():
                    self._discard(name, version)

    def _claim(self, name: str) -> int:
        """Return the number of a new version, which no other trainer gets."""
        version = max(self._document(name).versions, default=0) + 1
        owner = uuid.uuid4().hex.encode()
        while not self.bucket.put(f"{name}/{version}/{CLAIM}", owner, ABSENT):
            version += 1
        return version

    def _write(
        self, name: str, version: int, contents: Mapping[str, bytes]
    ) -> dict[str, StoredObject]:
        """Upload files of a version that is not published."""
        for file, content in contents.items():
            self.bucket.put(f"{name}/{version}/{file}", content)
        return {
            file: StoredObject(digest_of(content), file)
            for file, content in contents.items()
        }

    def _discard(self, name: str, version: int) -> None:
        """Delete the files of a version that is not listed, its claim last."""
        claim = f"{name}/{version}/{CLAIM}"
        keys = [entry.key for entry in self.bucket.entries(f"{name}/{version}")]
        self.bucket.delete([key for key in keys if key != claim])
        self.bucket.delete([claim])

    def _remove_abandoned(self, name: str) -> None:
        """Delete the files of trainers and prunings that were killed."""
        listed = {str(version) for version in self._document(name).versions}
        for folder in self.bucket.folders(name):
            if folder.isdecimal() and folder not in listed:
                entries = self.bucket.entries(f"{name}/{folder}")
                newest = max((entry.modified for entry in entries), default=0.0)
                if time.time() - newest > ABANDONED_SECONDS:
                    self._discard(name, int(folder))

    def open_file(
        self, name: str, version: int, file: str, limit: int
    ) -> BinaryIO | None:
        """Open a file of a version to read, or return None if it does not exist.

        Raises ArtefactCorrupt if its bytes are not those that were written.
        """
        stored = self._find(name, version, file)
        if stored is None:
            return None
        content = self.cache.read(stored.sha256) if self.cache else None
        if content is None:
            content = self._download(name, version, stored, limit)
        if content is not None and len(content) > limit:
            address = self.address(name, version, file)
            raise ArtefactCorrupt(f"{address}: larger than {limit} bytes")
        return None if content is None else io.BytesIO(content)

    def _download(
        self, name: str, version: int, stored: StoredObject, limit: int
    ) -> bytes | None:
        found = self.bucket.get(f"{name}/{version}/{stored.name}", limit)
        if found is None or found.content is None:
            return None  # it was pruned
        if digest_of(found.content) != stored.sha256:
            raise ArtefactCorrupt(
                f"{self.address(name, version, stored.name)}: its bytes are not those "
                "that were written"
            )
        if self.cache:
            self.cache.write(stored.sha256, found.content)
        return found.content

    def _find(self, name: str, version: int, file: str) -> StoredObject | None:
        """Return what is known of a file, without a request if its version is known."""
        known = self._documents.get(name)
        if known is None or version not in known.versions:
            known = self._document(name)
        return known.versions.get(version, {}).get(file)

    def has_attachment(self, name: str, version: int, file: str) -> bool:
        """Tell whether a version has a file."""
        return self._find(name, version, file) is not None

    def replace_files(
        self, name: str, version: int, contents: Mapping[str, bytes]
    ) -> None:
        """Add files to a version, or replace them; two calls never mix.

        Each file gets a new name, and labels.json then lists them all at once. Raises
        FileNotFoundError if the version is gone.
        """
        write = uuid.uuid4().hex[:12]
        files = {
            file: StoredObject(digest_of(content), f"{write}-{file}")
            for file, content in contents.items()
        }
        for file, content in contents.items():
            self.bucket.put(f"{name}/{version}/{files[file].name}", content)
        while True:
            before = self._document(name)
            versions = _copied(before)
            if version not in versions:
                self._discard(name, version)
                address = self.address(name, version, "")
                raise FileNotFoundError(errno.ENOENT, "it is gone", address)
            versions[version] |= files
            labels = self._decode(name, before.content)
            if self._replace(name, before.revision, labels, versions):
                return
            _pause()

    def file_stamp(self, name: str, version: int, file: str) -> Hashable:
        """Return a value that changes when a file of a version changes."""
        stored = self._find(name, version, file)
        if stored is None:
            return None
        return stored, self.bucket.revision(f"{name}/{version}/{stored.name}")

    def scratch(self, name: str, key: str) -> ObjectScratch:
        """Return the scratch space of a model's run that is identified by `key`."""
        return ObjectScratch(self.bucket, name, key)

    def schedule(self, name: str) -> ObjectSchedule:
        """Return the schedule of a model."""
        return ObjectSchedule(self.bucket, f"{name}/{SCHEDULE}")


def _copied(document: _Document) -> dict[int, dict[str, StoredObject]]:
    return {version: {**files} for version, files in document.versions.items()}


def _pause() -> None:
    """Wait for a moment before a change is repeated, so that two do not meet again."""
    time.sleep(random.uniform(0, PAUSE_SECONDS))

"""The interface of an artefact store, and the rules that all stores share.

A store holds, for each model, versions 1, 2, 3 … and labels that point at versions.
A version is a set of files that appears at once and never changes, except that its
report is written later:

    model.npz      the artefact
    run.json       when and how it was trained
    record.json    the figures of its report
    report.html    the report
    rows.npy       hashes of the rows it was measured on
    model.sig      its signature, if the store signs

`ArtefactStore` implements what the rules say about names, labels, signatures and
pruning. A subclass implements the abstract methods, which read and write bytes. They
need no rename and no lock, only to create what does not exist and to replace what has
not changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping
from pathlib import Path

import msgspec

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    LabelNotFound,
    ModelNotFound,
    SignatureInvalid,
    VersionNotFound,
    nearest,
)
from models.storage import files
from models.storage.artefact import MAX_FILE_BYTES, Artefact, load
from models.storage.interfaces import Schedule, Scratch, Snapshot
from models.storage.labels import Change, Label, Labels
from models.storage.signing import MAX_SIGNATURE_BYTES, SIGNATURE, Keys

PRODUCTION, CANDIDATE = "production", "candidate"
ARTEFACT, LABELS = "model.npz", "labels.json"
RUN, RECORD, REPORT = "run.json", "record.json", "report.html"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LABEL = re.compile(r"[a-zA-Z0-9_]{1,64}")
#: An error message lists at most this many versions or models.
LISTED = 8


class ArtefactStore(ABC):
    """Models, their versions and their labels.

    With a `key_file`, `publish` signs every version and `load` refuses the unsigned.
    The file is read each time, so that keys can change while a server runs.
    """

    def __init__(self, location: str, key_file: str | None = None) -> None:
        self.location = location
        self.key_file = Path(key_file) if key_file else None

    def __str__(self) -> str:
        return self.location

    # Methods of each store. Every one of them may raise OSError.

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
        labels changed meanwhile. Who has a removed file open can read it to its end.
        """

    @abstractmethod
    def add_version(
        self, name: str, contents: Mapping[str, bytes], label: str | None
    ) -> int:
        """Write files as the next version, all or nothing, and return its number.

        `label` is pointed at the version before anyone could prune it.
        """

    @abstractmethod
    def read_attachment(
        self, name: str, version: int, file: str, limit: int = MAX_FILE_BYTES
    ) -> bytes | None:
        """Return a file of a version, or None if there is none.

        Raises ArtefactCorrupt, before it reads, if the file has more than `limit`
        bytes.
        """

    @abstractmethod
    def has_attachment(self, name: str, version: int, file: str) -> bool:
        """Tell whether a version has a file."""

    @abstractmethod
    def write_attachment(
        self, name: str, version: int, file: str, content: bytes
    ) -> str:
        """Add or replace a file of a version that exists, and return its address."""

    @abstractmethod
    def file_stamp(self, name: str, version: int, file: str) -> Hashable:
        """Return a value that changes when a file of a version changes."""

    @abstractmethod
    def scratch(self, name: str, key: str) -> Scratch:
        """Return the scratch space of a model's run that is identified by `key`."""

    @abstractmethod
    def schedule(self, name: str) -> Schedule:
        """Return the schedule of a model."""

    # Methods shared by all stores.

    def read_labels(self, name: str) -> bytes | None:
        """Return the content of labels.json, or None if there is none."""
        return self.snapshot(name).labels

    def address(self, name: str, version: int, file: str = ARTEFACT) -> str:
        """Return the address of a file, for messages."""
        return f"{self.location}/{name}/{version}/{file}"

    def keys(self) -> Keys | None:
        """Return the signing keys, or None without a key file.

        Raises ConfigError or OSError if the file has no usable keys.
        """
        return None if self.key_file is None else Keys.read(self.key_file)

    def load(self, name: str, version: int) -> Artefact:
        """Read and verify one version.

        Raises ArtefactCorrupt, and FileNotFoundError or another OSError.
        """
        address, keys = self.address(name, version), self.keys()
        data = self.read_attachment(name, version, ARTEFACT)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address)
        try:
            if keys is not None:
                self._check_signature(keys, name, version, data)
            return load(data)
        except ArtefactCorrupt as error:
            raise type(error)(f"{address}: {error}") from None

    def _check_signature(
        self, keys: Keys, name: str, version: int, data: bytes
    ) -> None:
        try:
            signature = self.read_attachment(
                name, version, SIGNATURE, MAX_SIGNATURE_BYTES
            )
        except ArtefactCorrupt:
            signature = b""
        if signature is None:
            raise SignatureInvalid("it is not signed")
        if not keys.accept(name, hashlib.sha256(data).hexdigest(), signature):
            raise SignatureInvalid(f"its signature is by no key in {self.key_file}")

    def stamp(self, name: str, version: int) -> Hashable:
        """Return a value that changes when `load` may end differently."""
        key = None if self.key_file is None else files.stamp(self.key_file)
        artefact = self.file_stamp(name, version, ARTEFACT)
        return artefact, self.file_stamp(name, version, SIGNATURE), key

    def run(self, name: str, version: int) -> dict[str, object]:
        """Return run.json, or {} without one; raises ArtefactCorrupt or OSError."""
        raw = self.read_attachment(name, version, RUN)
        try:
            return msgspec.json.decode(raw or b"{}", type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            address = self.address(name, version, RUN)
            raise ArtefactCorrupt(f"{address}: {error}") from None

    def labels(self, name: str) -> dict[str, Label]:
        """Return the labels of a model; raises ArtefactCorrupt or OSError."""
        return self._decode(name, self.read_labels(name)).labels

    def history(self, name: str) -> list[Change]:
        """Return every move of the labels, the latest last; raises ArtefactCorrupt."""
        return self._decode(name, self.read_labels(name)).history

    def _decode(self, name: str, content: bytes | None) -> Labels:
        return Labels.decode(content, f"{self.location}/{name}/{LABELS}")

    def require(self, name: str) -> list[int]:
        """Return the versions of a model; raises ModelNotFound if it has none."""
        versions = self.versions(name) if NAME.fullmatch(name) else []
        if not versions:
            names = self.names()
            listed = f"; it has {', '.join(names[:LISTED])}"
            hint = nearest(name, names) or (listed if names else ", which is empty")
            raise ModelNotFound(f"no model '{name[:128]}' in the store{hint}")
        return versions

    def resolve(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> int:
        """Return `version`, or the label's, or production's, or else the newest.

        Raises ModelNotFound, VersionNotFound or LabelNotFound.
        """
        versions = self.require(name)
        if version is not None:
            return _require_version(name, version, versions)
        labels = self.labels(name)
        if label is None and PRODUCTION not in labels:
            return versions[-1]
        label = label or PRODUCTION
        while True:
            version = _require_label(name, label, labels).version
            versions = self.versions(name)
            if version in versions:
                return version
            # The label may have moved, and its old version been pruned, in between.
            before, labels = labels, self.labels(name)
            if labels == before:
                raise VersionNotFound(
                    f"label '{label}' of model '{name}' points at version {version}, "
                    f"which does not exist; the model has {_listed(versions)}"
                )

    def publish(
        self, name: str, contents: Mapping[str, bytes], label: str | None = None
    ) -> int:
        """Write files as the next version, all or nothing, and return its number.

        `label` is pointed at the version. Raises ConfigError for a name that is not
        allowed, and OSError.
        """
        self.check_name(name)
        if label is not None:
            self.check_label(label)
        if keys := self.keys():
            sha256 = hashlib.sha256(contents[ARTEFACT]).hexdigest()
            contents = {**contents, SIGNATURE: keys.sign(name, sha256)}
        return self.add_version(name, contents, label)

    def promote(
        self,
        name: str,
        version: int,
        label: str = PRODUCTION,
        share: float = 0.0,
        shadow: bool = False,
    ) -> None:
        """Point a label at a version.

        A candidate may answer a `share` of production's requests, or all of them in
        its `shadow`. Raises ConfigError, ModelNotFound or VersionNotFound.
        """
        self.check_label(label)
        if (share or shadow) and label != CANDIDATE:
            raise ConfigError(
                f"share and shadow are for the label '{CANDIDATE}', not for '{label}'"
            )
        if share and shadow:
            raise ConfigError("a candidate has a share or is a shadow, not both")

        def change(labels: Labels, versions: list[int]) -> Collection[int]:
            _require_version(name, version, versions)
            labels.promote(label, version, share, shadow)
            return ()

        self.require(name)
        self._update(name, change)

    def rollback(self, name: str, label: str = PRODUCTION) -> int:
        """Point a label at the version before, and return that version.

        Raises ModelNotFound, LabelNotFound, or VersionNotFound if there is none.
        """
        restored = 0

        def change(labels: Labels, versions: list[int]) -> Collection[int]:
            nonlocal restored
            current = _require_label(name, label, labels.labels).version
            previous = labels.rollback(label, versions)
            if previous is None:
                raise VersionNotFound(
                    f"label '{label}' of model '{name}' has no version before "
                    f"{current} to go back to"
                )
            restored = previous
            return ()

        self.require(name)
        self._update(name, change)
        return restored

    def prune(
        self, name: str, keep: int, forget: bool = False, dry_run: bool = False
    ) -> list[int]:
        """Delete all but the `keep` newest versions and those that labels need.

        A label needs its version and, unless told to `forget`, the versions it can be
        rolled back to; for candidates those do not count. Return what was deleted.
        Raises ConfigError or ModelNotFound.
        """
        if keep < 1:
            raise ConfigError(f"expected to keep at least 1 version, not {keep}")
        doomed: list[int] = []

        def change(labels: Labels, versions: list[int]) -> Collection[int]:
            needed = {label.version for label in labels.labels.values()}
            for label, pointer in labels.labels.items():
                if not forget and label != CANDIDATE:
                    needed |= {*pointer.previous}
            doomed[:] = [v for v in versions[:-keep] if v not in needed]
            if dry_run:
                return ()
            labels.forget(doomed)
            return doomed

        self.require(name)
        self._update(name, change)
        return doomed

    def _update(
        self, name: str, change: Callable[[Labels, list[int]], Collection[int]]
    ) -> None:
        """Apply `change` to labels and versions; it returns the versions to remove.

        It is called again if another process changed something in between.
        """
        while True:
            before = self.snapshot(name)
            labels = self._decode(name, before.labels)
            old = msgspec.json.encode(labels)
            remove = change(labels, [*before.versions])
            new = msgspec.json.encode(labels)
            content = None if new == old else msgspec.json.format(new)
            unchanged = content is None and not remove
            if unchanged or self.commit(name, before, content, remove):
                return

    @staticmethod
    def check_name(name: str) -> None:
        """Raise ConfigError if a model cannot have this name."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"a model's name is letters, digits, '.', '_' and '-', not '{name}'"
            )

    @staticmethod
    def check_label(label: str) -> None:
        """Raise ConfigError if a label cannot have this name."""
        if not LABEL.fullmatch(label):
            raise ConfigError(f"a label is letters, digits and '_', not '{label}'")


def _require_version(name: str, version: int, versions: list[int]) -> int:
    if version not in versions:
        raise VersionNotFound(
            f"model '{name}' has no version {version}; it has {_listed(versions)}"
        )
    return version


def _require_label(name: str, label: str, labels: Mapping[str, Label]) -> Label:
    if label not in labels:
        raise LabelNotFound(
            f"model '{name}' has no label '{label}'{nearest(label, labels)}"
        )
    return labels[label]


def _listed(versions: list[int]) -> str:
    shown = ", ".join(map(str, versions[-LISTED:]))
    return f"… {shown}" if len(versions) > LISTED else shown

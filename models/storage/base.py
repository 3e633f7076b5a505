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
pruning. A subclass implements the methods of `StoreBackend`: they read and write bytes.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from pathlib import Path
from types import EllipsisType
from typing import TypeVar

import msgspec

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    ModelNotFound,
    ProductionMoved,
    SignatureInvalid,
    VersionNotFound,
    nearest,
)
from models.storage import archive, artefact, files
from models.storage.archive import MAX_FILE_BYTES
from models.storage.artefact import Artefact, Summary
from models.storage.backend import StoreBackend
from models.storage.labels import (
    LISTED,
    Change,
    Label,
    Labels,
    check_label,
    listed,
    require_label,
    require_version,
)
from models.storage.signing import MAX_SIGNATURE_BYTES, SIGNATURE, Keys

PRODUCTION, CANDIDATE = "production", "candidate"
ARTEFACT, LABELS = "model.npz", "labels.json"
RUN, RECORD, REPORT, ROWS = "run.json", "record.json", "report.html", "rows.npy"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
T = TypeVar("T")


class ArtefactStore(StoreBackend):
    """Models, their versions and their labels.

    With a `key_file`, `publish` signs every version and `load` refuses the unsigned.
    The file is read each time, so that keys can change while a server runs.
    """

    def __init__(self, location: str, key_file: str | None = None) -> None:
        self.location = location
        self.key_file = Path(key_file) if key_file else None

    def __str__(self) -> str:
        return self.location

    def read_labels(self, name: str) -> bytes | None:
        """Return the content of labels.json, or None if it does not exist."""
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
        return self._read_artefact(name, version, artefact.load)

    def summarize(self, name: str, version: int) -> Summary:
        """Return what a list says of a version, whose bytes alone are verified.

        Raises ArtefactCorrupt, and FileNotFoundError or another OSError.
        """
        return self._read_artefact(name, version, artefact.summarize)

    def _read_artefact(
        self,
        name: str,
        version: int,
        parse: Callable[[bytes, Callable[[str], None]], T],
    ) -> T:
        address, keys = self.address(name, version), self.keys()
        file = self.open_file(name, version, ARTEFACT, MAX_FILE_BYTES)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address)
        check = partial(self._check_signature, keys, name, version, ARTEFACT)
        try:
            with file:
                return parse(archive.read(file), check)
        except ArtefactCorrupt as error:
            raise type(error)(f"{address}: {error}") from None

    def read_attachment(
        self, name: str, version: int, file: str, limit: int = MAX_FILE_BYTES
    ) -> bytes | None:
        """Return a file of a version, or None if it does not exist.

        Raises ArtefactCorrupt if it is larger than `limit` bytes, SignatureInvalid if,
        with a key file, it is not as it was signed, and OSError.
        """
        keys, content = self.keys(), self._read(name, version, file, limit)
        if content is not None and keys is not None:
            digest = archive.digest_of(content)
            try:
                self._check_signature(keys, name, version, file, digest)
            except SignatureInvalid as error:
                address = self.address(name, version, file)
                raise SignatureInvalid(f"{address}: {error}") from None
        return content

    def _read(self, name: str, version: int, file: str, limit: int) -> bytes | None:
        if (opened := self.open_file(name, version, file, limit)) is None:
            return None
        with opened:
            return opened.read(limit)

    def write_attachment(
        self, name: str, version: int, file: str, content: bytes
    ) -> str:
        """Add a file to a version, or replace it, and return its address.

        The version is signed again. Raises SignatureInvalid if its signature is not
        valid, ModelNotFound or VersionNotFound if the version is gone, and OSError.
        """
        contents, keys = {file: content}, self.keys()
        try:
            if keys is not None:
                digests = keys.digests(name, version, self._signature(name, version))
                digests[file] = archive.digest_of(content)
                contents[SIGNATURE] = keys.sign(name, version, digests)
            self.replace_files(name, version, contents)
        except (FileNotFoundError, SignatureInvalid):
            self.resolve(name, version)  # if it is gone, that says so
            raise
        return self.address(name, version, file)

    def _check_signature(
        self, keys: Keys | None, name: str, version: int, file: str, sha256: str
    ) -> None:
        """Raise SignatureInvalid unless a version's signature covers a file."""
        if keys is None:
            return
        signature = self._signature(name, version)
        keys.require(name, version, file, sha256, signature)

    def _signature(self, name: str, version: int) -> bytes:
        try:
            signature = self._read(name, version, SIGNATURE, MAX_SIGNATURE_BYTES)
        except ArtefactCorrupt:
            return b""  # too long for one
        if signature is None:
            raise SignatureInvalid("it is not signed")
        return signature

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

    def labelled(self, name: str, label: str) -> int | None:
        """Return the version a label points at, or None; raises as `labels` does."""
        return self._decode(name, self.read_labels(name)).version(label)

    def look(self, name: str) -> tuple[tuple[int, ...], dict[str, Label]]:
        """Return versions and labels at one moment; raises as `labels` does."""
        snapshot = self.snapshot(name)
        return snapshot.versions, self._decode(name, snapshot.labels).labels

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
            return require_version(name, version, versions)
        labels = self.labels(name)
        if label is None and PRODUCTION not in labels:
            return versions[-1]
        label = label or PRODUCTION
        while True:
            version = require_label(name, label, labels).version
            versions = self.versions(name)
            if version in versions:
                return version
            # The label may have moved, and its old version been pruned, in between.
            before, labels = labels, self.labels(name)
            if labels == before:
                raise VersionNotFound(
                    f"label '{label}' of model '{name}' points at version {version}, "
                    f"which does not exist; the model has {listed(versions)}"
                )

    def publish(
        self,
        name: str,
        contents: Mapping[str, bytes],
        label: str | None = None,
        expected: int | EllipsisType | None = ...,
    ) -> int:
        """Write files as the next version, all or nothing, and return its number.

        `label` is pointed at the version. Raises ProductionMoved, with nothing written,
        if production is no longer the `expected` version (None: no version),
        ConfigError for a name that is not allowed, ArtefactCorrupt for damaged labels,
        and OSError.
        """
        self.check_name(name)
        if label is not None:
            check_label(label)
        keys = self.keys()
        digests = {f: archive.digest_of(c) for f, c in contents.items() if keys}

        def complete(
            version: int, before: bytes | None
        ) -> tuple[Mapping[str, bytes], bytes | None]:
            labels = self._decode(name, before)
            production = labels.version(PRODUCTION)
            if expected is not ... and production != expected:
                raise ProductionMoved(
                    f"production of model '{name}' has become version "
                    f"{production} in the meantime"
                )
            if label is not None:
                labels.promote(label, version)
            signature = {SIGNATURE: keys.sign(name, version, digests)} if keys else {}
            return signature, None if label is None else labels.encode()

        return self.add_version(name, contents, complete)

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
        check_label(label)
        if (share or shadow) and label != CANDIDATE:
            raise ConfigError(
                f"share and shadow are for the label '{CANDIDATE}', not for '{label}'"
            )
        if share and shadow:
            raise ConfigError("a candidate has a share or is a shadow, not both")

        def change(labels: Labels, versions: list[int]) -> Collection[int]:
            require_version(name, version, versions)
            labels.promote(label, version, share, shadow)
            return ()

        self.require(name)
        self._update(name, change)

    def rollback(self, name: str, label: str = PRODUCTION) -> int:
        """Point a label at the version before, and return that version.

        Raises ModelNotFound, LabelNotFound, or VersionNotFound if it does not exist.
        """
        restored = 0

        def change(labels: Labels, versions: list[int]) -> Collection[int]:
            nonlocal restored
            current = require_label(name, label, labels.labels).version
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
            old = labels.encode()
            remove = change(labels, [*before.versions])
            new = labels.encode()
            content = None if new == old else new
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

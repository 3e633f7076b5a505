"""Versions and labels on disk, so that a reader never sees half of anything.

    STORE/NAME/VERSION/model.npz      VERSION is 1, 2, 3 …, never written twice
    STORE/NAME/VERSION/run.json       when and how it was trained, beside the bytes
    STORE/NAME/VERSION/record.json    what its report is drawn from
    STORE/NAME/VERSION/report.html    the report, which is drawn afterwards
    STORE/NAME/VERSION/model.sig      who made it, where there are keys (models.signing)
    STORE/NAME/labels.json            production, candidate, …, with their history

A version is made in a hidden directory beside its place, flushed to the disk, and
renamed; then labels.json is replaced. Two trainers at once get two versions: a rename
onto an existing version fails, and the next number is tried. Labels are changed, and
old versions deleted, under a lock that ends with the process that holds it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
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
from models.storage.artefact import Artefact, read
from models.storage.labels import Change, Label, Labels
from models.storage.signing import MAX_BYTES, SIGNATURE, Keys

PRODUCTION = "production"
CANDIDATE = "candidate"
ARTEFACT = "model.npz"
RUN = "run.json"
RECORD, REPORT = "record.json", "report.html"
LABELS = "labels.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LABEL = re.compile(r"[a-zA-Z0-9_]{1,64}")
#: An unlocked hidden directory older than this was left by a trainer that died.
ABANDONED_SECONDS = 60.0
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


class Store:
    """A directory of models, versions and labels.

    With a `key_file` every version published is signed, and none is loaded that is not.
    The file is read anew each time, so that a key can be changed under a server.
    """

    def __init__(self, root: str | Path, key_file: str | None = None) -> None:
        self.root = Path(root)
        self.key_file = Path(key_file) if key_file else None

    def keys(self) -> Keys | None:
        """Return the signing keys, if there are to be any; ConfigError or OSError."""
        return None if self.key_file is None else Keys.read(self.key_file)

    def names(self) -> list[str]:
        """Return the models that have a version; OSError if the store is unreadable."""
        if not self.root.exists():
            return []
        return sorted(
            entry.name
            for entry in self.root.iterdir()
            if NAME.fullmatch(entry.name) and self.versions(entry.name)
        )

    def versions(self, name: str) -> list[int]:
        """Return the published versions, oldest first."""
        try:
            with os.scandir(self.root / name) as entries:
                found = [e.name for e in entries if e.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(int(entry) for entry in found if _VERSION.fullmatch(entry))

    def path(self, name: str, version: int) -> Path:
        """Return where the artefact of a version lies."""
        return self.root / name / str(version) / ARTEFACT

    def run(self, name: str, version: int) -> dict[str, object]:
        """Return what run.json says, or nothing; ArtefactCorrupt if it is damaged."""
        try:
            raw = (self.root / name / str(version) / RUN).read_bytes()
        except FileNotFoundError:
            return {}
        try:
            return msgspec.json.decode(raw, type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            where = self.root / name / str(version) / RUN
            raise ArtefactCorrupt(f"{where}: {error}") from None

    def read_attachment(self, name: str, version: int, file: str) -> bytes | None:
        """Return a file that lies beside a version's model, or None."""
        try:
            return self.path(name, version).with_name(file).read_bytes()
        except FileNotFoundError:
            return None

    def write_attachment(
        self, name: str, version: int, file: str, content: bytes
    ) -> Path:
        """Put a file beside a version's model, in the place of an older one.

        Raises OSError where the version is gone, or cannot be written to.
        """
        path = self.path(name, version).with_name(file)
        files.remove_leftovers(path)
        files.replace_atomically(path, content)
        return path

    def labels(self, name: str) -> dict[str, Label]:
        """Return the labels of a model."""
        return self._labels(name).labels

    def history(self, name: str) -> list[Change]:
        """Return every move of its labels, the latest last."""
        return self._labels(name).history

    def resolve(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> int:
        """Return the version meant: that one, the label's, production's, the newest.

        Raises ModelNotFound, VersionNotFound or LabelNotFound.
        """
        versions = self.require(name)
        if version is not None:
            if version not in versions:
                raise VersionNotFound(
                    f"model '{name}' has no version {version}; it has {_few(versions)}"
                )
            return version
        labels = self.labels(name)
        if label is None and PRODUCTION not in labels:
            return versions[-1]
        return self._labelled(name, label or PRODUCTION, labels)

    def _labelled(self, name: str, label: str, labels: dict[str, Label]) -> int:
        """Return the version a label stands on, as others publish, move and prune."""
        while True:
            if label not in labels:
                raise LabelNotFound(
                    f"model '{name}' has no label '{label}'{nearest(label, labels)}"
                )
            version, versions = labels[label].version, self.versions(name)
            if version in versions:
                return version
            before, labels = labels, self.labels(name)
            if labels == before:  # else it has moved on since, and its old place went
                raise VersionNotFound(
                    f"model '{name}': {label} is version {version}, which is gone; "
                    f"it has {_few(versions)}"
                )

    def require(self, name: str) -> list[int]:
        """Return the versions of a model that must exist, else ModelNotFound."""
        versions = self.versions(name) if NAME.fullmatch(name) else []
        if not versions:
            names = self.names()
            known = f"; it has {', '.join(names[:8])}" if names else ", which is empty"
            hint = nearest(name, names) or known
            raise ModelNotFound(f"no model '{name[:128]}' in the store{hint}")
        return versions

    def load(self, name: str, version: int) -> Artefact:
        """Read and prove one version; ArtefactCorrupt or OSError."""
        path, keys = self.path(name, version), self.keys()

        def accept(sha256: str) -> None:
            if keys is None:
                return
            try:
                with path.with_name(SIGNATURE).open("rb") as file:
                    signature = file.read(MAX_BYTES)
            except FileNotFoundError:
                raise SignatureInvalid("it is not signed") from None
            if not keys.accept(name, sha256, signature):
                raise SignatureInvalid(f"its signature is by no key in {self.key_file}")

        return read(path, accept)

    def stamp(self, name: str, version: int) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when another load of a version may end otherwise."""
        path = self.path(name, version)
        found = [path, path.with_name(SIGNATURE), self.key_file]
        return tuple(_stamp(file) for file in found if file is not None)

    @staticmethod
    def check_name(name: str) -> None:
        """Raise ConfigError for a name that cannot be a model's."""
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"a model's name is letters, digits, '.', '_' and '-', not '{name}'"
            )

    @staticmethod
    def check_label(label: str) -> None:
        """Raise ConfigError for a word that cannot be a label."""
        if not LABEL.fullmatch(label):
            raise ConfigError(f"a label is letters, digits and '_', not '{label}'")

    def publish(
        self, name: str, contents: Mapping[str, bytes], label: str | None = None
    ) -> int:
        """Write files as the next version, whole or not at all, and return it.

        A `label` is pointed at it before anyone could prune it.
        """
        self.check_name(name)
        if label is not None:
            self.check_label(label)
        if keys := self.keys():
            sha256 = hashlib.sha256(contents[ARTEFACT]).hexdigest()
            contents = {**contents, SIGNATURE: keys.sign(name, sha256)}
        home = self.root / name
        home.mkdir(parents=True, exist_ok=True)
        files.fsync_directory(
            self.root
        )  # a new model's directory is to last as its versions do
        self._sweep(home)
        hidden = home / f".new-{uuid.uuid4().hex}"
        hidden.mkdir()
        try:
            # The lock tells `_sweep` of another trainer that this one is alive.
            with files.locked(hidden):
                for file, content in contents.items():
                    files.write_durable(hidden / file, content)
                files.fsync_directory(hidden)
                with files.locked(home):
                    version = self._place(hidden, home)
                    if label is not None:
                        with self._replacing(name) as labels:
                            labels.promote(label, version)
            return version
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise

    def _place(self, hidden: Path, home: Path) -> int:
        version = max(self.versions(home.name), default=0) + 1
        while True:
            try:
                hidden.rename(home / str(version))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                version += 1
                continue
            files.fsync_directory(home)
            return version

    def _sweep(self, home: Path) -> None:
        """Remove what was left behind by whoever was killed."""
        for left in home.glob(".old-*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in home.glob(".new-*"):
            # BlockingIOError: it is held. What cannot be removed is in nobody's way.
            with contextlib.suppress(OSError), files.locked(left, wait=False):
                # A living trainer holds the lock, but for the moment it is made in.
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def promote(
        self,
        name: str,
        version: int,
        label: str = PRODUCTION,
        share: float = 0.0,
        shadow: bool = False,
    ) -> None:
        """Point a label at a version; raises VersionNotFound.

        A candidate may be given a share of production's requests, or its shadow.
        """
        self.check_label(label)
        if (share or shadow) and label != CANDIDATE:
            raise ConfigError(
                f"a share or shadow is for the label '{CANDIDATE}', not for '{label}'"
            )
        if share and shadow:
            raise ConfigError("a candidate has a share or is a shadow, not both")
        self.require(name)
        with self._changing(name) as content:
            self.resolve(name, version)
            content.promote(label, version, share, shadow)

    def rollback(self, name: str, label: str = PRODUCTION) -> int:
        """Point a label at the version it stood on before; return that version."""
        self.require(name)
        with self._changing(name) as content:
            if label not in content.labels:
                raise LabelNotFound(
                    f"model '{name}' has no label '{label}'"
                    f"{nearest(label, content.labels)}"
                )
            now = content.labels[label].version
            version = content.rollback(label, self.versions(name))
            if version is None:
                raise VersionNotFound(
                    f"label '{label}' of model '{name}' has stood on no version "
                    f"before {now}"
                )
        return version

    def prune(
        self, name: str, keep: int, forget: bool = False, dry_run: bool = False
    ) -> list[int]:
        """Delete all but the newest versions and those that labels need; return them.

        A label needs what it stands on and, unless told to `forget`, what it could be
        rolled back to; what was a candidate once is not waited for again. A version
        goes by a rename: a reader that has its file open reads on, the next finds none.
        """
        if keep < 1:
            raise ConfigError(f"at least one version is kept, not {keep}")
        self.require(name)
        home = self.root / name
        hidden = []
        with self._changing(name) as content:
            needed = {label.version for label in content.labels.values()}
            for label, stood in content.labels.items():
                if not forget and label != CANDIDATE:
                    needed |= {*stood.previous}
            doomed = [v for v in self.versions(name)[:-keep] if v not in needed]
            if dry_run:
                return doomed
            content.forget(doomed)
            for version in doomed:
                hidden.append(home / f".old-{version}-{uuid.uuid4().hex}")
                (home / str(version)).rename(hidden[-1])
        for left in hidden:
            shutil.rmtree(left, ignore_errors=True)
        return doomed

    def _labels(self, name: str) -> Labels:
        try:
            raw = (self.root / name / LABELS).read_bytes()
        except FileNotFoundError:
            return Labels()
        try:
            return msgspec.json.decode(raw, type=Labels)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ArtefactCorrupt(f"{self.root / name / LABELS}: {error}") from None

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[Labels]:
        with files.locked(self.root / name), self._replacing(name) as content:
            yield content

    @contextlib.contextmanager
    def _replacing(self, name: str) -> Iterator[Labels]:
        """Give the labels, and write what has become of them; under the lock."""
        home = self.root / name
        content = self._labels(name)
        before = msgspec.json.encode(content)
        files.remove_leftovers(home / LABELS)
        yield content
        after = msgspec.json.encode(content)
        if after != before:
            files.replace_atomically(home / LABELS, msgspec.json.format(after))


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return status.st_ino, status.st_mtime_ns, status.st_size


def _few(versions: list[int]) -> str:
    shown = ", ".join(map(str, versions[-8:]))
    return f"… {shown}" if len(versions) > 8 else shown

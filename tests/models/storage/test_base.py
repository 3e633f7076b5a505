"""The rules that all stores share, in a store without files, renames and locks."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from models.errors import (
    ArtefactCorrupt,
    ProductionMoved,
    SignatureInvalid,
    VersionNotFound,
)
from models.storage import artefact
from models.storage.archive import MAX_FILE_BYTES
from models.storage.backend import Complete
from models.storage.base import ARTEFACT, CANDIDATE, PRODUCTION, ArtefactStore
from models.storage.directory import DirectoryStore
from models.storage.interfaces import Schedule, Scratch, Snapshot
from models.storage.signing import MAX_SIGNATURE_BYTES, SIGNATURE
from tests.private import write_secret


class MemoryStore(ArtefactStore):
    """Versions in a dictionary; a commit compares one revision, as with an ETag."""

    def __init__(self, key_file: str | None = None) -> None:
        super().__init__("memory://", key_file)
        self.files: dict[tuple[str, int, str], bytes] = {}
        self.catalogues: dict[str, Snapshot] = {}
        self.before_commit: Callable[[], object] = lambda: None

    def check_writable(self) -> None:
        pass

    def names(self) -> list[str]:
        return sorted(name for name in self.catalogues if self.versions(name))

    def versions(self, name: str) -> list[int]:
        return [*self.snapshot(name).versions]

    def snapshot(self, name: str) -> Snapshot:
        return self.catalogues.get(name, Snapshot((), None, "0"))

    def commit(
        self,
        name: str,
        before: Snapshot,
        labels: bytes | None,
        remove: Collection[int] = (),
    ) -> bool:
        call, self.before_commit = self.before_commit, lambda: None
        call()
        left = tuple(v for v in before.versions if v not in remove)
        return self._replace(name, before, left, labels or before.labels)

    def add_model(
        self,
        name: str,
        versions: Iterable[tuple[int, Mapping[str, bytes]]],
        labels: bytes,
    ) -> bool:
        if name in self.catalogues:
            return False
        numbers = []
        for version, contents in versions:
            numbers.append(version)
            for file, content in contents.items():
                self.files[name, version, file] = content
        return self._replace(
            name, Snapshot((), None, "0"), tuple(sorted(numbers)), labels
        )

    def _replace(
        self,
        name: str,
        before: Snapshot,
        versions: tuple[int, ...],
        labels: bytes | None,
    ) -> bool:
        after = Snapshot(versions, labels, str(int(before.revision) + 1))
        now = self.catalogues.setdefault(name, Snapshot((), None, "0"))
        if now.revision != before.revision:
            return False
        self.catalogues[name] = after
        return True

    def add_version(
        self, name: str, contents: Mapping[str, bytes], complete: Complete
    ) -> int:
        for attempt in itertools.count(1):
            before = self.snapshot(name)
            version = max(before.versions, default=0) + attempt
            further, labels = complete(version, before.labels)
            versions = *before.versions, version
            if self._replace(name, before, versions, labels or before.labels):
                break
        self.replace_files(name, version, {**contents, **further})
        return version

    def open_file(
        self, name: str, version: int, file: str, limit: int
    ) -> BinaryIO | None:
        content = self.files.get((name, version, file))
        if content is not None and len(content) > limit:
            raise ArtefactCorrupt("larger")
        return None if content is None else io.BytesIO(content)

    def has_attachment(self, name: str, version: int, file: str) -> bool:
        return (name, version, file) in self.files

    def replace_files(
        self, name: str, version: int, contents: Mapping[str, bytes]
    ) -> None:
        self.files |= {(name, version, file): b for file, b in contents.items()}

    def file_stamp(self, name: str, version: int, file: str) -> Hashable:
        return hash(self.files.get((name, version, file)))

    def scratch(self, name: str, key: str) -> Scratch:
        raise NotImplementedError

    def schedule(self, name: str) -> Schedule:
        raise NotImplementedError


@pytest.fixture
def memory() -> MemoryStore:
    store = MemoryStore()
    for number in 1, 2, 3:
        store.publish("m", {ARTEFACT: b"%d" % number})
    return store


def test_labels_move_and_versions_go_without_renames_or_locks(
    memory: MemoryStore,
) -> None:
    memory.promote("m", 1)
    memory.promote("m", 2)
    assert memory.rollback("m") == 1
    assert memory.publish("m", {ARTEFACT: b"4"}, "candidate") == 4
    assert memory.prune("m", 1, dry_run=True) == [2, 3]
    assert memory.prune("m", 1) == [2, 3] and memory.versions("m") == [1, 4]
    assert memory.resolve("m") == 1 and memory.resolve("m", label="candidate") == 4
    with pytest.raises(VersionNotFound, match="has no version 3; it has 1, 4"):
        memory.promote("m", 3)


def test_a_promotion_that_loses_the_race_to_a_pruning_is_refused(
    memory: MemoryStore,
) -> None:
    memory.before_commit = lambda: memory.prune("m", 1)
    with pytest.raises(VersionNotFound):
        memory.promote("m", 1)
    assert memory.labels("m") == {}


def test_a_pruning_that_loses_the_race_to_a_promotion_keeps_the_version(
    memory: MemoryStore,
) -> None:
    memory.before_commit = lambda: memory.promote("m", 1)
    assert memory.prune("m", 1) == [2]
    assert memory.versions("m") == [1, 3] and memory.resolve("m") == 1


# Publishing what was compared with production


@pytest.mark.parametrize("label", [PRODUCTION, CANDIDATE, None])
@pytest.mark.parametrize("expected", [None, 1])
def test_nothing_is_published_if_production_moved_since(
    memory: MemoryStore, label: str | None, expected: int | None
) -> None:
    memory.promote("m", 2)
    with pytest.raises(ProductionMoved, match="model 'm' has become version 2 in"):
        memory.publish("m", {ARTEFACT: b"4"}, label, expected)
    assert memory.versions("m") == [1, 2, 3] and memory.resolve("m") == 2
    assert memory.publish("m", {ARTEFACT: b"4"}, label, 2) == 4
    assert memory.resolve("m") == (4 if label == PRODUCTION else 2)


# Loading


def test_a_version_loads_and_an_error_names_its_address(
    made: Any, memory: MemoryStore
) -> None:
    content = made.dump()
    version = memory.publish("m", {ARTEFACT: content}, PRODUCTION)
    assert memory.load("m", version).sha256 == artefact.load(content).sha256
    memory.publish("m", {ARTEFACT: content[:-1]})
    with pytest.raises(ArtefactCorrupt) as caught:
        memory.load("m", version + 1)
    assert str(caught.value).startswith("memory:///m/5/model.npz: its bytes are not")
    with pytest.raises(FileNotFoundError):
        memory.load("m", 99)


def test_a_file_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DirectoryStore(tmp_path)
    store.publish("m", {ARTEFACT: b""})
    with store.path("m", 1).open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # takes no room on the disk
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(ArtefactCorrupt, match="larger than"):
        store.load("m", 1)


def test_a_signature_too_long_is_no_signature(made: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    write_secret(keys, "k" * 32)
    store = MemoryStore(str(keys))
    store.publish("m", {ARTEFACT: made.dump()})
    seen = store.stamp("m", 1)
    store.load("m", 1)
    store.files["m", 1, SIGNATURE] += b" " * MAX_SIGNATURE_BYTES
    with pytest.raises(SignatureInvalid, match="by no key in"):
        store.load("m", 1)
    assert store.stamp("m", 1) != seen

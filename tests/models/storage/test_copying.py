"""A model in another store: the same numbers, bytes, labels and history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtefactCorrupt, ConfigError, ModelNotFound, ProductionMoved
from models.storage.base import ARTEFACT, REPORT, RUN, ArtefactStore
from models.storage.copying import copy
from models.storage.directory import DirectoryStore
from tests.private import write_secret


@pytest.fixture
def home(tmp_path: Path, classifier: Any) -> DirectoryStore:
    """A store with versions 2 and 3, and a history."""
    store = DirectoryStore(tmp_path / "home")
    for number in range(3):
        files = {ARTEFACT: classifier.dump(), RUN: b'{"number":%d}' % number}
        store.publish("m", files, "production")
    store.rollback("m")
    store.prune("m", 2, forget=True)
    store.write_attachment("m", 3, REPORT, b"<p>report</p>")
    return store


def everything(store: ArtefactStore) -> Any:
    versions = store.versions("m")
    files = [
        store.read_attachment("m", version, file)
        for version in versions
        for file in (ARTEFACT, RUN, REPORT)
    ]
    return versions, files, store.labels("m"), store.history("m")


def test_a_copy_of_a_copy_is_the_model(
    home: DirectoryStore, store: ArtefactStore, tmp_path: Path
) -> None:
    digests = copy(home, store, "m")
    assert digests == {v: home.load("m", v).sha256 for v in (2, 3)}
    assert everything(store) == everything(home)
    back = DirectoryStore(tmp_path / "back")
    copy(store, back, "m")
    assert everything(back) == everything(home)
    assert (back.root / "m" / "labels.json").read_bytes() == home.read_labels("m")
    assert store.publish("m", {ARTEFACT: b""}) == 4
    store.promote("m", 4)
    assert len(store.history("m")) == len(home.history("m")) + 1


def test_a_model_that_is_there_is_not_touched(
    home: DirectoryStore, store: ArtefactStore
) -> None:
    store.publish("m", {ARTEFACT: b"another"})
    with pytest.raises(ConfigError, match="/m exists: a model is copied as a whole"):
        copy(home, store, "m")
    assert store.versions("m") == [1]
    with pytest.raises(ModelNotFound, match="no model 'n'"):
        copy(home, store, "n")


def test_nothing_appears_of_a_copy_that_fails_and_it_may_be_repeated(
    home: DirectoryStore, store: ArtefactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = home.load

    def moved(name: str, version: int) -> Any:
        if version == 3:
            home.promote("m", 3)
        return load(name, version)

    with monkeypatch.context() as patch:
        patch.setattr(home, "load", moved)
        with pytest.raises(ProductionMoved, match="m changed while it was copied"):
            copy(home, store, "m")
    assert store.versions("m") == [] and store.names() == []
    home.rollback("m")
    content = home.path("m", 3).read_bytes()
    home.path("m", 3).write_bytes(content[:-1])
    with pytest.raises(ArtefactCorrupt, match=r"m/3/model\.npz"):
        copy(home, store, "m")
    assert store.versions("m") == [] and store.names() == []
    home.path("m", 3).write_bytes(content)
    assert list(copy(home, store, "m")) == [2, 3]


def test_signatures_stay_valid(
    store: ArtefactStore, tmp_path: Path, classifier: Any
) -> None:
    keys = tmp_path / "keys"
    write_secret(keys, "k" * 32)
    home = DirectoryStore(tmp_path / "home", str(keys))
    home.publish("m", {ARTEFACT: classifier.dump()})
    store.key_file = keys
    assert list(copy(home, store, "m")) == [1]

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import LabelNotFound, ModelNotFound, VersionNotFound
from models.storage.archive import SEAL_BYTES
from models.storage.artefact import FORMAT, Artefact
from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from service.registry.registry import Event, Registry
from tests.private import write_secret


@pytest.fixture
def store(tmp_path: Path, served: Path) -> Store:
    """A store with one model of three equal versions; version 1 is in production."""
    store = Store(tmp_path / "store")
    content = (served / "xor" / "1" / ARTEFACT).read_bytes()
    for _ in range(3):
        store.publish("xor", {ARTEFACT: content})
    store.promote("xor", 1)
    return store


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def registry(store: Store, events: list[Event]) -> Registry:
    registry = Registry(store, observe=events.append)
    registry.refresh()
    events.clear()
    return registry


def publish_like(store: Store, version: int) -> int:
    return store.publish("xor", {ARTEFACT: store.path("xor", version).read_bytes()})


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_production_is_the_default(registry: Registry) -> None:
    assert registry.find("xor").version == 1
    assert registry.find("xor", version=3).version == 3
    assert registry.find("xor", label="production").version == 1


def test_without_a_label_the_newest_is_the_default(registry: Registry) -> None:
    (registry.store.root / "xor" / "labels.json").unlink()
    registry.refresh()
    assert registry.find("xor").version == 3


def test_unknown_names_are_told(registry: Registry) -> None:
    with pytest.raises(ModelNotFound, match="did you mean 'xor'"):
        registry.find("xorr")
    with pytest.raises(VersionNotFound, match="it has 1, 2, 3"):
        registry.find("xor", version=9)
    with pytest.raises(LabelNotFound, match="did you mean 'production'"):
        registry.find("xor", label="producton")


def test_a_new_version_and_a_moved_label_are_seen(
    registry: Registry, store: Store, events: list[Event]
) -> None:
    assert publish_like(store, 1) == 4
    registry.refresh()
    assert [(e.result, e.version) for e in events] == [("loaded", 4)]
    assert registry.find("xor").version == 1
    store.promote("xor", 4)
    registry.refresh()
    assert registry.find("xor").version == 4
    store.rollback("xor")
    registry.refresh()
    assert registry.find("xor").version == 1


def test_the_course_of_training_takes_no_memory(
    registry: Registry, store: Store
) -> None:
    assert store.load("xor", 1).manifest.history
    assert not registry.find("xor").artefact.manifest.history


def test_a_loaded_version_is_not_loaded_again(registry: Registry, store: Store) -> None:
    before = registry.find("xor", version=2)
    publish_like(store, 1)
    registry.refresh()
    assert registry.find("xor", version=2) is before


def test_a_damaged_version_is_refused_once_and_the_old_one_goes_on(
    registry: Registry, store: Store, events: list[Event]
) -> None:
    publish_like(store, 1)
    damage(store.path("xor", 4))
    store.promote("xor", 4)
    for _ in range(3):
        registry.refresh()
    assert [(e.result, e.version) for e in events] == [("refused", 4)]
    assert "not those that were written" in events[0].detail
    assert registry.find("xor").version == 1
    assert registry.entry("xor").refused.keys() == {4}
    assert registry.ready


def test_a_damaged_newest_without_labels_leaves_the_default(
    registry: Registry, store: Store
) -> None:
    (store.root / "xor" / "labels.json").unlink()
    registry.refresh()
    assert registry.find("xor").version == 3
    publish_like(store, 1)
    damage(store.path("xor", 4))
    registry.refresh()
    assert registry.find("xor").version == 3


def test_a_candidate_does_not_stand_in_for_a_damaged_production(store: Store) -> None:
    store.promote("xor", 3, "candidate")  # the gate may have refused it
    damage(store.path("xor", 1))
    registry = Registry(store)
    registry.refresh()
    assert registry.find("xor").version == 2


def test_a_mended_version_is_loaded(registry: Registry, store: Store) -> None:
    publish_like(store, 1)
    whole = store.path("xor", 4).read_bytes()
    damage(store.path("xor", 4))
    registry.refresh()
    store.path("xor", 4).write_bytes(whole)
    registry.refresh()
    assert registry.find("xor", version=4).version == 4


def test_a_damaged_first_model_leaves_the_others(store: Store, served: Path) -> None:
    shutil.copytree(served / "digits", store.root / "digits")
    damage(store.path("digits", 1))
    registry = Registry(store)
    registry.refresh()
    assert set(registry.catalogue) == {"xor"}


def test_a_vanished_store_changes_nothing(
    registry: Registry, store: Store, events: list[Event], tmp_path: Path
) -> None:
    store.root.rename(tmp_path / "elsewhere")
    store.root.write_text("not a directory")
    registry.refresh()
    registry.refresh()
    assert [e.result for e in events] == ["unreadable"]
    assert registry.find("xor").version == 1


def test_a_store_that_is_not_mounted_changes_nothing(
    registry: Registry, store: Store, tmp_path: Path
) -> None:
    store.root.rename(tmp_path / "elsewhere")
    registry.refresh()
    assert registry.find("xor").version == 1


def test_damaged_labels_change_nothing(
    registry: Registry, store: Store, events: list[Event]
) -> None:
    (store.root / "xor" / "labels.json").write_text("{")
    registry.refresh()
    registry.refresh()
    assert [(e.result, e.model) for e in events] == [("unreadable", "xor")]
    assert registry.find("xor").version == 1
    assert registry.unreadable == "" and "xor" in registry.unreadable_models
    (registry.store.root / "xor" / "labels.json").unlink()
    registry.refresh()
    assert registry.find("xor").version == 3
    assert registry.unreadable_models == {}


# One odd model


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def later_format(content: bytes) -> bytes:
    mark = b'"format":%d'
    body = content[:-SEAL_BYTES].replace(mark % FORMAT, mark % 9)
    return body + hashlib.sha256(body).hexdigest().encode()


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


ODD: dict[str, Callable[[Path], object]] = {
    "labels cut off": lambda home: (home / "labels.json").write_text("{"),
    "labels of a later release": lambda home: (home / "labels.json").write_text(
        '{"labels": {}, "history": [], "later": 1}'
    ),
    "labels, a directory": lambda home: (
        (home / "labels.json").unlink(),
        (home / "labels.json").mkdir(),
    ),
    "labels, a FIFO": lambda home: fifo(home / "labels.json"),
    "model, a FIFO": lambda home: fifo(home / "1" / ARTEFACT),
    "model, sparse": lambda home: sparse(home / "1" / ARTEFACT),
    "model, a device": lambda home: (
        (home / "1" / ARTEFACT).unlink(),
        (home / "1" / ARTEFACT).symlink_to("/dev/zero"),
    ),
    "model of a later format": lambda home: (home / "1" / ARTEFACT).write_bytes(
        later_format((home / "1" / ARTEFACT).read_bytes())
    ),
    "version, a loop": lambda home: (
        shutil.rmtree(home / "1"),
        (home / "1").symlink_to("1"),
    ),
    "model's directory, a loop": lambda home: (
        shutil.rmtree(home),
        home.symlink_to(home.name),
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_one_odd_model_harms_no_other(
    store: Store, served: Path, events: list[Event], kind: str
) -> None:
    shutil.copytree(served / "digits", store.root / "odd")
    (store.root / "odd" / "labels.json").write_text("{}")
    ODD[kind](store.root / "odd")
    registry = Registry(store, observe=events.append)
    for _ in range(3):
        registry.refresh()
    assert registry.ready and registry.unreadable == ""
    assert registry.find("xor").version == 1
    (event,) = (event for event in events if event.model == "odd")
    assert event.result in ("refused", "unreadable") and event.detail
    with pytest.raises(ModelNotFound, match="model 'odd' has no version that can be"):
        registry.find("odd")
    version = publish_like(store, 1)  # what comes later is still seen
    registry.refresh()
    assert registry.find("xor", version)


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), MemoryError(), KeyError(1)]
)
def test_a_passing_fault_is_told_once_and_retried(
    registry: Registry,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(store: Store, name: str, version: int) -> Artefact:
        raise error

    version = publish_like(registry.store, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "load", fail)
        for _ in range(3):
            registry.refresh()
    assert [(e.result, e.version) for e in events] == [("refused", version)]
    registry.refresh()
    assert registry.find("xor", version).version == version
    assert registry.entry("xor").refused == {}


def test_pruned_versions_and_removed_models_are_unloaded(
    registry: Registry, store: Store, served: Path, events: list[Event]
) -> None:
    shutil.copytree(served / "digits", store.root / "digits")
    registry.refresh()
    shutil.rmtree(store.root / "digits")
    shutil.rmtree(store.root / "xor" / "2")
    registry.refresh()
    assert sorted((e.model, e.result, e.version) for e in events) == [
        ("digits", "loaded", 1),
        ("digits", "unloaded", 1),
        ("xor", "unloaded", 2),
    ]
    with pytest.raises(VersionNotFound):
        registry.find("xor", version=2)


def test_what_is_unloaded_is_not_served_whatever_the_store_holds(
    registry: Registry, store: Store, events: list[Event]
) -> None:
    registry.unloaded.add("xor")
    registry.refresh()
    publish_like(store, 1)
    registry.refresh()
    assert [(e.result, e.version) for e in events] == [
        ("unloaded", version) for version in (1, 2, 3)
    ]
    assert not registry.ready
    with pytest.raises(ModelNotFound, match=r"is unloaded; .* POST .*/xor/load"):
        registry.find("xor")
    registry.unloaded.discard("xor")
    registry.refresh()
    assert set(registry.entry("xor").versions) == {1, 2, 3, 4}


def test_to_unload_takes_no_store(
    registry: Registry, store: Store, served: Path, tmp_path: Path
) -> None:
    shutil.copytree(served / "digits", store.root / "digits")
    registry.refresh()
    store.root.rename(tmp_path / "elsewhere")
    registry.unloaded.add("xor")
    registry.refresh()
    assert set(registry.catalogue) == {"digits"}
    assert "no model in" in registry.unreadable


def test_a_model_without_a_sound_version_says_so(store: Store) -> None:
    for version in (1, 2, 3):
        damage(store.path("xor", version))
    registry = Registry(store)
    registry.refresh()
    assert registry.failed["xor"].keys() == {1, 2, 3}
    with pytest.raises(ModelNotFound, match="no version that can be loaded"):
        registry.find("xor")
    shutil.rmtree(store.root / "xor")
    registry.refresh()
    assert registry.failed == {}


def test_only_the_newest_and_the_labelled_are_kept(store: Store) -> None:
    registry = Registry(store, keep_versions=1)
    registry.refresh()
    assert set(registry.entry("xor").versions) == {1, 3}


def test_what_is_pruned_between_look_and_load_is_no_failure(
    registry: Registry, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_like(registry.store, 1)
    real = Store.load

    def pruned(store: Store, name: str, version: int) -> Artefact:
        shutil.rmtree(store.root / name / str(version))
        return real(store, name, version)

    monkeypatch.setattr(Store, "load", pruned)
    registry.refresh()
    assert events == []
    assert registry.entry("xor").refused == {}
    assert registry.find("xor").version == 1


# Signatures


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    write_secret(path, "k" * 32)
    return path


def test_with_a_key_only_what_is_signed_is_served(
    store: Store, keys: Path, events: list[Event]
) -> None:
    registry = Registry(Store(store.root, str(keys)), observe=events.append)
    registry.refresh()
    assert not registry.ready
    assert {event.result for event in events} == {"refused"}
    assert all(event.detail.endswith("it is not signed") for event in events)
    content = store.path("xor", 1).read_bytes()
    version = registry.store.publish("xor", {ARTEFACT: content}, "production")
    registry.refresh()
    assert registry.find("xor").version == version
    assert set(registry.entry("xor").refused) == {1, 2, 3}
    # Whoever can write to the store but has no key changes nothing that is served.
    forged = store.publish("xor", {ARTEFACT: content}, "production")
    registry.refresh()
    assert registry.find("xor").version == version
    assert "not signed" in registry.entry("xor").refused[forged]


def test_a_key_that_is_accepted_later_lets_the_refused_in(
    store: Store, keys: Path, events: list[Event]
) -> None:
    other = keys.with_name("other")
    write_secret(other, "o" * 32)
    content = store.path("xor", 1).read_bytes()
    version = Store(store.root, str(other)).publish("xor", {ARTEFACT: content})
    registry = Registry(Store(store.root, str(keys)), observe=events.append)
    for _ in range(3):
        registry.refresh()
    assert len([event for event in events if event.version == version]) == 1
    write_secret(keys, "k" * 32 + "\n" + "o" * 32)
    registry.refresh()
    assert registry.find("xor", version).version == version


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_key_file_that_cannot_be_used_changes_nothing(
    content: str | None, store: Store, keys: Path, events: list[Event]
) -> None:
    signed = Store(store.root, str(keys))
    data = store.path("xor", 1).read_bytes()
    version = signed.publish("xor", {ARTEFACT: data}, "production")
    registry = Registry(signed, observe=events.append)
    registry.refresh()
    events.clear()
    keys.unlink() if content is None else write_secret(keys, content)
    Store(store.root).publish("xor", {ARTEFACT: data}, "production")
    registry.refresh()
    assert [event.result for event in events] == ["unreadable"]
    assert str(keys) in events[0].detail
    assert registry.find("xor").version == version

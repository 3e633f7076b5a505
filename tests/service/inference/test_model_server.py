"""Load and unload in one process; tests/conformance has them over several workers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import ModelNotFound
from models.storage.base import ARTEFACT
from service import create_app
from service.inference.model_server import LoadFailed, ModelServer, Unavailable
from service.server.worker_sync import RefreshListener
from service.settings import Settings


@pytest.fixture
def engine(served: Path, tmp_path: Path) -> ModelServer:
    """An engine on a store that a test may write to."""
    store = tmp_path / "store"
    for name in ("xor", "half_plus_two"):
        shutil.copytree(served / name, store / name)
    engine = create_app(Settings(store=str(store))).extensions["glassnet"]
    assert isinstance(engine, ModelServer)
    return engine


def publish(engine: ModelServer, damaged: bool = False) -> int:
    content = bytearray(engine.registry.store.path("xor", 1).read_bytes())
    content[len(content) // 2] ^= damaged
    return engine.registry.store.publish("xor", {ARTEFACT: bytes(content)})


def test_to_load_is_to_look_at_the_store(engine: ModelServer) -> None:
    version = publish(engine)
    engine.registry.store.promote("xor", version)
    assert engine.registry.find("xor").version == 1
    engine.load("xor")
    assert engine.registry.find("xor").version == version


def test_unloaded_and_loaded_again(engine: ModelServer) -> None:
    for _ in range(2):
        engine.unload("xor")
        assert set(engine.registry.catalogue) == {"half_plus_two"}
    engine.load("xor")
    assert engine.registry.find("xor").version == 1


def test_names_the_store_does_not_have_are_told(engine: ModelServer) -> None:
    with pytest.raises(ModelNotFound, match=r"failed to load 'xo': .*mean 'xor'"):
        engine.load("xo")
    with pytest.raises(ModelNotFound, match=r"failed to unload 'xo': .*mean 'xor'"):
        engine.unload("xo")
    with pytest.raises(ModelNotFound):
        engine.load("../store/xor")
    assert set(engine.registry.catalogue) == {"xor", "half_plus_two"}


def test_a_model_the_watcher_has_not_seen_is_loaded_or_kept_away(
    engine: ModelServer, served: Path
) -> None:
    root = engine.registry.store.root
    for name in ("digits", "people"):
        shutil.copytree(served / name, root / name)
    engine.unload("people")
    engine.load("digits")
    assert set(engine.registry.catalogue) == {"xor", "half_plus_two", "digits"}


def test_a_refused_version_is_told_and_the_old_one_goes_on(engine: ModelServer) -> None:
    version = publish(engine, damaged=True)
    engine.registry.store.promote("xor", version)
    with pytest.raises(LoadFailed) as caught:
        engine.load("xor")
    said = str(caught.value)
    assert said.startswith(f"failed to load 'xor': version {version} is refused: ")
    assert said.endswith("; version 1 goes on")
    assert str(engine.registry.store.root) not in said
    assert engine.registry.find("xor").version == 1


def test_a_refused_version_that_nobody_wants_is_no_failure(engine: ModelServer) -> None:
    engine.registry.store.promote("xor", 1)
    publish(engine, damaged=True)
    engine.load("xor")


def test_a_model_of_refused_versions_alone_is_told(engine: ModelServer) -> None:
    engine.unload("xor")
    engine.registry.store.path("xor", 1).write_bytes(b"no artefact")
    with pytest.raises(LoadFailed, match="version 1 is refused"):
        engine.load("xor")


def test_a_store_that_cannot_be_read_may_do_later(engine: ModelServer) -> None:
    (engine.registry.store.root / "half_plus_two" / "labels.json").write_text("{")
    with pytest.raises(Unavailable, match="failed to load 'xor': the store cannot"):
        engine.load("xor")
    engine.unload("xor")
    assert "xor" not in engine.registry.catalogue


def test_a_store_that_is_none_may_do_later(engine: ModelServer, tmp_path: Path) -> None:
    engine.registry.store.root.rename(tmp_path / "elsewhere")
    engine.registry.store.root.write_text("no directory")
    with pytest.raises(Unavailable, match="failed to load 'xor': the store cannot"):
        engine.load("xor")
    engine.unload("xor")
    assert set(engine.registry.catalogue) == {"half_plus_two"}


def test_a_model_that_is_unloaded_while_it_is_loaded_is_told(
    engine: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = engine.registry.refresh

    def another_unloads() -> None:
        engine.registry.unloaded.add("xor")
        refresh()

    monkeypatch.setattr(engine.registry, "refresh", another_unloads)
    with pytest.raises(Unavailable, match="it is gone again"):
        engine.load("xor")


def test_a_worker_that_does_not_look_is_told(
    engine: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.model_server.LOOK_SECONDS", 0.1)
    engine.directory = tmp_path / "workers"
    engine.directory.mkdir()
    ear = RefreshListener(engine.directory)  # nobody waits at it
    with pytest.raises(Unavailable, match="1 workers have not looked at the store"):
        engine.unload("xor")
    ear._socket.close()


def test_a_started_engine_hears_its_own_call(
    engine: ModelServer, tmp_path: Path
) -> None:
    workers = tmp_path / "workers"
    workers.mkdir()
    engine.start(3600, workers)
    engine.unload("xor")
    assert "xor" not in engine.registry.catalogue
    assert (workers / "unloaded" / "xor").exists()
    engine.load("xor")
    assert "xor" in engine.registry.catalogue

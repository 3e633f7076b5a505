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
def model_server(served: Path, tmp_path: Path) -> ModelServer:
    """An model_server on a store that a test may write to."""
    store = tmp_path / "store"
    for name in ("xor", "half_plus_two"):
        shutil.copytree(served / name, store / name)
    model_server = create_app(Settings(store=str(store))).extensions["glassnet"]
    assert isinstance(model_server, ModelServer)
    return model_server


def publish(model_server: ModelServer, damaged: bool = False) -> int:
    content = bytearray(model_server.registry.store.path("xor", 1).read_bytes())
    content[len(content) // 2] ^= damaged
    return model_server.registry.store.publish("xor", {ARTEFACT: bytes(content)})


def test_to_load_is_to_look_at_the_store(model_server: ModelServer) -> None:
    version = publish(model_server)
    model_server.registry.store.promote("xor", version)
    assert model_server.registry.find("xor").version == 1
    model_server.load("xor")
    assert model_server.registry.find("xor").version == version


def test_unloaded_and_loaded_again(model_server: ModelServer) -> None:
    for _ in range(2):
        model_server.unload("xor")
        assert set(model_server.registry.catalogue) == {"half_plus_two"}
    model_server.load("xor")
    assert model_server.registry.find("xor").version == 1


def test_names_the_store_does_not_have_are_told(model_server: ModelServer) -> None:
    with pytest.raises(ModelNotFound, match=r"failed to load 'xo': .*mean 'xor'"):
        model_server.load("xo")
    with pytest.raises(ModelNotFound, match=r"failed to unload 'xo': .*mean 'xor'"):
        model_server.unload("xo")
    with pytest.raises(ModelNotFound):
        model_server.load("../store/xor")
    assert set(model_server.registry.catalogue) == {"xor", "half_plus_two"}


def test_a_model_the_watcher_has_not_seen_is_loaded_or_kept_away(
    model_server: ModelServer, served: Path
) -> None:
    root = model_server.registry.store.root
    for name in ("digits", "people"):
        shutil.copytree(served / name, root / name)
    model_server.unload("people")
    model_server.load("digits")
    assert set(model_server.registry.catalogue) == {"xor", "half_plus_two", "digits"}


def test_a_refused_version_is_told_and_the_old_one_goes_on(
    model_server: ModelServer,
) -> None:
    version = publish(model_server, damaged=True)
    model_server.registry.store.promote("xor", version)
    with pytest.raises(LoadFailed) as caught:
        model_server.load("xor")
    said = str(caught.value)
    assert said.startswith(f"failed to load 'xor': version {version} is refused: ")
    assert said.endswith("; version 1 still serves")
    assert str(model_server.registry.store.root) not in said
    assert model_server.registry.find("xor").version == 1


def test_a_refused_version_without_a_label_is_no_failure(
    model_server: ModelServer,
) -> None:
    model_server.registry.store.promote("xor", 1)
    publish(model_server, damaged=True)
    model_server.load("xor")


def test_a_model_of_refused_versions_alone_is_told(model_server: ModelServer) -> None:
    model_server.unload("xor")
    model_server.registry.store.path("xor", 1).write_bytes(b"no artefact")
    with pytest.raises(LoadFailed, match="version 1 is refused"):
        model_server.load("xor")


def test_a_model_that_cannot_be_read_is_told(model_server: ModelServer) -> None:
    (model_server.registry.store.root / "half_plus_two" / "labels.json").write_text("{")
    with pytest.raises(LoadFailed, match=r"it cannot be read: half_plus_two/labels\.j"):
        model_server.load("half_plus_two")
    assert model_server.registry.find("half_plus_two").version == 1
    model_server.unload("xor")
    model_server.load("xor")
    assert model_server.registry.find("xor").version == 1


def test_a_store_that_is_none_may_do_later(
    model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.registry.store.root.rename(tmp_path / "elsewhere")
    model_server.registry.store.root.write_text("no directory")
    with pytest.raises(Unavailable, match="failed to load 'xor': the store cannot"):
        model_server.load("xor")
    model_server.unload("xor")
    assert set(model_server.registry.catalogue) == {"half_plus_two"}


def test_a_model_that_is_unloaded_while_it_is_loaded_is_told(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = model_server.registry.refresh

    def another_unloads() -> None:
        model_server.registry.unloaded.add("xor")
        refresh()

    monkeypatch.setattr(model_server.registry, "refresh", another_unloads)
    with pytest.raises(Unavailable, match="removed from the store"):
        model_server.load("xor")


def test_a_worker_that_does_not_look_is_told(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.model_server.REFRESH_SECONDS", 0.1)
    model_server.directory = tmp_path / "workers"
    model_server.directory.mkdir()
    ear = RefreshListener(model_server.directory)  # without a watcher
    with pytest.raises(Unavailable, match="1 workers have not refreshed"):
        model_server.unload("xor")
    ear._socket.close()


def test_a_started_engine_hears_its_own_call(
    model_server: ModelServer, tmp_path: Path
) -> None:
    workers = tmp_path / "workers"
    workers.mkdir()
    model_server.start(3600, workers)
    model_server.unload("xor")
    assert "xor" not in model_server.registry.catalogue
    assert (workers / "unloaded" / "xor").exists()
    model_server.load("xor")
    assert "xor" in model_server.registry.catalogue

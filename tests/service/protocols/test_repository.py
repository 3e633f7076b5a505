"""The model repository extension in one process; tests/conformance has several."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.storage.base import ARTEFACT
from models.storage.directory import DirectoryStore as Store
from service import create_app
from service.settings import Settings
from tests.private import write_secret


@pytest.fixture
def store(served: Path, tmp_path: Path) -> Store:
    """A store that a test may write to."""
    store = Store(tmp_path / "store")
    for name in ("xor", "half_plus_two"):
        shutil.copytree(served / name, store.root / name)
    return store


@pytest.fixture
def own(store: Store, tmp_path: Path) -> FlaskClient:
    """A client of an application of its own."""
    tokens = tmp_path / "tokens"
    write_secret(tokens, "admin-0123456789")
    settings = Settings(store=str(store.root), admin_token_file=str(tokens))
    return create_app(settings).test_client()


def post(client: FlaskClient, path: str, body: Any = None) -> tuple[int, Any]:
    reply = client.post(
        f"/v2/repository/{path}",
        json=body if body else None,
        headers={"Authorization": "Bearer admin-0123456789"},
    )
    return reply.status_code, reply.get_json()


def row(name: str, version: int | None, state: str, reason: str = "") -> dict[str, str]:
    about = {"name": name, "state": state, "reason": reason}
    return about if version is None else {**about, "version": str(version)}


def test_the_index_lists_every_version(own: FlaskClient, store: Store) -> None:
    good = store.path("xor", 1).read_bytes()
    store.publish("xor", {ARTEFACT: good[:100]})
    store.publish("broken", {ARTEFACT: good[:200]})
    store.publish("xor", {ARTEFACT: good})
    assert post(own, "models/xor/load")[0] == 200
    refused = "refused: the log says why"
    ready = [
        row("half_plus_two", 1, "READY"),
        row("xor", 1, "READY"),
        row("xor", 3, "READY"),
    ]
    everything = [
        row("broken", 1, "UNAVAILABLE", refused),
        *ready,
        row("xor", 2, "UNAVAILABLE", refused),
    ]
    for body in (None, {"ready": False}, {"ready": None}, {"other": 1}):
        assert post(own, "index", body) == (200, everything)
    assert post(own, "index", {"ready": True}) == (200, ready)


def test_an_unloaded_model_is_gone_from_every_dialect(own: FlaskClient) -> None:
    parameters = {"parameters": {"unload_dependents": False}}
    assert post(own, "models/xor/unload", parameters) == (
        200,
        {"name": "xor", "unload": True},
    )
    for path in ("/v2/models/xor", "/v2/models/xor/ready", "/v1/models/xor"):
        reply = own.get(path)
        assert reply.status_code == 404
        assert "/v2/repository/models/xor/load" in reply.get_json()["error"]
    reply = own.post("/v1/models/xor:predict", json={"instances": [[0, 1]]})
    assert reply.status_code == 404
    assert row("xor", None, "UNAVAILABLE", "unloaded") in post(own, "index")[1]
    assert own.get("/v2/health/ready").status_code == 200
    assert post(own, "models/xor/load") == (200, {"name": "xor", "load": True})
    assert own.get("/v2/models/xor/ready").status_code == 200


def test_without_any_model_it_is_not_ready(own: FlaskClient) -> None:
    for name in ("xor", "half_plus_two"):
        assert post(own, f"models/{name}/unload")[0] == 200
    assert own.get("/v2/health/ready").status_code == 503
    assert post(own, "models/xor/load")[0] == 200
    assert own.get("/v2/health/ready").status_code == 200


def test_a_version_that_is_refused_is_told(own: FlaskClient, store: Store) -> None:
    content = store.path("xor", 1).read_bytes()
    store.promote("xor", store.publish("xor", {ARTEFACT: content[:100]}))
    status, reply = post(own, "models/xor/load")
    assert status == 400
    assert reply["error"].startswith("failed to load 'xor': version 2 is refused")
    assert own.get("/v2/models/xor/ready").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("index", {"ready": "yes"}, 400, "ready: expected true or false"),
        ("index", [1], 400, "expected an object, got a list"),
        ("models/xor/load", {"parameters": 1}, 400, "parameters: expected an object"),
        ("models/xor/load", {"parameters": {"config": "{}"}}, 400,
         "parameter 'config': models come only from the store"),
        ("models/xor/load", {"parameters": {"file:1/" + "a" * 9999: "YQ=="}}, 400,
         "models come only from the store"),
        ("models/xor/unload", {"parameters": [1]}, 400, "parameters: expected an obj"),
        ("models/xo/load", None, 404, "failed to load 'xo': no model 'xo' in the st"),
        ("models/xo/unload", None, 404, "failed to unload 'xo'"),
        ("models/..%2Fxor/load", None, 404, "unknown path"),
        ("models/../unload", None, 404, ""),
        ("models/" + "a" * 9999 + "/load", None, 404, "failed to load"),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(
    own: FlaskClient, path: str, body: Any, status: int, said: str
) -> None:
    found, reply = post(own, path, body)
    assert found == status
    assert list(reply) == ["error"]
    assert said in reply["error"]
    assert len(reply["error"]) < 400


def test_depth_without_reason_is_refused(own: FlaskClient) -> None:
    nested = b'{"ready":' + b"[" * 100_000 + b"true" + b"]" * 100_000 + b"}"
    reply = own.post("/v2/repository/index", data=nested)
    assert reply.status_code == 400

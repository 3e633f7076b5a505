"""Bearer tokens: who may ask, who may load and unload, and files that change."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from models.errors import ConfigError
from service import create_app
from service.console import pages
from service.middleware.auth import Access, Forbidden, Tokens, Unauthorized
from service.settings import Settings
from tests.private import write_secret

ASK, NEW, ADMIN = "asking-0123456789", "newer-0123456789", "admin-0123456789"
LOAD = "/v2/repository/models/xor/load"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


#: InferenceRecord without a token.
PROBES = ("/v2/health/live", "/v2/health/ready", "/ping", "/health", "/metrics")


def write(path: Path, *tokens: str) -> str:
    return write_secret(path, "\n".join(("", *tokens, "")))


@pytest.fixture
def guarded(served: Path, tmp_path: Path) -> FlaskClient:
    """A client of an application that asks for tokens."""
    shutil.copytree(served / "xor", tmp_path / "store" / "xor")
    settings = Settings(
        store=str(tmp_path / "store"),
        token_file=write(tmp_path / "ask", ASK, NEW),
        admin_token_file=write(tmp_path / "admin", ADMIN),
    )
    return create_app(settings).test_client()


def test_without_a_token_only_what_watches_is_answered(guarded: FlaskClient) -> None:
    page = ("/", "/docs", *(f"/console/{name}" for name in pages.FILES))
    for path in (*PROBES, *page, "/ping/", "/v2/health/ready/"):
        assert guarded.get(path).status_code == 200
    rules = guarded.application.url_map.iter_rules()
    paths = {rule.rule.replace("<name>", "xor") for rule in rules}
    paths -= {*PROBES, *page}
    assert len(paths) > 20
    for path in (*paths, "/nothing", "/ping/more"):
        for method in ("GET", "POST"):
            reply = guarded.open(path, method=method)
            assert reply.status_code == 401, path
            assert reply.headers["WWW-Authenticate"] == 'Bearer realm="glassnet"'
            assert "Authorization: Bearer TOKEN" in reply.get_json()["error"]
    text = guarded.get("/metrics").get_data(as_text=True)
    assert 'glassnet_requests_refused_total{reason="unauthorized"}' in text


@pytest.mark.parametrize("token", [ASK, NEW, ADMIN, f" {ASK}"])
def test_every_token_of_the_files_lets_ask(guarded: FlaskClient, token: str) -> None:
    for scheme in ("Bearer", "bearer"):
        given = {"Authorization": f"{scheme} {token}"}
        assert guarded.get("/v1/models/xor", headers=given).status_code == 200
        body = {"instances": [[0, 1]]}
        reply = guarded.post("/v1/models/xor:predict", json=body, headers=given)
        assert reply.status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        ASK,
        "Bearer",
        "Bearer ",
        f"Bearer {ASK[:-1]}",
        f"Bearer {ASK}x",
        f"Bearer {ASK} {NEW}",
        "Bearer é\x80\udcff",
        "Basic eA==",
    ],
)
def test_others_do_not_and_are_not_repeated(guarded: FlaskClient, given: str) -> None:
    over = {"HTTP_AUTHORIZATION": given}
    reply = guarded.get("/v1/models", environ_overrides=over)
    assert reply.status_code == 401
    assert len(given) < 8 or given[7:] not in reply.get_data(as_text=True)
    wrong = 'error="invalid_token"' in reply.headers["WWW-Authenticate"]
    assert wrong == bool(given)


def test_models_are_loaded_and_unloaded_by_the_other_file(guarded: FlaskClient) -> None:
    unload = LOAD.replace("load", "unload")
    for path in (unload, LOAD):
        assert guarded.post(path).status_code == 401
        refused = guarded.post(path, headers=bearer(ASK))
        assert refused.status_code == 403
        assert "does not allow loading" in refused.get_json()["error"]
        assert guarded.post(path, headers=bearer(ADMIN)).status_code == 200


def test_without_that_file_every_request_is_rejected(client: FlaskClient) -> None:
    reply = client.post(LOAD, headers=bearer(ADMIN))
    assert reply.status_code == 403
    assert "GLASSNET_ADMIN_TOKEN_FILE" in reply.get_json()["error"]
    assert client.post("/v2/repository/index").status_code == 200


def test_with_that_file_alone_everybody_may_ask(tmp_path: Path) -> None:
    access = Access(None, write(tmp_path / "admin", ADMIN))
    assert access.may_predict(None)
    with pytest.raises(Unauthorized):
        access.require_admin(None)
    access.require_admin(f"Bearer {ADMIN}")
    with pytest.raises(Forbidden):
        Access().require_admin(f"Bearer {ADMIN}")


@pytest.mark.parametrize("content", ["", "\n \n", "short", f"{ASK}\nwith a blank here"])
def test_a_file_of_no_use_is_refused_and_not_repeated(
    tmp_path: Path, content: str
) -> None:
    write_secret(tmp_path / "tokens", content)
    with pytest.raises(ConfigError) as error:
        Access(str(tmp_path / "tokens"))
    sentence = str(error.value)
    assert "openssl rand" in sentence or "one token per line" in sentence
    assert "short" not in str(error.value) and "blank" not in str(error.value)


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "tokens", ASK))
    tokens = Tokens(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 644\); .* chmod 600 .*/tokens"):
        Access(str(path))
    tokens.refresh()
    assert tokens.accept(f"Bearer {ASK}")
    path.chmod(0o640)
    Access(str(path))


def test_a_token_file_that_is_no_file_holds_no_tokens(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        Access(str(tmp_path / "fifo"))


def test_a_file_that_changes_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    write(path, ASK)
    tokens = Tokens(path)

    def accepted() -> list[bool]:
        tokens.refresh()
        return [tokens.accept(f"Bearer {token}") for token in (ASK, NEW)]

    assert accepted() == [True, False]
    write(path, ASK, NEW)
    assert accepted() == [True, True]
    path.unlink()
    with caplog.at_level(logging.ERROR, "glassnet.service"):
        assert accepted() == [True, True]
        assert accepted() == [True, True]
        assert len(caplog.records) == 1  # told once
    other = tmp_path / "other"
    write(other, NEW)
    os.replace(other, path)
    assert accepted() == [False, True]
    path.write_text("short")
    assert accepted() == [False, True]
    write(path, ASK)
    assert accepted() == [True, False]
    assert not any(token in caplog.text for token in (ASK, NEW, "short"))


@pytest.mark.e2e
def test_a_new_token_is_accepted_by_every_worker_without_a_restart(
    start: Callable[..., Any], served: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    path = tmp_path / "tokens"
    server = start(served, token_file=write(path, ASK))
    assert server.request("GET", "/v1/models")[0] == 401

    def answered(token: str) -> set[int]:
        given = bearer(token)
        return {server.request("GET", "/v1/models", **given)[0] for _ in range(20)}

    assert answered(ASK) == {200}
    write(path, NEW)
    until("the new token", lambda: answered(NEW) == {200} and answered(ASK) == {401})
    assert ASK not in server.log_file.read_text()

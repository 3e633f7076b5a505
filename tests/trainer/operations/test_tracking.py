"""`--track` where there is no server; `make conformance` has a real one."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from models.errors import ConfigError
from trainer.cli.main import main
from trainer.operations.tracking import MlflowClient, check_address


def fit(store: Path, url: str) -> tuple[int, str, str]:
    arguments = ["fit", "builtin:xor", "--model", "x", "--epochs", "5", "--json"]
    done = CliRunner().invoke(main, [*arguments, "--store", str(store), "--track", url])
    return done.exit_code, done.stdout, done.stderr


def test_a_server_that_is_away_costs_a_sentence_and_no_version(tmp_path: Path) -> None:
    with socket.socket() as held:  # bound, but not listening
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        code, printed, said = fit(tmp_path, url)
    assert code == 0
    assert json.loads(printed)["version"] == 1
    assert said.splitlines()[-1] == (
        f"--track: the run was not written to {url} (Connection refused); version 1 "
        "of x is in the store"
    )
    assert (tmp_path / "x" / "1" / "model.npz").exists()


@pytest.mark.parametrize(
    "url", ["localhost:5000", "ftp://host", "http://", "http://user:secret@host"]
)
def test_an_address_that_cannot_be_one_is_told_at_once(
    url: str, tmp_path: Path
) -> None:
    code, _, said = fit(tmp_path, url)
    assert code == 2
    assert "--track: expected http://HOST:PORT" in said and "secret" not in said
    assert not any(tmp_path.iterdir())
    with pytest.raises(ConfigError):
        check_address(url)


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({}, None),
        ({"TOKEN": "abc", "USERNAME": "u"}, "Bearer abc"),
        ({"USERNAME": "Aladdin", "PASSWORD": "open sesame"}, None),
    ],
)
def test_credentials_are_those_of_the_variables_of_mlflow(
    variables: dict[str, str], header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    if "PASSWORD" in variables:  # the example of RFC 7617
        header = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert MlflowClient("http://host").headers.get("Authorization") == header

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import _is_empty, main
from service.middleware.auth import Access
from service.settings import table


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as held:  # bound, but not listening
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_settings_are_printed_with_their_values() -> None:
    result = CliRunner().invoke(main, ["settings"], env={"GLASSNET_MAX_ROWS": "77"})
    assert result.exit_code == 0
    for setting in table():
        assert setting.variable in result.output
    assert "77" in result.output


def test_a_bad_setting_is_a_usage_error() -> None:
    for command in ("settings", "run", "probe"):
        result = CliRunner().invoke(main, [command], env={"GLASSNET_WORKERS": "x"})
        assert result.exit_code == 2
        assert "GLASSNET_WORKERS" in result.output


def test_a_directory_without_a_model_is_said(tmp_path: Path) -> None:
    """The server waits for a first model, but the path may be wrong."""
    for place in (tmp_path, tmp_path / "artefact"):
        (sentence,) = _is_empty(str(place))
        assert sentence.startswith(f"no model in {place}: publish one by trainer fit")
    (tmp_path / "xor").mkdir()
    assert not list(_is_empty(str(tmp_path)))
    assert not list(_is_empty("s3://bucket/models"))


@pytest.mark.parametrize(
    "name", ["SIGNING_KEY", "TOKEN", "ADMIN_TOKEN", "TLS_CERTIFICATE"]
)
def test_a_bad_secret_is_told_before_the_server_starts(
    tmp_path: Path, name: str
) -> None:
    file, variable = tmp_path / "secrets", f"GLASSNET_{name}_FILE"
    for content in (None, "", "short"):
        if content is not None:
            file.write_text(content)
        result = CliRunner().invoke(main, ["run"], env={variable: str(file)})
        assert result.exit_code == 2
        assert f"Error: {variable}: {file}" in result.output


def test_too_few_open_files_are_told_before_the_server_starts(tmp_path: Path) -> None:
    run = "ulimit -n 20; exec " + shlex.join(
        [sys.executable, "-m", "service.cli", "run"]
    )
    done = subprocess.run(
        ["bash", "-c", run], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "at least 32 open files, found 20" in done.stderr


def test_a_bad_directory_of_metrics_is_told_before_the_server_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    for path in (str(tmp_path / "none"), str(tmp_path / "file"), "/proc"):
        env = {"PROMETHEUS_MULTIPROC_DIR": path}
        result = CliRunner().invoke(main, ["run"], env=env)
        assert result.exit_code == 2
        assert "Error: PROMETHEUS_MULTIPROC_DIR: " in result.output
        assert path in result.output.replace("\n", "")


def test_a_key_without_a_certificate_is_a_mistake(tmp_path: Path) -> None:
    variable = {"GLASSNET_TLS_KEY_FILE": str(tmp_path / "key")}
    result = CliRunner().invoke(main, ["run"], env=variable)
    assert result.exit_code == 2
    assert "but GLASSNET_TLS_CERTIFICATE_FILE is not" in result.output


def test_a_probe_of_nothing_fails(unused_port: int) -> None:
    address = {"GLASSNET_BIND": f"127.0.0.1:{unused_port}"}
    result = CliRunner().invoke(main, ["probe", "--timeout", "1"], env=address)
    assert result.exit_code == 1
    assert f"127.0.0.1:{unused_port}: " in result.output


def test_a_probe_asks_the_port_that_vertex_names(unused_port: int) -> None:
    address = {"GLASSNET_BIND": "0.0.0.0:1", "AIP_HTTP_PORT": str(unused_port)}
    result = CliRunner().invoke(main, ["probe", "--timeout", "1"], env=address)
    assert f"0.0.0.0:{unused_port}: " in result.output


def test_an_address_in_use_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        listening.bind(str(path))
        listening.listen()
        for bind in (f"127.0.0.1:{taken.getsockname()[1]}", f"unix:{path}"):
            result = CliRunner().invoke(main, ["run", "--bind", bind])
            assert result.exit_code == 2
            assert f"cannot listen on {bind}: Address already in use" in result.output
            assert "--bind" in result.output
    for bind in ("192.0.2.1:8080", "nohost.invalid:80", f"unix:{tmp_path}/none/x"):
        result = CliRunner().invoke(main, ["run", "--bind", bind])
        assert (result.exit_code, result.output.count("cannot listen")) == (2, 1)


def test_the_probe_imports_neither_numpy_nor_flask() -> None:
    """It runs every few seconds in a container."""
    code = (
        "import sys, service.cli;"
        "print({'numpy', 'flask', 'prometheus_client', 'gunicorn'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    first, second = (CliRunner().invoke(main, ["token", str(file)]) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert first.output == second.output == file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    Access(str(file))  # long enough, and of the right characters


def test_a_token_that_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    lost = CliRunner().invoke(main, ["token", str(tmp_path / "none" / "token")])
    assert lost.exit_code == 1
    assert lost.output.endswith("token: No such file or directory\n")
    (tmp_path / "open").write_text("a-token-of-32-characters")
    known = CliRunner().invoke(main, ["token", str(tmp_path / "open")])
    assert known.exit_code == 2
    assert "every user of this machine may read it" in known.output

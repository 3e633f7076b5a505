"""What every command of `trainer` shares, tried on a command of its own."""

from __future__ import annotations

import errno
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from models.errors import ConfigError, DataError
from models.storage.directory import DirectoryStore as Store
from tests.private import write_secret
from trainer.cli.options import SentenceErrorsGroup, data_argument, store_option
from trainer.data import Source


@click.group(cls=SentenceErrorsGroup)
def main() -> None:
    pass


@main.command()
@data_argument
@store_option
def show(data: Source, store: Store) -> None:
    click.echo(f"{data.address}|{data.query}|{store.root}|{store.key_file}")


@main.command()
@click.argument("what")
def fail(what: str) -> None:
    raise {
        "config": ConfigError("no such setting"),
        "data": DataError("no such column"),
        "os": OSError(errno.ENOSPC, "No space left on device", "/full"),
        "bare": OSError("something"),
    }[what]


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], env=environment)


def test_data_and_query_are_one_source(tmp_path: Path) -> None:
    file = tmp_path / "q.sql"
    file.write_text("SELECT 2")
    assert run("show", "a.csv").stdout == "a.csv|None|artefacts|None\n"
    found = run("show", "sqlite:///x", "--query", "SELECT 1", "--store", "s").stdout
    assert found == "sqlite:///x|SELECT 1|s|None\n"
    found = run("show", "sqlite:///x", "--query-file", file, GLASSNET_STORE="t").stdout
    assert found == "sqlite:///x|SELECT 2|t|None\n"
    both = run("show", "sqlite:///x", "--query-file", file, "--query", "SELECT 1")
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)


def test_keys_are_read_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    result = run("show", "a.csv", GLASSNET_SIGNING_KEY_FILE=str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {file}: No such file or directory\n"
    write_secret(file, "k" * 32)
    result = run("show", "a.csv", GLASSNET_SIGNING_KEY_FILE=str(file))
    assert result.stdout == f"a.csv|None|artefacts|{file}\n"


@pytest.mark.parametrize(
    ("what", "code", "expected"),
    [
        ("config", 2, "Error: no such setting"),
        ("data", 1, "Error: no such column"),
        ("os", 1, "Error: /full: No space left on device"),
        ("bare", 1, "Error: something"),
    ],
)
def test_an_error_is_one_sentence(what: str, code: int, expected: str) -> None:
    result = run("fail", what)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1] == expected

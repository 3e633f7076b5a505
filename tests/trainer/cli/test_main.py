"""The whole command: help, references, databases, signing, images."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from models.storage.directory import DirectoryStore as Store
from tests.private import write_secret
from trainer.cli.main import main

Command = Callable[..., Result]

FAST = ("--epochs", "5")


@pytest.mark.parametrize("verb", [(), ("fit",), ("predict",), ("promote",)])
def test_help_is_there(verb: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    short = CliRunner().invoke(main, [*verb, "-h"])
    assert short.exit_code == 0, (short.output, short.exc_info)
    assert short.stdout == result.stdout


def test_the_version_is_there() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.exit_code == 0 and "version" in result.stdout


@pytest.mark.parametrize(
    ("reference", "code", "expected"),
    [
        ("chrun", 1, "no model 'chrun' in the store; did you mean 'churn'?"),
        ("churn@7", 1, "model 'churn' has no version 7; it has 1"),
        ("churn@0", 1, "model 'churn' has no version 0"),
        ("churn@" + "9" * 5000, 2, "expected NAME, NAME@VERSION or NAME:LABEL"),
        ("churn:prod", 1, "model 'churn' has no label 'prod'"),
        ("churn@one", 2, "expected NAME, NAME@VERSION or NAME:LABEL"),
        ("churn@1:production", 2, "expected NAME, NAME@VERSION or NAME:LABEL"),
        ("churn:", 2, "expected NAME, NAME@VERSION or NAME:LABEL"),
        ("", 2, "expected NAME, NAME@VERSION or NAME:LABEL"),
        ("../churn", 1, "no model '../churn' in the store"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "verify", "evaluate", "predict"])
def test_a_bad_reference_is_one_sentence(
    verb: str,
    reference: str,
    code: int,
    expected: str,
    command: Command,
    published: Path,
) -> None:
    data = published / "churn.csv"
    arguments = {
        "evaluate": (data, "--model", reference),
        "predict": (data, "--model", reference, "--out", "x.csv"),
    }.get(verb, (reference,))
    result = command(verb, *arguments, code=code)
    assert result.stdout == ""
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last


# databases


@pytest.fixture
def shop(table: Callable[..., Any], tmp_path: Path) -> Path:
    """The table of `data` in SQLite, with a number to tell the rows apart."""
    whole = table(120)
    kept = ("size", "colour", "member", "since", "churn")
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE t (n INTEGER, size REAL, colour TEXT, member TEXT, "
            "since DATE, churn TEXT)"
        )
        rows = zip(range(120), *(whole[name] for name in kept), strict=True)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
    return path


def test_a_database_serves_every_command(
    command: Command, shop: Path, store: Store, tmp_path: Path
) -> None:
    columns = "SELECT size, colour, member, since, churn FROM t"
    query = tmp_path / "rows.sql"
    query.write_text(f"{columns} WHERE n < 90 ORDER BY n;\n")
    later = f"{columns} WHERE n >= 90 ORDER BY n"
    url = f"sqlite:///{shop}"
    asked = ("fit", url, "--query-file", query, "--target", "churn", *FAST)
    command(*asked, "--valid-query", later, "--model", "m")
    manifest = store.load("m", 1).manifest
    assert (manifest.data.rows, manifest.data.validation_rows) == (90, 30)
    run = store.run("m", 1)
    assert (run["data"], run["query"]) == (url, query.read_text())
    # The same rows of another place choose the epoch to the same bytes.
    command(*asked, "--valid", url, "--valid-query", later, "--model", "n")
    assert store.load("n", 1).sha256 == store.load("m", 1).sha256
    shown = command("evaluate", url, "--query", later, "--model", "m")
    assert shown.stdout.startswith(f"m version 1 on {url}\n")
    out = tmp_path / "answers.csv"
    command("predict", url, "--query", later, "--model", "m", "--out", out)
    assert len(pl.read_csv(out)) == 30


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("sqlite:///none.db",), 2, "sqlite:///none.db: a database needs --query"),
        (("none.csv", "--query", "SELECT 1"), 2, "--query needs a database"),
        (
            ("sqlite:///none.db", "--query", "SELECT 1", "--target", "y"),
            1,
            "no such file: none.db",
        ),
        (
            ("postgresql://a:s3cret@h/d", "--query", "x"),
            2,
            "must not contain the password",
        ),
    ],
)
def test_a_wrong_source_is_one_sentence(
    arguments: tuple[str, ...], code: int, expected: str, command: Command
) -> None:
    for verb in ("fit", "evaluate", "predict"):
        more = ("--out", "x.csv") if verb == "predict" else ()
        if verb != "fit" and code == 1:
            continue  # there is no model to ask
        result = command(verb, *arguments, "--model", "m", *more, code=code)
        assert expected in result.stderr and "s3cret" not in result.stderr
        assert result.stdout == ""


def test_the_password_of_a_database_stays_where_it_is(
    process: Callable[..., Any], postgres: Any, tmp_path: Path
) -> None:
    """Nothing that a run writes, says or shows to other processes holds it."""
    secret = tmp_path / "secret"
    write_secret(secret, postgres.password)
    numbers = "(g * 7919) % 1000 / 10.0 AS x, ((g * 7919) % 1000 > 500)::int AS y"
    query = f"SELECT {numbers} FROM generate_series(1, 300) g ORDER BY g"
    store = tmp_path / "store"
    for url, code in ((postgres.url, 0), (postgres.url + "?sslmode=nope", 1)):
        done = process(
            *("fit", url, "--query", query, "--target", "y", "--model", "m", *FAST),
            store=store,
            GLASSNET_DATABASE_PASSWORD_FILE=str(secret),
            PGPASSWORD=postgres.password,
        )
        assert done.returncode == code, done.stderr
        for text in (done.stdout, done.stderr):
            assert postgres.password not in text
            assert quote(postgres.password, safe="") not in text
    written = [path for path in store.rglob("*") if path.is_file()]
    assert len(written) == 6  # the report is one of them
    for path in written:
        content = path.read_bytes()
        assert postgres.password.encode() not in content
        assert quote(postgres.password, safe="").encode() not in content
        assert b"reader@" not in content


# signing


def test_a_key_signs_what_is_fitted_and_refuses_the_rest(
    command: Command,
    data: Path,
    published: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = tmp_path / "keys"
    write_secret(keys, "k" * 32)
    monkeypatch.setenv("GLASSNET_SIGNING_KEY_FILE", str(keys))
    command("fit", data, "--target", "churn", "--model", "new", *FAST)
    sha256 = store.load("new", 1).sha256
    assert command("verify", "new").stdout == (
        f"new version 1 is intact and signed: sha256 {sha256}\n"
    )
    for verb in (("verify",), ("show",), ("evaluate", data, "--model")):
        result = command(*verb, "churn", code=1)
        assert result.stderr.endswith("model.npz: it is not signed\n")
    assert "it is not signed" in command("promote", "churn", 1, code=1).stderr
    write_secret(keys, "o" * 32)
    assert "its signature is by no key in" in command("verify", "new", code=1).stderr
    # A key that cannot be used is told before the work, not after it.
    write_secret(keys, "short")
    result = command("fit", "none.csv", "--target", "y", "--model", "new", code=2)
    assert "line 1: a key has 32 characters or more" in result.stderr
    monkeypatch.delenv("GLASSNET_SIGNING_KEY_FILE")
    assert command("verify", "new").stdout.startswith("new version 1 is intact: sha256")


def test_images_go_all_the_way(command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4, 4))
    path, bare = tmp_path / "data.npz", tmp_path / "bare.npz"
    np.savez(path, X=X, y=np.where(X[:, 0, 0] > 0, "up", "down"))
    np.savez(bare, X=X)
    command("fit", path, "--model", "images", "--epochs", 20)
    command("evaluate", path, "--model", "images")
    out = tmp_path / "answers.csv"
    command("predict", bare, "--model", "images", "--out", out)
    assert pl.read_csv(out).columns == ["prediction", "p_down", "p_up"]
    result = command("evaluate", bare, "--model", "images", code=1)
    assert "expected arrays 'X' and 'y', found X" in result.stderr

"""The rows of a query, from a real PostgreSQL and a real SQLite file."""

from __future__ import annotations

import math
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import ConfigError, DataError
from models.features.table import TableInput, fit_column
from tests.private import write_secret
from trainer.config.environment import DATABASE_PASSWORD_FILE
from trainer.data import Dataset, Source, read, read_for
from trainer.data.sql import read_sql

DAY = date(2024, 2, 29)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
#: The same three rows in every format; the last has nothing but its target.
WHOLE: dict[str, list[Any]] = {
    "whole": [1, -2, None],
    "real": [0.5, 1e9, None],
    "exact": [1.5, 2.25, None],
    "truth": [True, False, None],
    "day": [DAY, date(1969, 7, 20), None],
    "moment": [NOON, datetime(1969, 7, 20, 20, 17, tzinfo=UTC), None],
    "word": ["a", "ü'\"", None],
    "digits": ["1", "2", None],
    "nothing": [None, None, None],
    "y": ["007", "8", "9"],
}
POSTGRESQL = """
CREATE TABLE {name} (whole int, real float8, exact numeric(10, 2), truth boolean,
    day date, moment timestamptz, word text, digits varchar(3), nothing int, y text);
INSERT INTO {name} VALUES
    (1, 0.5, 1.50, true, '2024-02-29', '2024-02-29 13:00+01', 'a', '1', NULL, '007'),
    (-2, 1e9, 2.25, false, '1969-07-20', '1969-07-20 20:17Z', 'ü''"', '2', NULL, '8'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '9')
"""
SQLITE = """
CREATE TABLE whole (whole INTEGER, real REAL, exact DECIMAL(10, 2), truth BOOLEAN,
    day DATE, moment TIMESTAMP, word TEXT, digits VARCHAR(3), "nothing" INTEGER,
    y TEXT);
INSERT INTO whole VALUES
    (1, 0.5, 1.50, 1, '2024-02-29', '2024-02-29 12:00:00Z', 'a', '1', NULL, '007'),
    (-2, 1e9, 2.25, 0, '1969-07-20', '1969-07-20T20:17Z', 'ü''"', '2', NULL, '8'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '9')
"""


def refused(data: Source, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        read(data, "y")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "shop [1].db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SQLITE)
    return path


@pytest.fixture
def table(postgres: Any) -> Iterator[str]:
    """A table of `WHOLE` in PostgreSQL."""
    name = f"t{time.monotonic_ns()}"
    postgres.run(*POSTGRESQL.format(name=name).split(";"))
    yield name
    postgres.run(f"DROP TABLE {name}")


@pytest.fixture
def parquet(tmp_path: Path) -> Dataset:
    path = tmp_path / "whole.parquet"
    pl.DataFrame(WHOLE).write_parquet(path)
    return read(str(path), "y")


def same(found: Dataset, expected: Dataset) -> None:
    assert found.kinds == expected.kinds
    assert found.target == expected.target
    assert isinstance(found.inputs, dict) and isinstance(expected.inputs, dict)
    for name, values in expected.inputs.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(found.inputs[name], values, name)
        else:
            assert found.inputs[name] == values
    assert found.fingerprint == expected.fingerprint


def test_postgresql_reads_as_parquet_does(
    postgres: Any, table: str, parquet: Dataset
) -> None:
    query = f"SELECT * FROM {table} ORDER BY y"
    same(read(Source(postgres.url, query), "y"), parquet)


def test_sqlite_reads_as_parquet_does(sqlite: Path, parquet: Dataset) -> None:
    same(read(Source(f"sqlite:///{sqlite}", "SELECT * FROM whole"), "y"), parquet)


def test_a_relative_sqlite_file(
    sqlite: Path, parquet: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sqlite.parent)
    same(read(Source(f"sqlite:///{sqlite.name}", "SELECT * FROM whole"), "y"), parquet)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT y, whole FROM {} ORDER BY y;",
        "  SELECT y, whole FROM {} ORDER BY y ;\n",
        "-- what\nSELECT y, whole FROM {} ORDER BY y -- for",
        "WITH a AS (SELECT * FROM {}) SELECT y, whole FROM a ORDER BY y",
    ],
)
def test_a_query_as_people_write_it(
    query: str, postgres: Any, table: str, sqlite: Path
) -> None:
    sources = [
        Source(postgres.url, query.format(table)),
        Source(f"sqlite:///{sqlite}", query.format("whole")),
    ]
    for source in sources:
        assert read(source, "y").target == ["007", "8", "9"]


def test_a_model_gets_its_own_kinds(postgres: Any, table: str) -> None:
    inputs = TableInput(
        (
            fit_column("digits", "categorical", ["1", None]),
            fit_column("exact", "numeric", np.array([1.0, math.nan])),
            fit_column("gone", "numeric", np.array([1.0, math.nan])),
        )
    )
    query = f"SELECT digits, exact, truth FROM {table} ORDER BY y"
    found = read_for(Source(postgres.url, query), inputs, None)
    assert isinstance(found.inputs, dict)
    assert found.inputs["digits"] == ["1", "2", None]
    np.testing.assert_array_equal(found.inputs["exact"], [1.5, 2.25, math.nan])
    assert np.isnan(found.inputs["gone"]).all()


def test_decimals_are_a_target_too(postgres: Any, table: str) -> None:
    query = f"SELECT exact, whole, day FROM {table} WHERE exact IS NOT NULL ORDER BY y"
    found = read(Source(postgres.url, query), "exact")
    assert found.target == ["1.50", "2.25"]


def test_many_rows_arrive_whole(postgres: Any) -> None:
    query = "SELECT g AS x, g % 2 AS y, md5(g::text) AS w FROM generate_series(1,2e5) g"
    frame = read_sql(Source(postgres.url, query))
    assert frame["x"].cast(pl.Float64).to_list() == [*range(1, 200_001)]


def test_sqlite_values_that_change_their_type_late(tmp_path: Path) -> None:
    path = tmp_path / "late.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x NUMERIC, word, y INTEGER)")
        rows = [(i if i < 4000 else i + 0.5, None, i % 2) for i in range(5000)]
        rows[-1] = (1, "late", 1)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        connection.commit()
    found = read(Source(f"sqlite:///{path}", "SELECT * FROM t"), "y")
    assert found.kinds == {"x": "numeric", "word": "categorical"}
    assert isinstance(found.inputs, dict)
    assert found.inputs["x"][4000] == 4000.5 and found.inputs["word"][-1] == "late"


def test_types_of_postgresql_are_read_as_what_they_are(postgres: Any) -> None:
    query = """SELECT 12.5::numeric::money AS price, '007'::text AS code,
        'NaN'::numeric AS gap, 2.50::numeric AS exact, ARRAY[1] AS list,
        gen_random_uuid() AS id, i AS y FROM generate_series(1, 3) i"""
    found = read(Source(postgres.url, query), "y")
    assert isinstance(found.inputs, dict)
    np.testing.assert_array_equal(found.inputs["price"], [12.5] * 3)
    np.testing.assert_array_equal(found.inputs["gap"], [math.nan] * 3)
    np.testing.assert_array_equal(found.inputs["exact"], [2.5] * 3)
    assert found.inputs["code"] == ["007"] * 3
    assert [finding.columns for finding in found.findings] == [("list",), ("id",)]


def test_text_of_digits_stays_text_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "zips.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (zip TEXT, day DATE, y INT)")
        rows = [("10115", "2024-01-31", 1), ("80331", "2024-02-01", 0)]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        connection.commit()
    found = read(Source(f"sqlite:///{path}", "SELECT * FROM t"), "y")
    assert found.kinds == {"zip": "categorical", "day": "datetime"}


# What goes wrong is one sentence.


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM nope", 'relation "nope" does not exist'),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT nope FROM pg_class", 'column "nope" does not exist'),
        ("SELECT 1/0 AS y", "division by zero"),
        ("SELECT 1 AS y; SELECT 2", "cannot insert multiple commands"),
        ("SELECT 1 AS y, 2 AS y", "column with name 'y' has more than one"),
        ("SELECT 1 AS y WHERE false", "the query returned no rows"),
        (
            "SELECT '1 day'::interval AS i, 1 AS y",
            "column 'i' has intervals, which cannot be read; write",
        ),
        (
            "SELECT '::1'::inet AS i, 1 AS y",
            "besides the target 'y': column 'i' has values of type Binary, which",
        ),
        (
            "SELECT ARRAY[1] AS i, 1 AS y",
            "column 'i' has values of type List(Int32), which cannot be an input",
        ),
        ("SELECT 1 AS x, 'infinity'::date AS y", "column 'y', row 1: expected a"),
        ("SELECT 1 AS y", "there is no input column besides the target 'y'"),
        ("SELECT 1 AS x", "there is no target column 'y'"),
        ("SET application_name = 'x'", ""),
        ("", ""),
    ],
)
def test_a_wrong_query_to_postgresql(query: str, expected: str, postgres: Any) -> None:
    message = refused(Source(postgres.url, query))
    assert message.startswith(f"postgresql://127.0.0.1:{postgres.port}/postgres: ")
    assert expected in message


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM nope", "no such table: nope"),
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("SELECT nope FROM whole", "no such column: nope"),
        ("SELECT 1 AS y; SELECT 2", "one statement at a time"),
        ("SELECT 1 AS y, 2 AS y", "column with name 'y' has more than one"),
        ("SELECT * FROM whole WHERE 0", "the query returned no rows"),
        (
            "SELECT x'00' AS i, 1 AS y",
            "column 'i' has values of type Binary, which cannot be an input",
        ),
        ("DELETE FROM whole", "readonly database"),
        ("PRAGMA foreign_keys = 1", "expected a SELECT"),
        ("", "expected a SELECT"),
    ],
)
def test_a_wrong_query_to_sqlite(query: str, expected: str, sqlite: Path) -> None:
    message = refused(Source(f"sqlite:///{sqlite}", query))
    assert message.startswith(f"sqlite:///{sqlite}: ")
    assert expected in message


def test_a_query_cannot_write(postgres: Any, table: str) -> None:
    query = f"DELETE FROM {table} RETURNING y, whole"
    assert "read-only transaction" in refused(Source(postgres.url, query))
    query = f"SELECT y, whole FROM {table}"
    assert len(read(Source(postgres.url, query), "y")) == 3


def test_sqlite_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    message = refused(Source(f"sqlite:///{path}", "SELECT 1 AS y"))
    assert message == f"no such file: {path}"
    assert not path.exists()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "bad.db"
    path.write_bytes(b"x" * 5000)
    assert "file is not a database" in refused(
        Source(f"sqlite:///{path}", "SELECT * FROM whole")
    )


# Credentials are used, and never shown.


def test_the_password_may_lie_in_a_file(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    source = Source(postgres.url, "SELECT 1 AS x, 2 AS y")
    assert "no password supplied" in refused(source)
    secret = tmp_path / "secret"
    write_secret(secret, postgres.password + "\n")
    monkeypatch.setenv(DATABASE_PASSWORD_FILE, str(secret))
    assert len(read(source, "y")) == 1
    monkeypatch.setenv("PGPASSWORD", "wrong")  # the file is what was meant
    assert len(read(source, "y")) == 1
    write_secret(secret, b"\xff")
    assert refused(source, ConfigError) == (
        f"{DATABASE_PASSWORD_FILE}: expected UTF-8 text in {secret}"
    )


def test_the_password_may_lie_in_postgresqls_own_file(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    secret = tmp_path / "pgpass"
    escaped = postgres.password.replace("\\", "\\\\").replace(":", "\\:")
    secret.write_text(f"127.0.0.1:{postgres.port}:*:*:{escaped}\n")
    secret.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(secret))
    assert len(read(Source(postgres.url, "SELECT 1 AS x, 2 AS y"), "y")) == 1


def test_no_error_holds_the_password(
    postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "wrong/@:secret"
    secret = tmp_path / "secret"
    write_secret(secret, wrong)
    monkeypatch.setenv(DATABASE_PASSWORD_FILE, str(secret))
    for url in (
        postgres.url,
        postgres.url.replace("127.0.0.1", "[::1"),
        postgres.url.replace("127.0.0.1", "not-a-host.invalid"),
        postgres.url + "?nope=1",
        postgres.url.replace("127.0.0.1:", "[::1]x"),
        postgres.url + "?sslmode=nope",
        f"{postgres.url}%zz",
        "postgresql://[::1",
    ):
        message = refused(Source(url, "SELECT 1 AS x, 2 AS y"))
        assert "secret" not in message and "reader@" not in message
    for password in ("secret\0", b"\xff\xfes\0e\0c\0r\0e\0t\0"):
        write_secret(secret, password)
        with pytest.raises(ConfigError, match="expected UTF-8 text") as caught:
            read(Source(postgres.url, "SELECT 1 AS x, 2 AS y"), "y")
        assert "secret" not in str(caught.value).replace(str(secret), "")


def test_without_the_extra_it_says_what_to_install(
    postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adbc_driver_postgresql.dbapi", None)
    message = refused(Source(postgres.url, "SELECT 1 AS y"), ConfigError)
    assert message.endswith("pip install 'glassnet[sql]'")


# A server that goes.


def test_no_server_is_told(postgres: Any) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"postgresql://reader@127.0.0.1:{free.getsockname()[1]}/x"
        assert "Connection refused" in refused(Source(url, "SELECT 1 AS y"))


def test_a_server_that_never_answers_is_not_waited_for(postgres: Any) -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://reader@127.0.0.1:{silent.getsockname()[1]}/x"
        message = refused(Source(f"{url}?connect_timeout=2", "SELECT 1 AS y"))
    assert "timeout expired" in message


@pytest.mark.parametrize("how", ["ended by its administrator", "killed"])
def test_a_server_that_is_lost_in_the_middle(how: str, postgres: Any) -> None:
    mark = f"mark{time.monotonic_ns()}"
    query = f"SELECT g AS x, 1 AS y, '{mark}' AS w FROM generate_series(1, 1e9) g"

    def end() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(DataError):
                found = read_sql(
                    Source(
                        postgres.url,
                        "SELECT pid FROM pg_stat_activity WHERE state = 'active' "
                        f"AND query LIKE '%{mark}%' AND pid <> pg_backend_pid()",
                    )
                )
                pid = found["pid"][0]
                time.sleep(0.3)
                if how == "killed":
                    os.kill(pid, signal.SIGKILL)
                else:
                    postgres.run(f"SELECT pg_terminate_backend({pid})")
                return

    thread = threading.Thread(target=end)
    thread.start()
    try:
        message = refused(Source(postgres.url, query))
    finally:
        thread.join()
    assert message.startswith(f"postgresql://127.0.0.1:{postgres.port}/postgres: ")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # it recovers, and so does the reader
        with suppress(DataError):
            assert len(read(Source(postgres.url, "SELECT 1 AS x, 2 AS y"), "y")) == 1
            return
        time.sleep(0.1)
    pytest.fail("the server did not come back")

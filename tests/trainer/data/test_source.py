"""What DATA names, and that no password comes in by it or goes out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from trainer.data.source import Source, source


def refused(*arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        source(*arguments)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message and "s3cret" not in message
    return message


@pytest.mark.parametrize(
    "place",
    ["data.csv", "parts/", "parts/*.parquet", "builtin:xor", "s3://b/x", "a:b@c.csv"],
)
def test_files_need_no_query(place: str) -> None:
    assert source(place) == Source(place)
    assert (source(place).scheme, str(source(place))) == (None, place)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("postgresql://ann@db:5432/shop", "postgresql://db:5432/shop"),
        ("postgresql://db/shop?sslmode=require", "postgresql://db/shop"),
        ("postgresql:///?service=shop", "postgresql:///"),
        ("postgresql://a,b:5433/shop", "postgresql://a,b:5433/shop"),
        ("sqlite:///shop.db", "sqlite:///shop.db"),
    ],
)
def test_a_database_is_shown_without_user_and_parameters(
    place: str, shown: str
) -> None:
    assert str(source(place, "SELECT 1")) == shown


def test_a_query_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("SELECT 'ü'\n", "utf-8")
    assert source("sqlite:///x.db", file=file).query == "SELECT 'ü'\n"
    assert refused("sqlite:///x.db", "SELECT 1", file) == (
        "--query and --query-file exclude each other"
    )
    file.write_bytes(b"\xff")
    assert (
        refused("sqlite:///x.db", None, file)
        == f"{file}: expected a query in UTF-8 text"
    )
    file.unlink()
    assert refused("sqlite:///x.db", None, file) == f"no such query file: {file}"


@pytest.mark.parametrize("query", [None, "", " \n"])
def test_a_database_needs_a_query(query: str | None) -> None:
    message = refused("postgresql://ann@db/shop", query)
    assert message.startswith("postgresql://db/shop: a database needs --query")


def test_a_file_takes_no_query() -> None:
    assert refused("data.csv", "SELECT 1").endswith("data.csv is not one")


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://ann:s3cret@db/shop",
        "postgresql://:s3cret@db/shop",
        "postgresql://ann:s3/cret@db/shop",
        "postgresql://ann:s3?cret@db/shop",
        "postgresql://ann:s3#cret@db/shop",
        "postgresql://ann:s3@cret@db/shop",
        "postgresql://db/shop?password=s3cret",
        "postgresql://db/shop?user=ann&PASSWORD=s3cret",
        "postgresql://db/shop?sslpassword=s3cret",
        "sqlite://ann:s3cret@db/shop",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(place: str) -> None:
    message = refused(place, "SELECT 1")
    assert "must not contain the password" in message
    for part in ("s3", "cret", "ann", "shop"):
        assert part not in message


@pytest.mark.parametrize(
    ("place", "hint"),
    [
        ("postgres://db/x", "did you mean 'postgresql'?"),
        ("mysql://db/x", "found mysql://…"),
        ("ftp://host/x.parquet", "found ftp://…"),
    ],
)
def test_another_scheme_is_told(place: str, hint: str) -> None:
    assert hint in refused(place, "SELECT 1")


@pytest.mark.parametrize("place", ["sqlite://", "sqlite:///"])
def test_sqlite_needs_a_file(place: str) -> None:
    assert refused(place, "SELECT 1").startswith(
        "sqlite:/// needs a file: sqlite:///FILE"
    )

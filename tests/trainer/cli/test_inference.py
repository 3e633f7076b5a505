"""`trainer explain` as people and scripts meet it; evaluate, predict: test_cli."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
from click.testing import Result

Command = Callable[..., Result]


def test_explain_shows_what_matters(command: Command, published: Path) -> None:
    result = command("explain", published / "price.csv", "--model", "price")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("price version 1 on ")
    assert next(line.split()[0] for line in lines[1:]) == "size"
    assert len(lines) == 5


def test_explain_prints_what_the_service_replies(
    command: Command, published: Path
) -> None:
    data = published / "churn.csv"
    arguments = ("--model", "churn@1", "--target", "yes", "--json")
    found = json.loads(command("explain", data, *arguments).stdout)
    assert list(found) == ["model", "explanations", "baseline", "model_version"]
    assert len(found["explanations"]) == 120
    assert {row["target"] for row in found["explanations"]} == {"yes"}
    assert found["baseline"]["colour"] in ("red", "green", "deep blue")


def test_explain_writes_a_table(
    command: Command, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "why.csv"
    data = published / "level.csv"
    result = command("explain", data, "--model", "level", "--out", out)
    assert f"120 explanations of level version 1 in {out}" in result.stderr
    assert result.stdout == ""
    assert len(pl.read_csv(out)) == 120


def test_explain_names_what_is_wrong(command: Command, published: Path) -> None:
    data = published / "churn.csv"
    wrong = ("explain", data, "--model", "churn")
    result = command(*wrong, "--target", "yess", code=1)
    assert "there is no class 'yess'; did you mean 'yes'?" in result.stderr
    result = command(*wrong, "--out", "why.xlsx", code=2)
    assert "--out is a .csv or .parquet file" in result.stderr

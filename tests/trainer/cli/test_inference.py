"""The commands that run a model on data: messages, JSON and exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from models.storage.directory import DirectoryStore as Store

Command = Callable[..., Result]
WriteCsv = Callable[..., Path]


# evaluate


def test_evaluate_prints_figures(command: Command, published: Path) -> None:
    data = published / "churn.csv"
    result = command("evaluate", data, "--model", "churn")
    assert result.stdout.startswith(f"churn version 1 on {data}\n")
    found = json.loads(command("evaluate", data, "--model", "churn", "--json").stdout)
    assert (found["model"], found["version"]) == ("churn", 1)
    figures = {"log_loss", "brier", "ece", "accuracy", "macro_f1", "auc"}
    assert set(found["metrics"]) == figures | {"rows"}
    low, high = found["intervals"]["accuracy"]
    shown = f"{found['metrics']['accuracy']:.3g} ({low:.3g} to {high:.3g})"
    assert f"accuracy     {shown}\n" in result.stdout


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_results_do_not_replace_the_data(
    verb: str, command: Command, published: Path, tmp_path: Path
) -> None:
    data = tmp_path / "churn.csv"
    data.write_bytes((published / "churn.csv").read_bytes())
    places = [(data, data), (tmp_path / "*.csv", data), (tmp_path, tmp_path)]
    for source, out in places[: 1 if verb == "explain" else 3]:
        result = command(verb, source, "--model", "churn", "--out", out, code=2)
        assert "would replace the data" in result.stderr
    assert data.read_bytes() == (published / "churn.csv").read_bytes()
    missing = tmp_path / "no" / "out.csv"
    result = command(verb, data, "--model", "churn", "--out", missing, code=1)
    assert result.stderr == f"Error: {tmp_path}/no: there is no such folder\n"


@pytest.mark.parametrize("reference", ["price", "price@1", "price:production"])
def test_a_model_is_named_in_three_ways(
    reference: str, command: Command, published: Path, store: Store
) -> None:
    content = store.path("price", 1).read_bytes()
    store.publish("price", {"model.npz": content})
    arguments = ("evaluate", published / "price.csv", "--model", reference, "--json")
    assert json.loads(command(*arguments).stdout)["version"] == 1
    arguments = ("evaluate", published / "price.csv", "--model", "price@2", "--json")
    assert json.loads(command(*arguments).stdout)["version"] == 2


def test_evaluate_needs_the_target(
    command: Command,
    published: Path,
    table: Callable[..., Any],
    write_csv: WriteCsv,
) -> None:
    whole = table(10)
    del whole["churn"]
    path = write_csv(whole)
    result = command("evaluate", path, "--model", "churn", code=1)
    assert "there is no target column 'churn'" in result.stderr


# predict


def test_predict_writes_csv_row_for_row(
    command: Command, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.csv"
    data = published / "churn.csv"
    result = command("predict", data, "--model", "churn", "--out", out)
    assert result.stdout == ""
    assert result.stderr == f"wrote 120 predictions of churn version 1 to {out}\n"
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["prediction", "p_no", "p_yes"]
    assert len(rows) == 120
    for row in rows:
        no, yes = float(row["p_no"]), float(row["p_yes"])
        assert no + yes == pytest.approx(1)
        assert row["prediction"] == ("yes" if yes > no else "no")


def test_predict_writes_parquet_like_csv(
    command: Command, published: Path, tmp_path: Path
) -> None:
    for name in ("answers.csv", "answers.parquet"):
        arguments = ("predict", published / "level.csv", "--model", "level")
        command(*arguments, "--out", tmp_path / name)
    one = pl.read_csv(tmp_path / "answers.csv")
    assert one.equals(pl.read_parquet(tmp_path / "answers.parquet"))
    assert one.columns == ["prediction", "p_0", "p_1", "p_2"]
    assert one.schema["prediction"] == pl.Int64


def test_predict_regression_without_the_target(
    command: Command, published: Path, tmp_path: Path
) -> None:
    frame = pl.read_csv(published / "price.csv").drop("price")
    frame.write_csv(tmp_path / "bare.csv")
    frame.write_parquet(tmp_path / "bare.parquet")
    answers = []
    for name in ("bare.csv", "bare.parquet"):
        out = tmp_path / "answers.parquet"
        command("predict", tmp_path / name, "--model", "price", "--out", out)
        answers.append(pl.read_parquet(out))
    assert answers[0].columns == ["prediction"] and len(answers[0]) == 120
    assert answers[0].equals(answers[1])


def test_predict_adds_the_ends_of_an_interval(
    command: Command, published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.csv"
    arguments = ("predict", published / "price.csv", "--model", "price", "--out", out)
    command(*arguments, "--interval", "0.8")
    frame = pl.read_csv(out)
    assert frame.columns == ["prediction", "lower", "upper"]
    assert (frame["lower"] < frame["prediction"]).all()
    assert (frame["prediction"] < frame["upper"]).all()
    result = command(*arguments, "--interval", "0.2", code=1)
    assert "interval: expected a level from 0.5 to 0.9" in result.stderr


def test_evaluate_measures_how_many_values_the_interval_covers(
    command: Command, published: Path
) -> None:
    arguments = ("evaluate", published / "price.csv", "--model", "price", "--json")
    metrics = json.loads(command(*arguments).stdout)["metrics"]
    assert 0.6 < metrics["coverage"] <= 1.0


@pytest.mark.parametrize(
    ("out", "code", "expected"),
    [
        ("answers.txt", 2, "--out must be a .csv or .parquet file"),
        ("answers", 2, "--out must be a .csv or .parquet file"),
        ("none/answers.csv", 1, "none"),
    ],
)
def test_predict_to_a_wrong_place_is_one_sentence(
    out: str,
    code: int,
    expected: str,
    command: Command,
    published: Path,
    tmp_path: Path,
) -> None:
    arguments = ("predict", published / "churn.csv", "--model", "churn")
    result = command(*arguments, "--out", tmp_path / out, code=code)
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ") and expected in last


def test_predict_tells_what_is_wrong_with_a_row(
    command: Command,
    published: Path,
    table: Callable[..., Any],
    write_csv: WriteCsv,
    tmp_path: Path,
) -> None:
    whole = table(10)
    whole["size"][6] = "big"
    path = write_csv(whole)
    arguments = ("predict", path, "--model", "churn", "--out", tmp_path / "a.csv")
    result = command(*arguments, code=1)
    assert (
        "column 'size', row 7: expected a finite number, found 'big'" in result.stderr
    )
    assert not (tmp_path / "a.csv").exists()


# explain


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
    assert f"120 explanations of level version 1 to {out}" in result.stderr
    assert result.stdout == ""
    assert len(pl.read_csv(out)) == 120


def test_explain_names_what_is_wrong(command: Command, published: Path) -> None:
    data = published / "churn.csv"
    wrong = ("explain", data, "--model", "churn")
    result = command(*wrong, "--target", "yess", code=1)
    assert "there is no class 'yess'; did you mean 'yes'?" in result.stderr
    result = command(*wrong, "--out", "why.xlsx", code=2)
    assert "--out must be a .csv or .parquet file" in result.stderr


# A target in the spelling of people


def spelled(value: float) -> str:
    english = f"{value:,.2f} €"
    return english.translate(str.maketrans(",.", ".,"))


def test_a_truth_is_read_in_the_spelling_of_the_training_target(
    command: Command, tmp_path: Path, write_csv: Any
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    price = 2500.0 + 1000.0 * x
    table = {"x": x.round(3), "price": [*map(spelled, price[:-1]), "9.999,00 €"]}
    settings = ("--preset", "fast", "--epochs", "30", "--promote", "always")
    setting = ("--set", 'data.columns.price.missing=["9.999,00 €"]')
    data = write_csv(table)
    command("fit", data, "--target", "price", "--model", "m", *settings, *setting)
    # Nothing in these rows tells thousands from decimals: 1.250 could be 1.25.
    few = write_csv({"x": [0.0] * 3, "price": ["2.400", "2.500", "2.600"]}, "few.csv")
    found = json.loads(command("evaluate", few, "--model", "m", "--json").stdout)
    assert found["metrics"]["rmse"] < 1000.0
    # A mark that means a missing target in training means it here too.
    few = write_csv(
        {"x": [0.0] * 3, "price": ["9.999,00 €", "2.500 €", "2.600 €"]}, "few.csv"
    )
    found = json.loads(command("evaluate", few, "--model", "m", "--json").stdout)
    assert found["metrics"]["rows"] == 2
    mixed = write_csv({"x": [0.0] * 2, "price": ["2.500", "0.75"]}, "mixed.csv")
    result = command("evaluate", mixed, "--model", "m", code=1)
    assert "column 'price', row 2: expected numbers as 1.234,56 €" in result.stderr
    odd = write_csv({"x": [0.0] * 2, "price": ["2.500", "2,500.75"]}, "odd.csv")
    result = command("evaluate", odd, "--model", "m", code=1)
    assert "target 'price', row 2: expected a number as 1.234,56 €, found" in (
        result.stderr
    )
    # The next night is read so as well.
    night = write_csv({"x": table["x"][:60], "price": table["price"][:60]}, "n.csv")
    again = command(
        "fit", night, "--target", "price", "--model", "m", *settings, "--json"
    )
    assert json.loads(again.stdout)["metrics"]["rmse"] > 10.0

"""Metrics, predictions and explanations of the rows of a file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, log_loss

from models.errors import ConfigError, DataError
from models.storage.directory import DirectoryStore as Store
from trainer.data import read, read_for
from trainer.inspection import batch_inference

WriteCsv = Callable[..., Path]
Fit = Callable[..., Any]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# evaluate


def test_figures_are_those_of_the_given_rows(published: Path, store: Store) -> None:
    artefact = store.load("churn", 1)
    source = str(published / "churn.csv")
    data = read(source, "churn")
    answer = artefact.model.predict(data.inputs)
    found = batch_inference.evaluate(artefact, source)
    assert found["rows"] == 120
    assert found["accuracy"] == accuracy_score(list(data.target or ()), answer["label"])
    assert found["log_loss"] == pytest.approx(
        log_loss(list(data.target or ()), answer["probabilities"][:, 1])
    )


def test_rows_without_a_target_are_not_measured(
    published: Path, store: Store, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    artefact = store.load("level", 1)
    whole = table(60, seed=5)
    kept = write_csv({k: v[:40] for k, v in whole.items()}, "kept.csv")
    whole["level"][40:] = [None] * 20
    gaps = write_csv(whole, "gaps.csv")
    assert batch_inference.evaluate(artefact, str(gaps)) == batch_inference.evaluate(
        artefact, str(kept)
    )
    whole["level"] = [None] * 60
    none = write_csv(whole, "none.csv")
    with pytest.raises(DataError, match="target 'level' has no value"):
        batch_inference.evaluate(artefact, str(none))


def test_a_class_never_seen_is_told(
    published: Path, store: Store, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(10)
    whole["churn"][3] = "maybe"
    with pytest.raises(DataError, match="row 4: there is no class 'maybe'"):
        batch_inference.evaluate(store.load("churn", 1), str(write_csv(whole)))


# predict


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["churn", "level", "price"])
def test_predictions_stand_row_for_row(
    model: str, suffix: str, published: Path, store: Store, tmp_path: Path
) -> None:
    artefact = store.load(model, 1)
    source = str(published / f"{model}.csv")
    out = tmp_path / f"answers.{suffix}"
    assert batch_inference.predict(artefact, source, out) == 120
    frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
    data = read_for(source, artefact.manifest.inputs, None)
    answer = artefact.model.predict(data.inputs)
    if model == "price":
        assert frame.columns == ["prediction"]
        np.testing.assert_array_equal(frame["prediction"], answer["value"])
        return
    classes = artefact.manifest.output.classes  # type: ignore[union-attr]
    assert frame.columns == ["prediction", *(f"p_{label}" for label in classes)]
    assert frame["prediction"].to_list() == answer["label"].tolist()
    P = frame.select(pl.exclude("prediction")).to_numpy()
    np.testing.assert_array_equal(P, answer["probabilities"])


def test_a_row_is_answered_alike_alone_and_among_others(
    published: Path, store: Store, tmp_path: Path, write_csv: WriteCsv
) -> None:
    artefact = store.load("churn", 1)
    source = published / "churn.csv"
    out = tmp_path / "answers.csv"
    batch_inference.predict(artefact, str(source), out)
    together = [float(row["p_yes"]) for row in rows_of(out)]
    columns = list(rows_of(source)[0])
    for number, row in list(enumerate(rows_of(source)))[:5]:
        alone = write_csv({name: [row[name]] for name in columns}, "alone.csv")
        batch_inference.predict(artefact, str(alone), out)
        assert float(rows_of(out)[0]["p_yes"]) == pytest.approx(
            together[number], rel=1e-5
        )


def test_more_rows_than_the_network_takes_at_once(
    published: Path, store: Store, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(50)
    longer = {name: (values * 400)[:17_000] for name, values in whole.items()}
    out = write_csv({"x": []}, "answers.csv")
    path = write_csv(longer)
    assert batch_inference.predict(store.load("price", 1), str(path), out) == 17_000
    found = pl.read_csv(out)["prediction"].to_numpy()
    np.testing.assert_allclose(found, np.resize(found[:50], 17_000), rtol=1e-5)


@pytest.mark.parametrize(
    "classes",
    [
        ["yes", "no"],
        ["0", "1"],
        ["007", "008"],
        ["true", "false"],
        ["True", "False"],
        ["1.0", "2.5"],
        ["1e-07", "1e+16"],
        ["1.50", "2.50"],
        ["a, b", 'say "c"'],
        ["-1", "0", "1"],
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_classes_are_spelled_as_in_training(
    suffix: str, classes: list[str], fit: Fit, store: Store, write_csv: WriteCsv
) -> None:
    n = 60
    y = [classes[i % len(classes)] for i in range(n)]
    x = [float(classes.index(label)) for label in y]
    path = write_csv({"x": x, "y": y})
    fit(store, path, target="y", settings=("train.epochs=40",))
    out = path.with_name(f"answers.{suffix}")
    batch_inference.predict(store.load("m", 1), str(path), out)
    if suffix == "csv":
        rows = rows_of(out)
        assert [row["prediction"] for row in rows] == y
        assert set(rows[0]) == {"prediction", *(f"p_{label}" for label in classes)}
    else:
        frame = pl.read_parquet(out)
        assert frame["prediction"].to_list() == list(read(str(path), "y").target or ())
        assert set(frame.columns) == {
            "prediction",
            *(f"p_{label}" for label in classes),
        }


def test_the_target_is_not_needed_and_further_columns_do_not_matter(
    published: Path, store: Store, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    artefact = store.load("churn", 1)
    whole = table(30, seed=9)
    bare = {name: whole[name] for name in ("size", "colour", "member", "since")}
    answers = []
    for columns in (whole, bare, {"note": ["?"] * 30, **bare}):
        out = write_csv({"x": []}, "answers.csv")
        batch_inference.predict(artefact, str(write_csv(columns)), out)
        answers.append(out.read_bytes())
    assert answers[0] == answers[1] == answers[2]


def test_a_failure_leaves_no_file(
    published: Path, store: Store, write_csv: WriteCsv, tmp_path: Path
) -> None:
    artefact = store.load("churn", 1)
    source = str(published / "churn.csv")
    with pytest.raises(ConfigError, match=r"--out must be a \.csv or \.parquet file"):
        batch_inference.predict(artefact, source, tmp_path / "answers.txt")
    bad = write_csv({"size": ["x"]}, "bad.csv")
    with pytest.raises(DataError):
        batch_inference.predict(artefact, str(bad), tmp_path / "answers.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match=r"folder\.csv"):
        batch_inference.predict(artefact, source, tmp_path / "folder.csv")
    assert sorted(p.name for p in tmp_path.glob("[!s]*")) == ["bad.csv", "folder.csv"]
    assert not list(tmp_path.glob(".*"))


def test_an_old_file_is_replaced(
    published: Path, store: Store, write_csv: WriteCsv
) -> None:
    out = write_csv({"old": [1]}, "answers.csv")
    batch_inference.predict(store.load("price", 1), str(published / "price.csv"), out)
    assert len(rows_of(out)) == 120


# explain


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["churn", "level", "price"])
def test_attributions_stand_row_for_row(
    model: str, suffix: str, published: Path, store: Store, tmp_path: Path
) -> None:
    artefact = store.load(model, 1)
    found = batch_inference.explain(artefact, str(published / f"{model}.csv"), None)
    out = tmp_path / f"why.{suffix}"
    batch_inference.write_explanation(found, out)
    frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
    columns = ["size", "colour", "member", "since"]
    assert frame.columns == [
        *("target", "output", "baseline_output"),
        *(f"a_{name}" for name in columns),
    ]
    parts = frame.select(f"a_{name}" for name in columns).to_numpy()
    change = (frame["output"] - frame["baseline_output"]).to_numpy()
    assert len(frame) == 120
    error = np.abs(parts.sum(axis=1) - change)
    assert (error <= 0.01 * np.abs(parts).sum(axis=1)).all()


def test_what_decides_is_at_the_top(published: Path, store: Store) -> None:
    """The target was made of size, colour and member, and not of since."""
    source = str(published / "price.csv")
    found = batch_inference.explain(store.load("price", 1), source, None)
    sizes = batch_inference.mean_contributions(found)
    assert next(iter(sizes)) == "size"
    assert sorted(sizes.values(), reverse=True) == list(sizes.values())
    assert set(sizes) == {"size", "colour", "member", "since"}


def test_pixels_are_named_by_their_place(tmp_path: Path, fit: Fit) -> None:
    store = Store(tmp_path / "store")
    settings = ("train.epochs=2",)
    fit(store, "builtin:digits", model="digits", promote="always", settings=settings)
    found = batch_inference.explain(store.load("digits", 1), "builtin:digits", "3")
    assert set(found.targets) == {3}
    change = found.output - found.baseline_output
    error = np.abs(found.attributions.sum(axis=1) - change)
    assert (error <= 0.01 * np.abs(found.attributions).sum(axis=1)).all()
    names = list(found.inputs.explained)
    assert (names[0], names[-1], len(names)) == ("0_0", "7_7", 64)


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-1", "-1"),
        ("+2.5e3", "+2.5e3"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_no_class_is_a_formula_in_csv(label: str, written: str) -> None:
    assert batch_inference._inert(label) == written


def test_classes_that_look_like_formulas_are_inert_in_csv_alone(
    fit: Fit, tmp_path: Path
) -> None:
    lines = [f"{n},{'=1+1' if n > 20 else 'no'}" for n in range(40)]
    (tmp_path / "data.csv").write_text("\n".join(["n,y", *lines]))
    store = Store(tmp_path / "store")
    fit(store, tmp_path / "data.csv", target="y", settings=("train.epochs=5",))
    found = {}
    for suffix in ("csv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        batch_inference.predict(store.load("m", 1), str(tmp_path / "data.csv"), out)
        frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
        found[suffix] = set(frame["prediction"])
    assert found == {"csv": {"'=1+1", "no"}, "parquet": {"=1+1", "no"}}

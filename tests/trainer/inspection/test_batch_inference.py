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

from models.errors import DataError
from models.storage.directory import DirectoryStore as Store
from trainer.data import read
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
    found, ends = batch_inference.evaluate(artefact, source)
    assert found["rows"] == 120
    assert found["accuracy"] == accuracy_score(list(data.target or ()), answer["label"])
    assert found["log_loss"] == pytest.approx(
        log_loss(list(data.target or ()), answer["probabilities"][:, 1])
    )
    assert ends.keys() == found.keys() - {"rows"}
    assert all(low <= found[name] <= high for name, (low, high) in ends.items())


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
    assert batch_inference.inert(label) == written

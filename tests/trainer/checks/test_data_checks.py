"""What is said of data before training, and what of honest data is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from models.errors import DataError
from models.storage.artefact import Finding
from models.storage.directory import DirectoryStore as Store
from trainer.checks.data_checks import MAX_OF_A_KIND, diagnose
from trainer.config import loading
from trainer.data import read
from trainer.data.row_hashing import hash_rows
from trainer.preparation.prepare import prepare

Command = Callable[..., Result]
WriteCsv = Callable[..., Path]


def honest(n: int = 600, seed: int = 0) -> dict[str, list[Any]]:
    """Columns of every kind, none of which tells the target alone."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=n)
    c = rng.choice(["red", "green", "blue"], n)
    score = x + z + (c == "red") + rng.normal(0, 0.5, n)
    return {
        "x": x.round(4).tolist(),
        "z": z.round(4).tolist(),
        "c": c.tolist(),
        "age": rng.integers(18, 80, n).tolist(),
        "y": np.where(score > 0.3, "yes", "no").tolist(),
    }


def examine(source: Any, *assignments: str, valid: Any = None) -> list[Finding]:
    """Diagnose a file whose target is y: what reading found, and what is said."""
    given = loading.load(None, assignments, {})
    own = None if valid is None else str(valid)
    data = read(str(source), "y", given)
    prepared = prepare(data, None, own, given, lambda said: None)
    said: list[str] = []
    found = diagnose(prepared, said.append)
    assert said == [f.sentence for f in found[len(data.findings) :]]
    return list(found)


@pytest.fixture
def found(write_csv: WriteCsv) -> Callable[..., list[Finding]]:
    """Diagnose columns as a file."""

    def run(
        columns: dict[str, Any], *assignments: str, valid: dict[str, Any] | None = None
    ) -> list[Finding]:
        own = None if valid is None else write_csv(valid, "valid.csv")
        return examine(write_csv(columns), *assignments, valid=own)

    return run


Found = Callable[..., list[Finding]]


def sentence(findings: list[Finding], kind: str) -> str:
    """Return what the only finding of a kind says."""
    (one,) = [finding for finding in findings if finding.kind == kind]
    return one.sentence


# What is honest.


@pytest.mark.parametrize("n", [4, 40, 60, 300, 2000])
@pytest.mark.parametrize("seed", range(4))
def test_of_honest_data_nothing_is_said(n: int, seed: int, found: Found) -> None:
    assert found(honest(n, seed)) == []
    columns = honest(n, seed)
    columns["y"] = (np.array(columns["x"]) + columns["z"]).round(3).tolist()
    assert found(columns) == []


def test_of_xor_and_digits_nothing_is_said() -> None:
    assert examine("builtin:xor") == examine("builtin:digits") == []
    assert examine("builtin:digits", "ensemble.members=5") == []


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
def test_of_known_sets_nothing_is_said(load: Any, tmp_path: Path) -> None:
    held = load()
    np.savez(tmp_path / "data.npz", X=held.data, y=held.target)
    # Two of the 150 irises are the same, as everybody knows.
    assert examine(tmp_path / "data.npz") == []


def test_of_pixels_in_a_row_only_those_that_are_blank_are_said(tmp_path: Path) -> None:
    held = load_digits()
    np.savez(tmp_path / "data.npz", X=held.data, y=held.target)
    findings = examine(tmp_path / "data.npz")
    assert {finding.kind for finding in findings} == {"constant"}


def test_a_repeated_exclusive_or_has_nothing_but_too_few_rows(found: Found) -> None:
    a, b = np.repeat([0, 0, 1, 1], 100), np.tile([0, 1], 200)
    findings = found({"a": a, "b": b, "y": a ^ b})
    assert [finding.kind for finding in findings] == ["overlap"]
    assert "too few different rows" in findings[0].sentence


def test_a_lone_column_is_what_there_is(found: Found) -> None:
    n = 200
    assert found({"x": range(n), "y": [i / 2 + 2 for i in range(n)]}) == []
    assert found({"x": range(n), "y": ["ab"[i > 90] for i in range(n)]}) == []


def test_a_strong_column_is_no_leak(found: Found) -> None:
    columns = honest(2000)
    rng = np.random.default_rng(1)
    up = np.array(columns["y"]) == "yes"
    columns["strong"] = (rng.normal(size=2000) + 3.3 * up).round(4).tolist()  # AUC 0.99
    assert found(columns) == []


def test_tables_of_a_few_words_have_copies_by_nature(found: Found) -> None:
    rng = np.random.default_rng(2)
    n = 1000
    columns = {k: rng.choice([f"{k}{i}" for i in range(9)], n) for k in ("a", "b", "c")}
    columns["y"] = rng.choice(["no", "yes"], n)
    assert found(columns) == []
    # A street tells its town, and that its country.
    street = rng.integers(0, 200, n)
    places = {f"level {k}": [f"{s // k}" for s in street] for k in (1, 5, 40)}
    assert found({**places, "y": columns["y"]}) == []


# Columns.


def test_constant_columns_are_named(found: Found) -> None:
    columns = {**honest(), "same": [7] * 600, "gone": [None] * 600, "word": ["a"] * 600}
    findings = found(columns)
    assert [(f.kind, f.columns) for f in findings] == [
        ("constant", (name,)) for name in ("same", "gone", "word")
    ]
    assert findings[0].sentence == (
        "column 'same' has one value in all training rows and is not used"
    )


def test_columns_that_hold_the_same_are_named(found: Found) -> None:
    columns = honest()
    columns["copy"] = list(columns["x"])
    columns["colour"] = [
        {"red": "r", "green": "g", "blue": "b"}[c] for c in columns["c"]
    ]
    columns["code"] = [{"red": 3, "green": 1, "blue": 2}[c] for c in columns["c"]]
    columns["again"] = list(columns["c"])
    findings = found(columns)
    assert [(f.kind, f.columns) for f in findings] == [
        ("duplicate", ("x", "copy")),
        ("duplicate", ("c", "colour")),
        ("duplicate", ("c", "code")),
        ("duplicate", ("c", "again")),
    ]
    said = [f.sentence for f in findings]
    assert said[0].startswith("columns 'x' and 'copy' have the same values in all ")
    assert said[1].startswith("columns 'c' and 'colour' say the same in other words")
    assert said[3].startswith("columns 'c' and 'again' have the same values in all ")


def test_columns_that_count_rows_and_names_of_rows_are_found(found: Found) -> None:
    rng = np.random.default_rng(3)
    columns = honest()
    columns["id"] = list(range(1001, 1601))
    columns["number"] = rng.permutation(600).tolist()
    columns["name"] = [f"client {i}" for i in rng.permutation(9000)[:600]]
    findings = found(columns)
    assert [(f.kind, f.columns) for f in findings] == [
        ("unused", ("id",)),
        ("unused", ("number",)),
        ("unused", ("name",)),
    ]
    assert "data.time=id" in findings[0].sentence
    kept = [f"data.columns.{name}.kind=numeric" for name in ("id", "number")]
    findings = found(columns, *kept, "data.columns.name.kind=categorical")
    assert [f.kind for f in findings] == ["id"] * 3
    assert " different texts in " in findings[2].sentence


def test_columns_with_hardly_a_value_are_found(found: Found) -> None:
    columns = honest()
    columns["rare"] = [i if i % 20 == 0 else None for i in range(600)]
    columns["note"] = [f"n{i % 3}" if i % 20 == 1 else None for i in range(600)]
    columns["half"] = [i % 7 if i % 2 else None for i in range(600)]
    findings = found(columns)
    assert [(f.kind, f.columns) for f in findings] == [
        ("missing", ("rare",)),
        ("missing", ("note",)),
    ]
    assert "is missing in 9" in findings[0].sentence


LEAKS: dict[str, Callable[[Any], Any]] = {
    "the target itself": lambda y: y,
    "in other words": lambda y: np.where(y == "yes", "B", "A"),
    "as a number": lambda y: np.where(y == "yes", 1, 0),
    "known afterwards": lambda y: [i if v == "yes" else None for i, v in enumerate(y)],
    "by a reason": lambda y: [
        f"r{i % 4}" if v == "yes" else "" for i, v in enumerate(y)
    ],
    "by a score": lambda y: np.where(y == "yes", 5, -5) + np.arange(len(y)) % 7 * 0.1,
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("n", [100, 600])
def test_a_column_that_tells_the_class_is_found(
    leak: str, n: int, found: Found
) -> None:
    columns = honest(n)
    columns["after"] = list(LEAKS[leak](np.array(columns["y"])))
    said = sentence(found(columns), "leak")
    assert said == (
        "column 'after' alone explains 100.0% of target 'y': leave it out unless its "
        "value is known before the target's"
    )


@pytest.mark.parametrize("f", [np.exp, lambda y: 1.19 * y, lambda y: (y * 4).round(1)])
def test_a_column_that_tells_the_number_is_found(f: Any, found: Found) -> None:
    columns = honest()
    y = np.array(columns["x"]) + columns["z"]
    columns["y"] = y.round(4).tolist()
    columns["after"] = f(y).tolist()
    (leak,) = [finding for finding in found(columns) if finding.kind == "leak"]
    assert leak.columns == ("after",)


def test_a_name_that_tells_its_rows_is_a_leak(found: Found) -> None:
    columns = honest()
    rng = np.random.default_rng(4)
    clients = rng.integers(0, 60, 600)
    columns["client"] = [f"k{c}" for c in clients]
    columns["y"] = [["no", "yes"][(c * 7 % 13) % 2] for c in clients]
    (leak,) = [finding for finding in found(columns) if finding.kind == "leak"]
    assert leak.columns == ("client",)


def test_of_very_many_columns_the_first_are_said(found: Found) -> None:
    columns = {**honest(), **{f"same {i}": [1] * 600 for i in range(40)}}
    findings = found(columns)
    assert len(findings) == MAX_OF_A_KIND + 1
    assert [f.columns for f in findings[:2]] == [("same 0",), ("same 1",)]
    assert findings[-1].columns == tuple(f"same {i}" for i in range(MAX_OF_A_KIND, 40))
    assert findings[-1].sentence == "30 more findings like these, first of 'same 10'"


# Rows.


def test_copies_of_rows_are_counted(found: Found) -> None:
    columns = {name: [*values, *values[:30]] for name, values in honest().items()}
    assert sentence(found(columns), "copies") == (
        "30 of 630 rows (4.8%) are copies of others: leave them out if they were "
        "recorded twice, or weight the rows (data.weight)"
    )
    # A row with another target is not a duplicate.
    columns["y"][600:] = ["no" if y == "yes" else "yes" for y in columns["y"][600:]]
    assert found(columns) == []
    columns = {name: [*values, *values[:3]] for name, values in honest().items()}
    assert found(columns) == []


def test_copies_of_images_are_counted(tmp_path: Path) -> None:
    X = np.random.default_rng(5).integers(0, 255, (200, 5, 5))
    y = np.arange(200) % 2
    np.savez(tmp_path / "data.npz", X=[*X, *X[:20]], y=[*y, *y[:20]])
    said = sentence(examine(tmp_path / "data.npz"), "copies")
    assert said.startswith("20 of 220 rows (9.1%) are copies")


def test_rows_that_validate_and_train_are_counted(found: Found) -> None:
    train, other = honest(), honest(300, 1)
    valid = {name: [*other[name][:250], *train[name][:50]] for name in train}
    said = sentence(found(train, "data.test_fraction=0", valid=valid), "overlap")
    assert said == (
        "50 of 300 of the validation rows given (16.7%) are among the training rows "
        "too, so the metrics are too good: leave them out of one of the two"
    )
    assert found(train, "data.test_fraction=0", valid=other) == []


@pytest.mark.parametrize("way", ["data.group=g", "data.time=t"])
def test_rows_on_two_sides_are_counted(way: str, found: Found) -> None:
    columns = {name: [*values, *values] for name, values in honest().items()}
    columns["g"] = [f"g{i % 597}" for i in range(1200)]
    columns["t"] = list(range(1200))
    if way == "data.time=t":
        del columns["g"]
    else:
        del columns["t"]
    said = sentence(found(columns, way), "overlap")
    assert said.endswith(
        "so the metrics are too good: leave them out of one of the two"
    )


def test_rows_divided_by_content_are_on_one_side(found: Found) -> None:
    columns = {name: [*values, *values] for name, values in honest().items()}
    assert {finding.kind for finding in found(columns)} == {"copies"}


def test_groups_that_validate_and_train_are_counted(found: Found) -> None:
    train, valid = honest(), honest(300, 1)
    train["g"] = [f"g{i % 150}" for i in range(600)]
    valid["g"] = [f"g{i % 200}" for i in range(300)]
    given = ("data.group=g", "data.test_fraction=0")
    assert sentence(found(train, *given, valid=valid), "overlap") == (
        "150 of 200 groups of the validation rows given (column 'g') are among the "
        "training rows too, so the metrics are too good: leave them out of one of the "
        "two"
    )
    valid["g"] = [f"other {i % 200}" for i in range(300)]
    assert found(train, *given, valid=valid) == []


# Drift.


def test_columns_that_move_in_time_are_found(found: Found) -> None:
    n = 3000
    columns = honest(n)
    columns["price"] = (np.array(columns["x"]) + np.arange(n) / 300).round(3).tolist()
    columns["t"] = list(range(n))
    findings = found(columns, "data.time=t")
    assert [(f.kind, f.columns) for f in findings] == [("drift", ("price",))]
    assert findings[0].sentence.startswith("column 'price' drifts: PSI ")
    assert " to the latest rows (above 0.25 is a major shift)" in findings[0].sentence
    # By chance as many of each time are on every side.
    del columns["t"]
    assert found(columns) == []


def test_a_target_that_moves_is_found(found: Found) -> None:
    train, valid = honest(3000), honest(900, 1)
    valid["y"] = ["yes"] * 890 + ["no"] * 10
    said = sentence(found(train, valid=valid), "drift")
    assert said.startswith("target 'y' drifts: PSI ")
    assert " to the validation rows given " in said


# The target.


def test_a_rare_class_is_named_with_why_it_is_not_weighted(found: Found) -> None:
    columns = honest(1000)
    columns["y"] = ["yes" if i % 25 == 0 else "no" for i in range(1000)]
    said = sentence(found(columns), "imbalance")
    assert said.startswith("target 'y': only ")
    assert "of the training rows are 'yes'; classes are not weighted, since" in said
    assert "log loss" in said and "train.class_weights=balanced" in said
    assert found(columns, "train.class_weights=balanced") == []
    # Data of which that is found may be stopped for, but not for that.
    assert found(columns, "data.findings=stop")[0].kind == "imbalance"


# What becomes of it.


def test_stop_ends_the_run_before_training(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    columns = honest()
    columns |= {"after": columns["y"], "same": [1] * 600}
    fit = ("fit", write_csv(columns), "--target", "y", "--model", "m", "--epochs", 1)
    result = command(*fit, "--set", "data.findings=stop", code=1)
    *_, last = result.stderr.splitlines()
    assert last == (
        "Error: data.findings=stop: column 'same' has one value in all training rows "
        "and is not used; column 'after' alone explains 100.0% of target 'y': leave it "
        "out unless its value is known before the target's"
    )
    assert not store.root.exists()
    del columns["after"], columns["same"]
    fit = ("fit", write_csv(columns), "--target", "y", "--model", "m", "--epochs", 1)
    command(*fit, "--set", "data.findings=stop")


@pytest.mark.parametrize("n", [100, 300])
def test_ranges_that_part_in_time_are_found_in_few_rows(found: Found, n: int) -> None:
    columns = honest(n)
    noise = np.random.default_rng(0).normal(size=n)
    columns["y"] = [round(float(y), 3) for y in noise]
    columns["t"] = list(range(n))
    assert "drift" not in {f.kind for f in found(columns, "data.time=t")}
    columns["y"] = [y + i / 10 for i, y in enumerate(columns["y"])]
    (finding,) = [f for f in found(columns, "data.time=t") if f.kind == "drift"]
    assert finding.columns == ("y",)
    assert "outside of the range of the training rows" in finding.sentence


def test_a_class_that_no_row_measures_is_said(found: Found) -> None:
    columns = honest(400)
    assert "unmeasured" not in {finding.kind for finding in found(columns)}
    where = hash_rows({"x": np.array(columns["x"])})
    columns = {"x": columns["x"], "y": ["usual"] * 400}
    learnt = np.flatnonzero(where > 0.2)[:3].tolist()
    for row in learnt:
        columns["y"][row] = "fraud"
    (finding,) = [f for f in found(columns) if f.kind == "unmeasured"]
    assert finding.sentence.startswith(
        "target 'y': no row of class 'fraud' was measured, since none of its 3 rows is "
    )
    assert finding.sentence.endswith("no figure tells how well it is predicted")
    for row, label in zip(learnt, ("fraud", "theft", "theft"), strict=True):
        columns["y"][row] = label
    (finding,) = [f for f in found(columns) if f.kind == "unmeasured"]
    assert finding.sentence.startswith(
        "target 'y': no row of 2 classes ('fraud', 'theft') was measured, since none "
        "of their 3 rows is among "
    )
    assert finding.sentence.endswith("no figure tells how well they are predicted")


def test_classes_that_may_be_one_or_none_are_named(found: Found) -> None:
    columns = honest(400)
    for labels, sentences in {
        ("none", "mild"): 0,
        ("yes", "Yes", "no"): 1,
        ("yes", "ye s", "no"): 1,
        ("yes", "yes\u200b", "no"): 1,
        ("NaN", "no"): 1,
    }.items():
        columns["y"] = [labels[i % len(labels)] for i in range(400)]
        findings = [f for f in found(columns) if f.kind == "labels"]
        assert len(findings) == sentences
        assert all(
            "differ in capitals or blanks only; are they one?" in f.sentence
            or "data.columns.y.missing=['NaN']" in f.sentence
            for f in findings
        )


def test_a_target_far_from_all_others_is_named(found: Found) -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=500), rng.lognormal(0, 1, 500), rng.pareto(3, 500)):
        y: list[Any] = values.round(4).tolist()
        columns = {"x": rng.normal(size=500).round(4).tolist(), "y": y}
        assert "outlier" not in [finding.kind for finding in found(columns)]
        y[0], y[7] = None, 9999.0
        (finding,) = [f for f in found(columns) if f.kind == "outlier"]
        assert finding.sentence.startswith("target 'y', row 8: 9999 is far from all ")
        largest = max(value for value in y if value is not None and value < 9999)
        assert f"and is learnt as {largest:g}: correct it" in finding.sentence


def test_a_slip_in_a_test_row_is_told_to_spoil_the_figure(found: Found) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300)).round(4).tolist()
    said = []
    for row in range(12):
        slipped = [*y[:row], 9999.0, *y[row + 1 :]]
        said.append(sentence(found({"x": x, "y": slipped}), "outlier"))
    assert all("learnt as" in s or "a test row, so RMSE counts" in s for s in said)
    assert len({"learnt as" in s for s in said}) == 2


def test_findings_are_said_kept_and_shown(
    command: Command, write_csv: WriteCsv, store: Store
) -> None:
    columns = honest()
    columns["after"] = columns["y"]
    fit = ("fit", write_csv(columns), "--target", "y", "--model", "m", "--epochs", 1)
    result = command(*fit)
    (finding,) = store.load("m", 1).manifest.recipe.findings
    assert (finding.kind, finding.columns) == ("leak", ("after",))
    assert f"! {finding.sentence}" in result.stderr.splitlines()
    assert f"\nfindings\n  {finding.sentence}\n" in command("show", "m").stdout
    shown = json.loads(command("show", "m", "--json").stdout)
    assert shown["recipe"]["findings"] == [
        {"kind": "leak", "columns": ["after"], "sentence": finding.sentence}
    ]


def test_only_some_of_very_many_rows_are_looked_at(
    write_csv: WriteCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.checks.column_profile.MAX_SAMPLE_ROWS", 500)
    columns = honest(4000)
    columns |= {"after": columns["y"], "copy": columns["x"], "id": list(range(4000))}
    path = tmp_path / "data.parquet"
    pl.DataFrame(columns).write_parquet(path)
    kinds = [(finding.kind, finding.columns) for finding in examine(path)]
    assert kinds == [
        ("unused", ("id",)),
        ("leak", ("after",)),
        ("duplicate", ("x", "copy")),
    ]
    with pytest.raises(DataError, match="'after' alone explains"):
        examine(path, "data.findings=stop")

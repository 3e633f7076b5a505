"""The predictions of files, in one file and in a folder of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.errors import ConfigError, DataError
from models.storage.directory import DirectoryStore as Store
from trainer.data import batches, read, read_for
from trainer.scoring.files import Scoring, predict

WriteCsv = Callable[..., Path]
Fit = Callable[..., Any]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# one file


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["churn", "level", "price"])
def test_predictions_stand_row_for_row(
    model: str, suffix: str, published: Path, store: Store, tmp_path: Path
) -> None:
    artefact = store.load(model, 1)
    source = str(published / f"{model}.csv")
    out = tmp_path / f"answers.{suffix}"
    assert predict(Scoring(artefact), source, out) == 120
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
    predict(Scoring(artefact), str(source), out)
    together = [float(row["p_yes"]) for row in rows_of(out)]
    columns = list(rows_of(source)[0])
    for number, row in list(enumerate(rows_of(source)))[:5]:
        alone = write_csv({name: [row[name]] for name in columns}, "alone.csv")
        predict(Scoring(artefact), str(alone), out)
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
    assert predict(Scoring(store.load("price", 1)), str(path), out) == 17_000
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
    predict(Scoring(store.load("m", 1)), str(path), out)
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
        predict(Scoring(artefact), str(write_csv(columns)), out)
        answers.append(out.read_bytes())
    assert answers[0] == answers[1] == answers[2]


def test_a_failure_leaves_no_file(
    published: Path, store: Store, write_csv: WriteCsv, tmp_path: Path
) -> None:
    artefact = store.load("churn", 1)
    source = str(published / "churn.csv")
    with pytest.raises(ConfigError, match=r"--out must be a \.csv or \.parquet file"):
        predict(Scoring(artefact), source, tmp_path / "answers.txt")
    bad = write_csv({"size": ["x"]}, "bad.csv")
    with pytest.raises(DataError):
        predict(Scoring(artefact), str(bad), tmp_path / "answers.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match=r"folder\.csv"):
        predict(Scoring(artefact), source, tmp_path / "folder.csv")
    assert sorted(p.name for p in tmp_path.glob("[!s]*")) == ["bad.csv", "folder.csv"]
    assert not list(tmp_path.glob(".*"))


def test_an_old_file_is_replaced(
    published: Path, store: Store, write_csv: WriteCsv
) -> None:
    out = write_csv({"old": [1]}, "answers.csv")
    predict(Scoring(store.load("price", 1)), str(published / "price.csv"), out)
    assert len(rows_of(out)) == 120


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
        predict(Scoring(store.load("m", 1)), str(tmp_path / "data.csv"), out)
        frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
        found[suffix] = set(frame["prediction"])
    assert found == {"csv": {"'=1+1", "no"}, "parquet": {"=1+1", "no"}}


def test_rows_in_many_batches_are_predicted_as_at_once(
    published: Path,
    store: Store,
    table: Callable[..., Any],
    write_csv: WriteCsv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scoring = Scoring(store.load("churn", 1), keep=("since", "size"))
    texts = write_csv(table(500))
    typed = tmp_path / "data.parquet"
    pl.read_csv(texts, try_parse_dates=True).write_parquet(typed, row_group_size=77)
    found = []
    for rows in (1 << 16, 100):
        monkeypatch.setattr(batches, "ROWS", rows)
        for source in (texts, typed):
            out = tmp_path / "answers.parquet"
            assert predict(scoring, str(source), out) == 500
            found.append(pl.read_parquet(out).cast({"since": pl.String}))
    assert found[0].columns == ["since", "size", "prediction", "p_no", "p_yes"]
    whole = found[0].cast({"size": pl.Float64})
    for other in found[1:]:
        assert_frame_equal(other.cast({"size": pl.Float64}), whole)

"""What a version says of itself, and what it answers to a file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, log_loss

from models.errors import ConfigError, DataError, ModelNotFound
from models.storage.directory import DirectoryStore as Store
from trainer.data import read, read_for
from trainer.inspection import listing

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
    found = listing.evaluate(artefact, source)
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
    assert listing.evaluate(artefact, str(gaps)) == listing.evaluate(
        artefact, str(kept)
    )
    whole["level"] = [None] * 60
    none = write_csv(whole, "none.csv")
    with pytest.raises(DataError, match="target 'level' has no value"):
        listing.evaluate(artefact, str(none))


def test_a_class_never_seen_is_told(
    published: Path, store: Store, table: Callable[..., Any], write_csv: WriteCsv
) -> None:
    whole = table(10)
    whole["churn"][3] = "maybe"
    with pytest.raises(DataError, match="row 4: there is no class 'maybe'"):
        listing.evaluate(store.load("churn", 1), str(write_csv(whole)))


# predict


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["churn", "level", "price"])
def test_predictions_stand_row_for_row(
    model: str, suffix: str, published: Path, store: Store, tmp_path: Path
) -> None:
    artefact = store.load(model, 1)
    source = str(published / f"{model}.csv")
    out = tmp_path / f"answers.{suffix}"
    assert listing.predict(artefact, source, out) == 120
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
    listing.predict(artefact, str(source), out)
    together = [float(row["p_yes"]) for row in rows_of(out)]
    columns = list(rows_of(source)[0])
    for number, row in list(enumerate(rows_of(source)))[:5]:
        alone = write_csv({name: [row[name]] for name in columns}, "alone.csv")
        listing.predict(artefact, str(alone), out)
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
    assert listing.predict(store.load("price", 1), str(path), out) == 17_000
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
    listing.predict(store.load("m", 1), str(path), out)
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
        listing.predict(artefact, str(write_csv(columns)), out)
        answers.append(out.read_bytes())
    assert answers[0] == answers[1] == answers[2]


def test_a_failure_leaves_no_file(
    published: Path, store: Store, write_csv: WriteCsv, tmp_path: Path
) -> None:
    artefact = store.load("churn", 1)
    source = str(published / "churn.csv")
    with pytest.raises(ConfigError, match=r"--out is a \.csv or \.parquet file"):
        listing.predict(artefact, source, tmp_path / "answers.txt")
    bad = write_csv({"size": ["x"]}, "bad.csv")
    with pytest.raises(DataError):
        listing.predict(artefact, str(bad), tmp_path / "answers.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OSError, match=r"folder\.csv"):
        listing.predict(artefact, source, tmp_path / "folder.csv")
    assert sorted(p.name for p in tmp_path.glob("[!s]*")) == ["bad.csv", "folder.csv"]
    assert not list(tmp_path.glob(".*"))


def test_an_old_file_is_replaced(
    published: Path, store: Store, write_csv: WriteCsv
) -> None:
    out = write_csv({"old": [1]}, "answers.csv")
    listing.predict(store.load("price", 1), str(published / "price.csv"), out)
    assert len(rows_of(out)) == 120


# list and show


def test_the_overview_shows_the_newest_and_the_labelled(
    published: Path, store: Store
) -> None:
    content = store.path("churn", 1).read_bytes()
    for _ in range(3):
        store.publish("churn", {"model.npz": content})
    store.promote("churn", 2, "candidate")
    rows = listing.versions(store, None)
    assert [(row.model, row.version, row.labels) for row in rows] == [
        ("churn", 1, ["production"]),
        ("churn", 2, ["candidate"]),
        ("churn", 4, []),
        ("level", 1, ["production"]),
        ("price", 1, ["production"]),
    ]
    assert [row.version for row in listing.versions(store, "churn")] == [1, 2, 3, 4]


def test_a_row_tells_task_figure_time_and_digest(published: Path, store: Store) -> None:
    artefact = store.load("price", 1)
    (row,) = listing.versions(store, "price")
    assert row.task == "regression"
    assert row.figure == f"rmse {artefact.manifest.metrics['rmse']:.4g}"
    assert row.sha256 == artefact.sha256
    assert row.trained_at == store.run("price", 1)["trained_at"]
    assert row.problem is None


def test_a_damaged_version_is_listed_as_such(published: Path, store: Store) -> None:
    store.path("level", 1).write_bytes(b"x")
    store.path("price", 1).unlink()
    (store.root / "churn" / "1" / "run.json").write_text("{")
    rows = {row.model: row for row in listing.versions(store, None)}
    assert (rows["level"].problem or "").startswith("damaged: ")
    assert (rows["price"].problem or "").startswith("damaged: ")
    assert rows["churn"].problem is None and rows["churn"].trained_at is None


def test_an_unknown_model_is_told(published: Path, store: Store) -> None:
    with pytest.raises(ModelNotFound, match="did you mean 'churn'"):
        listing.versions(store, "chrun")
    assert listing.versions(Store(store.root / "empty"), None) == []


def test_a_version_describes_itself(published: Path, store: Store) -> None:
    found = listing.describe(store, "churn", 1)
    artefact = store.load("churn", 1)
    assert found["sha256"] == artefact.sha256
    assert found["labels"] == ["production"]
    assert found["metrics"] == artefact.manifest.metrics
    assert found["parameters"] == sum(
        network.parameters.size for network in artefact.model.networks
    )
    assert found["run"]["trained_at"]
    assert [column["name"] for column in found["inputs"]["columns"]] == [
        "size",
        "colour",
        "member",
        "since",
    ]
    assert not {"golden", "reference", "history"} & set(found)


def test_parameters_are_those_of_all_networks(
    fit: Fit, store: Store, published: Path
) -> None:
    settings = ("ensemble.members=3", "train.epochs=1")
    fit(store, published / "churn.csv", target="churn", settings=settings)
    networks = store.load("m", 1).model.networks
    assert len(networks) == 3
    found = listing.describe(store, "m", 1)["parameters"]
    assert found == 3 * networks[0].parameters.size


def test_a_damaged_run_file_hides_nothing_else(published: Path, store: Store) -> None:
    (store.root / "churn" / "1" / "run.json").write_text("{")
    found = listing.describe(store, "churn", 1)
    assert found["run"] == {}
    assert (
        "trained at an unknown time"
        in dict(listing.readable(found))["churn version 1 (production)"]
    )


def test_the_description_reads_well(published: Path, store: Store) -> None:
    found = listing.describe(store, "churn", 1)
    text = dict(listing.readable(found))
    assert list(text) == [
        "churn version 1 (production)",
        "figures",
        "inputs",
        "network",
        "data",
        "why these settings",
        "settings",
    ]
    assert "task binary, target 'churn'" in text["churn version 1 (production)"]
    inputs = {line.partition(":")[0]: line for line in text["inputs"]}
    assert inputs["size"].startswith("size: numeric, ")
    assert inputs["size"].endswith(", nullable")
    assert inputs["colour"] == (
        "colour: categorical, 3 categories (deep blue, green, red)"
    )
    assert inputs["member"] == "member: boolean"
    assert inputs["since"].startswith("since: datetime, 2020-01-")
    assert text["network"][0].startswith(f"{found['network']['n_in']} → ")
    assert text["why these settings"] == list(found["recipe"]["reasons"])
    assert "divided at random, by what stands in a row" in text["data"]
    assert "seed 42" in text["settings"]
    assert "train.epochs 40" in text["settings"]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("data.group=since", "divided by group"),
        ("data.time=since", "divided in time"),
    ],
)
def test_how_rows_were_divided_is_described(
    setting: str, line: str, fit: Fit, store: Store, published: Path
) -> None:
    settings = (setting, "train.epochs=1")
    fit(store, published / "churn.csv", target="churn", settings=settings)
    text = dict(listing.readable(listing.describe(store, "m", 1)))
    assert line in text["data"]
    assert "findings" not in text


def test_images_describe_their_shape(fit: Fit, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    X = np.random.default_rng(0).integers(0, 17, (60, 4, 4))
    np.savez(path, X=X, y=np.arange(60) % 2)
    fit(store, path, settings=("train.epochs=1",))
    found = listing.describe(store, "m", 1)
    assert not {"center", "scale"} & set(found["inputs"])
    text = dict(listing.readable(found))
    assert text["inputs"] == ["x: shape (4, 4), 0.0 to 16.0"]

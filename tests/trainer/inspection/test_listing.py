"""The list of versions, and the description of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelNotFound
from models.storage.directory import DirectoryStore as Store
from trainer.inspection import listing

Fit = Callable[..., Any]


def test_the_overview_shows_the_newest_and_the_labelled(
    published: Path, store: Store
) -> None:
    content = store.path("churn", 1).read_bytes()
    for _ in range(3):
        store.publish("churn", {"model.npz": content})
    store.promote("churn", 2, "candidate")
    rows = listing.list_versions(store, None)
    assert [(row.model, row.version, row.labels) for row in rows] == [
        ("churn", 1, ["production"]),
        ("churn", 2, ["candidate"]),
        ("churn", 4, []),
        ("level", 1, ["production"]),
        ("price", 1, ["production"]),
    ]
    assert [row.version for row in listing.list_versions(store, "churn")] == [
        1,
        2,
        3,
        4,
    ]


def test_a_row_tells_task_figure_time_and_digest(published: Path, store: Store) -> None:
    artefact = store.load("price", 1)
    (row,) = listing.list_versions(store, "price")
    assert row.task == "regression"
    low, high = artefact.manifest.intervals["rmse"]
    value = artefact.manifest.metrics["rmse"]
    assert row.figure == f"rmse {value:.3g} ({low:.3g} to {high:.3g})"
    assert row.sha256 == artefact.sha256
    assert row.trained_at == store.run("price", 1)["trained_at"]
    assert row.problem is None


def test_a_damaged_version_is_listed_as_such(published: Path, store: Store) -> None:
    store.path("level", 1).write_bytes(b"x")
    store.path("price", 1).unlink()
    (store.root / "churn" / "1" / "run.json").write_text("{")
    rows = {row.model: row for row in listing.list_versions(store, None)}
    assert (rows["level"].problem or "").startswith("damaged: ")
    assert (rows["price"].problem or "").startswith("damaged: ")
    assert rows["churn"].problem is None and rows["churn"].trained_at is None


def test_an_unknown_model_is_told(published: Path, store: Store) -> None:
    with pytest.raises(ModelNotFound, match="did you mean 'churn'"):
        listing.list_versions(store, "chrun")
    assert listing.list_versions(Store(store.root / "empty"), None) == []


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
        in dict(listing.describe_as_text(found))["churn version 1 (production)"]
    )


def test_the_description_reads_well(published: Path, store: Store) -> None:
    found = listing.describe(store, "churn", 1)
    text = dict(listing.describe_as_text(found))
    assert list(text) == [
        "churn version 1 (production)",
        "metrics",
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
    assert "split at random, by a hash of each row" in text["data"]
    assert "seed 42" in text["settings"]
    assert "train.epochs 40" in text["settings"]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("data.group=since", "split by group"),
        ("data.time=since", "split by time"),
    ],
)
def test_how_rows_were_divided_is_described(
    setting: str, line: str, fit: Fit, store: Store, published: Path
) -> None:
    settings = (setting, "train.epochs=1")
    fit(store, published / "churn.csv", target="churn", settings=settings)
    text = dict(listing.describe_as_text(listing.describe(store, "m", 1)))
    assert line in text["data"]
    assert "findings" not in text


def test_images_describe_their_shape(fit: Fit, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    X = np.random.default_rng(0).integers(0, 17, (60, 4, 4))
    np.savez(path, X=X, y=np.arange(60) % 2)
    fit(store, path, settings=("train.epochs=1",))
    found = listing.describe(store, "m", 1)
    assert not {"center", "scale"} & set(found["inputs"])
    text = dict(listing.describe_as_text(found))
    assert text["inputs"] == ["x: shape (4, 4), 0.0 to 16.0"]

"""The whole run: what is published, what it says of itself, and that it is true."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    DataError,
    GlassnetError,
    TrainingDiverged,
)
from models.features import inputs
from models.features.columns import CategoricalColumn
from models.features.histograms import Histogram, Shares
from models.features.predictions import Classification
from models.model import Model
from models.nn.layers import EmbeddingsSpec
from models.storage.base import ARTEFACT, CANDIDATE, PRODUCTION, RUN
from models.storage.directory import DirectoryStore as Store
from trainer import candidate, pipeline
from trainer.config.defaults import TOO_FEW_FOR_REALMLP
from trainer.data import Dataset, read, take
from trainer.data.row_hashing import Split, hash_rows, limit_for_tests, rotating_splits
from trainer.engines.blas import find_blas
from trainer.preparation import row_order
from trainer.training import checkpoint, ensemble, member
from trainer.training.progress import Progress
from trainer.types import Messages

Fit = Callable[..., pipeline.FitResult]
#: One plain network, for what is promised of every run.
LONE = ("ensemble.members=1", "network.architecture=mlp")
FAST = (*LONE, "train.epochs=6")
#: What a larger table gets, for a short time.
REAL = ("ensemble.members=5", "network.architecture=realmlp")
FIVE = (
    *(*REAL, "train.epochs=6", "network.hidden=[16]"),
    # Each network has its own best epoch, so that its figures can be told apart.
    *("train.choose_epoch=alone", "data.validation_fraction=0.05"),
)


@pytest.fixture
def data(table: Callable[..., Any], write_csv: Callable[..., Path]) -> Path:
    whole = table(200)
    kept = ("size", "colour", "member", "since", "churn")
    return write_csv({name: whole[name] for name in kept})


def split_of(data: Dataset) -> Split:
    """Return the division that a run of one network makes, made here once more."""
    (split,) = splits(data, 1, 0.15)
    return split


def splits(data: Dataset, members: int, validation: float) -> list[Split]:
    where = hash_rows(data.inputs)
    test = round(min(max(40 / len(data), 0.1), 0.2), 2)
    limit = limit_for_tests(where, test)
    return rotating_splits(where, members, validation / (1 - test), limit)


def splits_of(data: Dataset) -> list[Split]:
    """Return the divisions of a run of five."""
    return splits(data, 5, 0.05)


PUBLISHED = ["m/1/model.npz", "m/1/rows.npy", "m/1/run.json", "m/labels.json"]


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_a_run_publishes_one_proven_version(fit: Fit, store: Store, data: Path) -> None:
    result = fit(store, data, target="churn", settings=FAST)
    assert files(store.root) == PUBLISHED
    assert (result.model, result.version, result.task) == ("m", 1, "binary")
    content = store.path("m", 1).read_bytes()
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    artefact = store.load("m", 1)
    assert artefact.sha256 == result.sha256
    assert artefact.manifest.metrics == result.metrics
    of_the_run = {"runtime", "gate", "guards"}
    lasting = {k: v for k, v in result.config.items() if k not in of_the_run}
    assert artefact.manifest.config == lasting
    assert isinstance(artefact.manifest.output, Classification)
    assert artefact.manifest.output.classes == ("no", "yes")


def test_the_config_is_resolved(fit: Fit, store: Store, data: Path) -> None:
    config = fit(store, data, target="churn", seed=5, settings=FAST).config
    assert config["seed"] == 5
    assert config["train"]["epochs"] == 6
    opened = [
        key
        for section in ("network", "train", "data", "ensemble")
        for key, value in config[section].items()
        if value is None
    ]
    assert opened == [
        "clip_norm",
        "max_norm",
        "class_weights",
        "group",
        "time",
        "weight",
        "partitions",
    ]


def test_figures_are_those_of_the_held_out_rows(
    fit: Fit, store: Store, data: Path
) -> None:
    result = fit(store, data, target="churn", seed=3, settings=FAST)
    whole = read(str(data), "churn")
    test = split_of(whole).test
    answer = store.load("m", 1).model.predict(take(whole.inputs, test))
    target = np.array([whole.target[i] for i in test])  # type: ignore[index]
    assert result.metrics["rows"] == len(test) > 20
    assert result.metrics["measured_on"] == "held-out rows"
    assert result.metrics["log_loss"] == pytest.approx(
        log_loss(target, answer["probabilities"][:, 1])
    )
    assert result.metrics["accuracy"] == accuracy_score(target, answer["label"])


def poisoned(data: Path, rows: Any) -> Path:
    """Write the same file with the targets of some rows turned round.

    The inputs stay: by them a row has its place.
    """
    header, *lines = data.read_text().splitlines()
    for row in rows:
        *fields, target = lines[row].split(",")
        lines[row] = ",".join([*fields, "no" if target == "yes" else "yes"])
    path = data.with_name("poisoned.csv")
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize("part", ["test", "validation", "train"])
def test_weights_and_epoch_never_see_the_held_out_rows(
    part: str, fit: Fit, store: Store, data: Path
) -> None:
    settings = (*LONE, "train.epochs=60", "train.patience=5")
    rows = getattr(split_of(read(str(data), "churn")), part)
    fit(store, data, target="churn", model="clean", settings=settings)
    other = poisoned(data, rows[:20])
    fit(store, other, target="churn", model="poisoned", settings=settings)
    one, two = store.load("clean", 1), store.load("poisoned", 1)
    assert one.manifest.data.sha256 != two.manifest.data.sha256
    same = (
        np.array_equal(
            one.model.networks[0].parameters, two.model.networks[0].parameters
        )
        and one.manifest.inputs == two.manifest.inputs
        and one.manifest.history == two.manifest.history
    )
    # Other parts do leave their mark: the comparison is able to tell.
    assert same == (part == "test")
    changed = one.manifest.metrics["log_loss"] != two.manifest.metrics["log_loss"]
    assert changed


def test_the_golden_pair_is_the_first_measured_rows(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=FAST)
    artefact = store.load("m", 1)
    whole = read(str(data), "churn")
    assert isinstance(whole.inputs, dict)
    golden = artefact.manifest.golden
    rows = split_of(whole).test[:3]
    assert [row["colour"] for row in golden.instances] == [
        whole.inputs["colour"][i] for i in rows
    ]
    answer = artefact.model.predict(take(whole.inputs, rows))
    assert [p["label"] for p in golden.predictions] == answer["label"].tolist()
    np.testing.assert_allclose(
        [p["probabilities"] for p in golden.predictions],
        answer["probabilities"],
        rtol=1e-6,
    )


def test_the_reference_counts_all_inputs_and_measured_answers(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=FAST)
    artefact = store.load("m", 1)
    whole = read(str(data), "churn")
    split = split_of(whole)
    reference = artefact.manifest.reference
    assert set(reference.inputs) == set(whole.kinds)
    colours = whole.inputs["colour"]  # type: ignore[call-overload]
    found = reference.inputs["colour"]
    column = artefact.manifest.inputs.by_name["colour"]  # type: ignore[union-attr]
    assert isinstance(found, Shares) and isinstance(column, CategoricalColumn)
    assert found.shares == tuple(
        list(colours).count(name) / len(colours) for name in column.categories
    )
    sizes = np.asarray(whole.inputs["size"], float)  # type: ignore[call-overload]
    histogram = reference.inputs["size"]
    assert isinstance(histogram, Histogram)
    assert histogram.missing == pytest.approx(np.isnan(sizes).mean())
    labels = artefact.model.predict(take(whole.inputs, split.test))["label"].tolist()
    answered = reference.outputs["label"]
    assert isinstance(answered, Shares)
    assert answered.shares == tuple(
        labels.count(c) / len(split.test) for c in ("no", "yes")
    )


def test_the_manifest_counts_rows_and_columns(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=FAST)
    manifest = store.load("m", 1).manifest
    split = split_of(read(str(data), "churn"))
    counted = manifest.data
    assert (counted.rows, counted.columns) == (200, 4)
    parts = (counted.train_rows, counted.validation_rows, counted.test_rows)
    assert parts == tuple(map(len, split))
    assert counted.sha256 == read(str(data), "churn").fingerprint
    assert manifest.target == "churn"
    assert manifest.recipe.reasons[0].startswith("task binary: ")


def test_the_manifest_keeps_the_curves(fit: Fit, store: Store, data: Path) -> None:
    result = fit(store, data, target="churn", settings=FAST)
    (history,) = store.load("m", 1).manifest.history
    assert {name: len(curve) for name, curve in history.items()} == {
        "loss": 6,
        "learning_rate": 6,
        "validation_loss": 6,
        "best_epoch": 1,
    }
    best = int(np.argmin(history["validation_loss"])) + 1
    assert history["best_epoch"] == [best]
    assert result.timing["epochs"] == 6


def test_timing_adds_up(fit: Fit, store: Store, data: Path) -> None:
    timing = fit(store, data, target="churn", settings=FAST).timing
    train_rows = store.load("m", 1).manifest.data.train_rows
    assert set(timing) == {"load_s", "train_s", "epochs", "rows_per_s", "total_s"}
    assert 0 < timing["load_s"] + timing["train_s"] <= timing["total_s"]
    rows = timing["rows_per_s"] * timing["train_s"]
    assert rows == pytest.approx(6 * train_rows, rel=0.02)


def test_run_json_tells_when_and_how(fit: Fit, store: Store, data: Path) -> None:
    result = fit(store, data, target="churn", settings=FAST)
    run = store.run("m", 1)
    assert run["data"] == str(data)
    assert run["promoted"] is True and run["reason"] == result.reason
    assert run["gate"] == run["guards"] == [] and run["production"] is None
    assert run["numpy"] == np.__version__
    assert str(run["trained_at"]).startswith("20")


# The same bytes.


@pytest.mark.parametrize(
    "settings",
    [
        FAST,
        (*FAST, "network.dropout=0.3", "network.batch_norm=true"),
        (*FAST, "train.optimizer=momentum", "train.warm_up=0.2"),
        FIVE,
    ],
)
def test_the_same_data_config_and_seed_give_the_same_bytes(
    settings: tuple[str, ...], fit: Fit, store: Store, data: Path
) -> None:
    first = fit(store, data, target="churn", settings=settings)
    again = fit(store, data, target="churn", settings=settings)
    assert (first.version, again.version) == (1, 2)
    assert first.sha256 == again.sha256
    assert store.path("m", 1).read_bytes() == store.path("m", 2).read_bytes()


def test_the_bytes_do_not_depend_on_name_place_or_packing(
    fit: Fit, store: Store, data: Path, tmp_path: Path
) -> None:
    first = fit(store, data, target="churn", settings=FAST)
    packed = tmp_path / "elsewhere.csv.gz"
    packed.write_bytes(gzip.compress(data.read_bytes()))
    other = Store(tmp_path / "other")
    again = fit(other, packed, target="churn", model="another", settings=FAST)
    assert first.sha256 == again.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"settings": (*LONE, "train.epochs=7")},
        {"settings": (*FAST, "train.weight_decay=0.02")},
    ],
)
def test_another_seed_or_config_gives_other_bytes(
    change: dict[str, Any], fit: Fit, store: Store, data: Path
) -> None:
    first = fit(store, data, target="churn", settings=FAST)
    other = fit(store, data, target="churn", **{"settings": FAST, **change})
    assert first.sha256 != other.sha256


def test_one_changed_value_gives_other_bytes(
    fit: Fit, store: Store, data: Path
) -> None:
    first = fit(store, data, target="churn", settings=FAST)
    other = fit(store, poisoned(data, [0]), target="churn", settings=FAST)
    assert first.sha256 != other.sha256


# Promotion.


def labels(store: Store) -> dict[str, int]:
    return {name: label.version for name, label in store.labels("m").items()}


WORSE = (*LONE, "train.epochs=1", "train.learning_rate=1e-9")
GOOD = (*LONE, "train.epochs=40")


def test_the_gate_keeps_a_worse_candidate_beside_production(
    fit: Fit, store: Store, data: Path
) -> None:
    good = fit(store, data, target="churn", settings=GOOD)
    bad = fit(store, data, target="churn", settings=WORSE)
    assert good.promoted and not bad.promoted
    assert bad.reason.startswith("significantly worse: log_loss ")
    assert bad.reason.endswith(" (gate.allowed_loss=0.01)")
    assert labels(store) == {PRODUCTION: 1, CANDIDATE: 2}
    run = store.run("m", 2)
    assert run["promoted"] is False
    assert run["gate"] == list(msgspec.to_builtins(bad.gate))
    (everywhere,) = bad.gate  # too few rows to look at those that were there alone
    assert everywhere.refused.startswith("significantly worse")
    # Of the same data these are the same rows.
    figures = {k: v for k, v in good.metrics.items() if isinstance(v, float)}
    assert run["production"] == pytest.approx(figures)


def test_a_candidate_of_shuffled_targets_is_refused(
    fit: Fit, store: Store, table: Callable[..., Any], write_csv: Callable[..., Path]
) -> None:
    """Nobody can learn them, and production is surer of what they no longer are: on
    all rows it is the worse, on those that are as they were it is the better."""
    honest = table(1200)
    fit(store, write_csv(honest), target="churn", settings=GOOD)
    grown = {name: values + table(900, 1)[name] for name, values in honest.items()}
    order = np.random.default_rng(0).permutation(2100)
    grown["churn"] = [grown["churn"][i] for i in order]
    poisoned = fit(store, write_csv(grown), target="churn", settings=GOOD)
    everywhere, there = poisoned.gate
    assert not everywhere.refused and everywhere.candidate < everywhere.production
    assert there.refused.startswith("significantly worse") and there.count > 30
    assert not poisoned.promoted
    assert labels(store) == {PRODUCTION: 1, CANDIDATE: 2}


def test_the_gates_settings_are_the_runs_and_not_the_models(
    fit: Fit, store: Store, data: Path
) -> None:
    plain = fit(store, data, target="churn", settings=FAST)
    strict = fit(store, data, target="churn", settings=(*FAST, "gate.minimum_gain=0.1"))
    assert strict.sha256 == plain.sha256
    assert strict.config["gate"]["minimum_gain"] == 0.1
    assert not strict.promoted
    assert strict.reason.startswith(
        "not significantly better by gate.minimum_gain=0.1: log_loss "
    )


def test_settings_of_the_gate_that_do_not_fit_end_the_run_before_training(
    fit: Fit, store: Store, data: Path
) -> None:
    with pytest.raises(ConfigError, match=r"gate\.group: there is no column 'colur'"):
        fit(store, data, target="churn", settings=(*FAST, "gate.group=colur"))
    assert not store.root.exists()


def test_a_better_candidate_takes_over(fit: Fit, store: Store, data: Path) -> None:
    fit(store, data, target="churn", settings=WORSE)
    better = fit(store, data, target="churn", settings=GOOD)
    assert better.promoted
    assert labels(store) == {PRODUCTION: 2}


def test_policies_move_labels_or_leave_them(fit: Fit, store: Store, data: Path) -> None:
    fit(store, data, target="churn", settings=FAST, promote="never")
    assert labels(store) == {}
    fit(store, data, target="churn", settings=FAST, promote="always")
    assert labels(store) == {PRODUCTION: 2}
    fit(store, data, target="churn", settings=WORSE, promote="always")
    assert labels(store) == {PRODUCTION: 3}
    fit(store, data, target="churn", settings=FAST, promote="never")
    assert labels(store) == {PRODUCTION: 3}


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_production_version_does_not_block_a_run(
    damage: str, fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=FAST)
    path = store.path("m", 1)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[:-10] if damage == "cut" else content)
    if damage == "gone":
        shutil.rmtree(path.parent)
        path.parent.mkdir()
    result = fit(store, data, target="churn", settings=FAST)
    assert result.promoted
    assert result.reason == "version 1, in production, cannot be read"
    assert labels(store)[PRODUCTION] == result.version == 2


# Nothing half done.


@pytest.mark.parametrize("at", ["prepare", "fit_members", "manifest", "dump", "load"])
@pytest.mark.parametrize("settings", [FAST, FIVE])
def test_nothing_is_published_on_an_error(
    at: str,
    settings: tuple[str, ...],
    fit: Fit,
    store: Store,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit(store, data, target="churn", settings=FAST)
    before = files(store.root)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("stop here")

    monkeypatch.setattr(candidate, at, fail)
    with pytest.raises(RuntimeError, match="stop here"):
        fit(store, data, target="churn", settings=settings)
    # A run that took long enough can go on from where it failed.
    assert [f for f in files(store.root) if "/.checkpoint-" not in f] == before
    assert labels(store) == {PRODUCTION: 1}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"target": "nothing"}, DataError),
        ({"model": "../m"}, ConfigError),
        ({"model": ""}, ConfigError),
        (
            {
                "settings": (
                    "train.learning_rate=1e6",
                    "train.optimizer=gradient_descent",
                    "network.activation=leaky_relu",
                )
            },
            TrainingDiverged,
        ),
    ],
)
def test_a_failed_run_leaves_no_store(
    changes: dict[str, Any],
    error: type[GlassnetError],
    fit: Fit,
    store: Store,
    data: Path,
) -> None:
    with pytest.raises(error):
        fit(store, data, **{"target": "churn", "settings": FAST, **changes})
    assert not store.root.exists()


def test_a_network_too_large_to_load_is_wrong_usage(
    fit: Fit, store: Store, data: Path
) -> None:
    with pytest.raises(ConfigError, match=r"network\.hidden"):
        fit(store, data, target="churn", settings=("network.hidden=[65536, 65536]",))


def test_an_ensemble_too_large_to_load_is_wrong_usage(
    fit: Fit, store: Store, data: Path
) -> None:
    # One of them would fit.
    wide = ("network.hidden=[4096, 4096]", "network.architecture=mlp")
    with pytest.raises(ConfigError, match=r"network\.hidden"):
        fit(store, data, target="churn", settings=(*wide, "ensemble.members=64"))
    assert not store.root.exists()


def test_the_watcher_is_called_after_every_epoch(
    store: Store, data: Path, configured: Callable[..., Any]
) -> None:
    seen: list[int] = []
    said: list[str] = []
    request = pipeline.FitRequest(
        str(data), "churn", "m", None, None, configured(*FAST), "auto"
    )
    messages = Messages(said.append, said.append, said.append)
    result = pipeline.run(
        request, store, messages, lambda now: seen.append(now.history.epochs)
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert result.report == store.address("m", 1, "report.html")


def test_arrays_are_published_too(fit: Fit, store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4, 4)).astype(np.float32)
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=np.where(X[:, 0, 0] > 0, "up", "down"))
    fit(store, path, settings=FAST)
    manifest = store.load("m", 1).manifest
    assert np.shape(manifest.golden.instances) == (3, 4, 4)
    assert list(manifest.reference.inputs) == ["x"]
    assert manifest.data.columns == 16
    assert msgspec.to_builtins(manifest.output)["classes"] == ("down", "up")


def test_regression_is_published_too(
    fit: Fit, store: Store, table: Callable[..., Any], write_csv: Callable[..., Path]
) -> None:
    whole = table(120)
    path = write_csv({"size": whole["size"], "price": whole["price"]})
    result = fit(store, path, target="price", settings=FAST)
    assert result.task == "regression"
    assert {"rmse", "mae", "r2"} < set(result.metrics)
    manifest = store.load("m", 1).manifest
    assert all(isinstance(value, float) for value in manifest.golden.predictions)
    assert isinstance(manifest.reference.outputs["value"], Histogram)


# Five networks.


def alone(artefact: Any, number: int) -> Model:
    """Return one network of an artefact as a model."""
    model = artefact.model
    return Model(model.inputs, [model.networks[number]], model.output)


def test_a_table_of_enough_rows_gets_eight_networks_that_differ(
    fit: Fit, store: Store, table: Callable[..., Any], write_csv: Callable[..., Path]
) -> None:
    whole = table(TOO_FEW_FOR_REALMLP)
    data = write_csv({"size": whole["size"], "churn": whole["churn"]})
    # Nothing said of architecture or members.
    settings = ("train.epochs=1", "network.hidden=[16]", "ensemble.linear=false")
    settings += ("ensemble.minimum_gain=0", "data.validation_fraction=0.05")
    result = fit(store, data, target="churn", settings=settings)
    artefact = store.load("m", 1)
    networks = artefact.model.networks
    assert len(networks) == artefact.manifest.members == 8
    assert len({network.parameters.tobytes() for network in networks}) == 8
    assert isinstance(artefact.manifest.network.layers[0], EmbeddingsSpec)
    assert result.config["ensemble"]["members"] == 8
    assert result.config["network"]["architecture"] == "realmlp"
    assert artefact.manifest.data.train_rows == len(
        splits_of(read(str(data), "churn"))[0].train
    )


def test_few_rows_and_arrays_get_one_plain_network(
    fit: Fit, store: Store, table: Callable[..., Any], write_csv: Callable[..., Path]
) -> None:
    whole = table(TOO_FEW_FOR_REALMLP - 1)
    path = write_csv({"size": whole["size"], "churn": whole["churn"]})
    fit(store, path, target="churn", settings=("train.epochs=1",))
    fit(store, "builtin:digits", settings=("train.epochs=1",))
    for version in (1, 2):
        manifest = store.load("m", version).manifest
        assert manifest.members == len(manifest.history) == 1
        assert not any(isinstance(x, EmbeddingsSpec) for x in manifest.network.layers)


@pytest.mark.long
def test_moved_images_are_read_by_a_network_that_has_seen_some(
    fit: Fit, store: Store
) -> None:
    """The default against the same network that only saw digits where they are."""
    settings = ("train.epochs=30",)
    result = fit(store, "builtin:digits", settings=settings)
    fit(store, "builtin:digits", settings=(*settings, "train.augmentation=0"))
    data = read("builtin:digits", None)
    test = split_of(data).test
    X, y = take(data.inputs, test), np.array(data.target)[test]
    moved = np.pad(X, ((0, 0), (0, 0), (1, 0)), mode="edge")[:, :, :-1]
    right = {}
    for version in (1, 2):
        model = store.load("m", version).model
        right[version] = np.mean(model.predict(moved)["label"] == y)
        assert np.mean(model.predict(X)["label"] == y) > 0.95
    assert right[1] > right[2] + 0.05
    # What moves is the training alone: the artefact answers an image as it is.
    artefact = store.load("m", 1)
    assert artefact.manifest.config["train"]["augmentation"] == 1.0
    assert artefact.manifest.inputs.encode(X).shape == (len(X), 64)
    assert result.metrics["accuracy"] == pytest.approx(
        np.mean(artefact.model.predict(X)["label"] == y)
    )


@pytest.mark.long
def test_moved_images_give_the_same_bytes_however_many_at_once(
    fit: Fit, store: Store
) -> None:
    settings = ("train.epochs=2", "ensemble.members=3")
    found = {
        fit(
            store, "builtin:digits", settings=(*settings, f"runtime.threads={n}")
        ).sha256
        for n in (1, 3)
    }
    assert len(found) == 1


def test_a_series_is_no_image(fit: Fit, store: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20, 3, 2))
    np.savez(tmp_path / "a.npz", X=X, y=X[:, 0, 0, 0] > 0)
    result = fit(store, tmp_path / "a.npz", settings=("train.epochs=1",))
    assert result.config["train"]["augmentation"] == 0.0
    assert result.config["network"]["batch_norm"] is False
    with pytest.raises(ConfigError, match="needs images"):
        fit(store, tmp_path / "a.npz", settings=("train.augmentation=1",))


@pytest.mark.parametrize("target", ["churn", "price"])
def test_figures_are_those_of_the_ensemble_on_the_test_rows(
    target: str,
    fit: Fit,
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    whole = table(200)
    kept = ("size", "colour", "member", "since", target)
    path = write_csv({name: whole[name] for name in kept})
    result = fit(store, path, target=target, settings=FIVE)
    read_back = read(str(path), target)
    artefact = store.load("m", 1)
    test = splits_of(read_back)[0].test
    answer = artefact.model.predict(take(read_back.inputs, test))
    answers = list(answer.get("value", answer.get("probabilities")))  # type: ignore[arg-type]
    truth = [whole[target][i] for i in test]
    assert result.metrics["measured_on"] == "held-out rows"
    assert result.metrics["rows"] == len(truth) > 20
    if target == "price":
        off = np.array(answers) - np.array(truth)
        assert result.metrics["rmse"] == pytest.approx(np.sqrt((off**2).mean()))
    else:
        P = np.array(answers)
        assert result.metrics["log_loss"] == pytest.approx(log_loss(truth, P[:, 1]))


@pytest.mark.parametrize("part", ["test", "validation"])
def test_no_network_sees_the_rows_that_are_measured(
    part: str, fit: Fit, store: Store, data: Path
) -> None:
    settings = (*FIVE, "train.epochs=10")
    rows = getattr(splits_of(read(str(data), "churn"))[3], part)
    assert len(rows) > 5
    fit(store, data, target="churn", model="clean", settings=settings)
    other = poisoned(data, rows)
    fit(store, other, target="churn", model="poisoned", settings=settings)
    one, two = store.load("clean", 1), store.load("poisoned", 1)
    assert one.manifest.inputs == two.manifest.inputs
    same = [
        np.array_equal(a.parameters, b.parameters) and h == i
        for a, b, h, i in zip(
            one.model.networks,
            two.model.networks,
            one.manifest.history,
            two.manifest.history,
            strict=True,
        )
    ]
    # The others were fitted to these rows, or chose their epoch by them.
    assert same == [part == "test"] * 5


def test_the_curves_are_those_of_each_network(
    fit: Fit, store: Store, data: Path
) -> None:
    result = fit(store, data, target="churn", settings=FIVE)
    history = store.load("m", 1).manifest.history
    assert len(history) == 5
    for curves in history:
        assert {name: len(curve) for name, curve in curves.items()} == {
            "loss": 6,
            "learning_rate": 6,
            "validation_loss": 6,
            "best_epoch": 1,
        }
        best = int(np.argmin(curves["validation_loss"])) + 1
        assert curves["best_epoch"] == [best]
    assert len({tuple(curves["loss"]) for curves in history}) == 5
    assert result.timing["epochs"] == 30
    splits = splits_of(read(str(data), "churn"))
    rows = result.timing["rows_per_s"] * result.timing["train_s"]
    assert rows == pytest.approx(6 * sum(len(s.train) for s in splits), rel=0.02)


def test_a_networks_validation_loss_is_that_of_its_best_epoch(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=(*FIVE, "calibrate=false"))
    whole = read(str(data), "churn")
    artefact = store.load("m", 1)
    assert whole.target is not None
    for number, split in enumerate(splits_of(whole)):
        P = alone(artefact, number).predict(take(whole.inputs, split.validation))
        truth = [whole.target[i] for i in split.validation]
        found = log_loss(truth, P["probabilities"][:, 1], labels=["no", "yes"])
        lowest = min(artefact.manifest.history[number]["validation_loss"])
        assert found == pytest.approx(lowest, rel=1e-4)


def test_the_golden_pair_is_answered_by_all_together(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=(*FIVE, "calibrate=false"))
    artefact = store.load("m", 1)
    whole = read(str(data), "churn")
    rows = take(whole.inputs, splits_of(whole)[0].test[:3])
    each = [alone(artefact, k).predict(rows)["probabilities"] for k in range(5)]
    np.testing.assert_allclose(
        [p["probabilities"] for p in artefact.manifest.golden.predictions],
        np.mean(each, axis=0),
        rtol=1e-5,
    )


def test_processes_change_no_byte_of_an_ensemble(
    fit: Fit, store: Store, data: Path
) -> None:
    found = set()
    for threads in (1, 2, 7):
        more = (*FIVE, f"runtime.threads={threads}")
        result = fit(store, data, target="churn", settings=more)
        assert result.config["runtime"]["threads"] == threads
        found.add(result.sha256)
    assert len(found) == 1


def test_the_manifest_has_the_blas_threads_of_a_lone_network(
    fit: Fit, store: Store, data: Path
) -> None:
    """They may change its last bits; one is the default."""
    for settings, runtime in (
        ((), None),
        (("runtime.threads=1",), None),
        (("runtime.threads=2",), {"threads": 2}),
    ):
        result = fit(store, data, target="churn", settings=(*FAST, *settings))
        config = store.load("m", result.version).manifest.config
        assert config.get("runtime") == runtime


def test_the_bytes_do_not_depend_on_the_cores_of_the_machine(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = set()
    for cores in (1, 3, 64):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: range(n))
        prints.add(fit(store, data, target="churn", settings=FIVE).sha256)
    assert len(prints) == 1


def test_a_network_does_not_depend_on_how_many_there_are(
    fit: Fit, store: Store, data: Path
) -> None:
    # The first of three and the first of five: the same stream, the same window.
    shares = ("data.test_fraction=0.1", "data.validation_fraction=0.1")
    for members in (3, 5):
        settings = (*FIVE, *shares, f"ensemble.members={members}")
        fit(store, data, target="churn", settings=settings)
    one, two = (store.load("m", v).model.networks for v in (1, 2))
    np.testing.assert_array_equal(one[0].parameters, two[0].parameters)
    assert not np.array_equal(one[1].parameters, two[1].parameters)


def test_the_watcher_is_told_which_network(
    store: Store, data: Path, configured: Callable[..., Any]
) -> None:
    seen: list[tuple[int, int, int]] = []
    config = configured(*FIVE)
    request = pipeline.FitRequest(str(data), "churn", "m", None, None, config, "auto")
    pipeline.run(
        request,
        store,
        Messages(print, print, print),
        lambda now: seen.append((now.number, now.count, now.history.epochs)),
    )
    for number in range(1, 6):
        told = [entry for entry in seen if entry[0] == number]
        assert told == [(number, 5, epochs) for epochs in range(1, 7)]
    assert len(seen) == 30


def test_one_network_that_diverges_fails_the_run(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run = member.make_run

    def third_fails(prepared: Any, spec: Any, number: int, *more: Any) -> Any:
        if number == 2:
            raise TrainingDiverged("the third is no longer a number")
        return make_run(prepared, spec, number, *more)

    monkeypatch.setattr(member, "make_run", third_fails)
    with pytest.raises(TrainingDiverged, match="the third"):
        fit(store, data, target="churn", settings=FIVE)
    assert not store.root.exists()


# Interrupted and resumed.


class Stopped(BaseException):
    """What ends a run from outside."""


def stop_at(number: int, epochs: int) -> Callable[[Progress], None]:
    """Return a watcher that ends the run at an epoch of a network."""

    def watch(now: Progress) -> None:
        if (now.number, now.history.epochs) == (number, epochs):
            raise Stopped

    return watch


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write every epoch down, however short it was."""
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", -1.0)
    monkeypatch.setattr(checkpoint, "SHARE_OF_TIME", 1e9)


def interrupted(fit: Fit, store: Store, data: Path, **given: Any) -> None:
    """Leave a run behind that was ended in its fourth epoch."""
    number = 2 if given["settings"] is FIVE else 1
    with pytest.raises(Stopped):
        fit(store, data, target="churn", watch=stop_at(number, 4), **given)


def checkpoints_in(store: Store) -> list[Path]:
    return sorted(store.root.glob("*/.checkpoint-*/*.npz"))


RESUMING = "resuming the interrupted run"
STARTING_ANEW = (
    "found no interrupted run with these data and settings: starting a new one"
)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("settings", [FAST, FIVE])
def test_an_interrupted_run_is_gone_on_with_to_the_same_bytes(
    settings: tuple[str, ...], fit: Fit, store: Store, data: Path, tmp_path: Path
) -> None:
    whole = fit(Store(tmp_path / "other"), data, target="churn", settings=settings)
    interrupted(fit, store, data, settings=settings)
    assert checkpoints_in(store) and store.versions("m") == []
    said: list[str] = []
    seen: list[tuple[int, int]] = []
    again = fit(
        *(store, data),
        target="churn",
        settings=settings,
        resume=True,
        say=said.append,
        watch=lambda now: seen.append((now.number, now.history.epochs)),
    )
    assert again.sha256 == whole.sha256
    assert again.timing["epochs"] == whole.timing["epochs"]
    assert RESUMING in said and STARTING_ANEW not in said
    # A process may be ahead of what was heard of it; none begins anew.
    number = 2 if settings is FIVE else 1
    assert {epochs for n, epochs in seen if n == number} <= {4, 5, 6}
    assert files(store.root) == PUBLISHED
    assert not list(store.root.glob("m/.*"))


@pytest.mark.usefixtures("at_once")
def test_without_resume_it_begins_anew(fit: Fit, store: Store, data: Path) -> None:
    interrupted(fit, store, data, settings=FAST)
    seen: list[int] = []
    watch: Any = lambda now: seen.append(now.history.epochs)  # noqa: E731
    first = fit(store, data, target="churn", settings=FAST, watch=watch)
    assert seen == [1, 2, 3, 4, 5, 6]
    again = fit(store, data, target="churn", settings=FAST)
    assert first.sha256 == again.sha256
    assert not list(store.root.glob("m/.*"))


def test_resume_with_nothing_to_go_on_from_says_so(
    fit: Fit, store: Store, data: Path
) -> None:
    said: list[str] = []
    arguments = {"target": "churn", "settings": FAST, "say": said.append}
    assert fit(store, data, resume=True, **arguments).version == 1
    assert said.count(STARTING_ANEW) == 1 and RESUMING not in said


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"settings": (*FAST, "train.weight_decay=0.02")},
        {"settings": (*FAST, "train.averaging=2")},
        {"settings": (*FAST, "network.hidden=[7]")},
        {"target": "member"},
        {"data": "changed"},
        {"validation": "given"},
        {"model": "another"},
    ],
)
def test_another_run_does_not_go_on_from_it(
    change: dict[str, Any], fit: Fit, store: Store, data: Path, tmp_path: Path
) -> None:
    interrupted(fit, store, data, settings=FAST)
    left = checkpoints_in(store)
    place = poisoned(data, [0]) if change.pop("data", None) else data
    if change.get("validation"):
        change = {"validation": str(data)}
    arguments = {"target": "churn", "settings": FAST, **change}
    said: list[str] = []
    found = fit(store, place, resume=True, say=said.append, **arguments)
    assert STARTING_ANEW in said and RESUMING not in said
    alone = fit(Store(tmp_path / "other"), place, **arguments)
    assert found.sha256 == alone.sha256
    assert checkpoints_in(store) == left  # the other may still be resumed


@pytest.mark.usefixtures("at_once")
def test_other_validation_rows_make_another_run(
    fit: Fit, store: Store, data: Path, table: Callable[..., Any]
) -> None:
    given = {"settings": FAST, "validation": str(data)}
    interrupted(fit, store, data, **given)
    valid = poisoned(data, [3])
    said: list[str] = []
    more = {"target": "churn", "resume": True, "say": said.append}
    fit(store, data, **{**given, "validation": str(valid)}, **more)
    assert STARTING_ANEW in said
    said.clear()
    fit(store, data, **given, **more)
    assert RESUMING in said


@pytest.mark.usefixtures("at_once")
def test_threads_and_promotion_do_not_make_another_run(
    fit: Fit, store: Store, data: Path
) -> None:
    interrupted(fit, store, data, settings=FIVE)
    said: list[str] = []
    more = {"settings": (*FIVE, "runtime.threads=1"), "promote": "never"}
    fit(store, data, target="churn", resume=True, say=said.append, **more)
    assert RESUMING in said


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("at", ["manifest", "dump", "load"])
def test_what_failed_after_training_is_gone_on_with_without_it(
    at: str, fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("stop here")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):  # noqa: PT012
        patched.setattr(candidate, at, fail)
        fit(store, data, target="churn", settings=FIVE)
    seen: list[Any] = []
    arguments = {"target": "churn", "settings": FIVE}
    again = fit(store, data, resume=True, watch=seen.append, **arguments)
    assert seen == []
    assert fit(store, data, **arguments).sha256 == again.sha256


@pytest.mark.usefixtures("at_once")
def test_a_full_disk_while_publishing_loses_nothing(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):  # noqa: PT012
        patched.setattr(Store, "publish", full)
        fit(store, data, target="churn", settings=FAST)
    arguments = {"target": "churn", "settings": FAST}
    again = fit(store, data, resume=True, **arguments)
    assert fit(store, data, **arguments).sha256 == again.sha256


@pytest.mark.usefixtures("at_once")
def test_damaged_checkpoints_are_said_and_begun_anew(
    fit: Fit, store: Store, data: Path
) -> None:
    interrupted(fit, store, data, settings=FIVE)
    damaged = checkpoints_in(store)
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-100])
    said: list[str] = []
    arguments = {"target": "churn", "settings": FIVE}
    again = fit(store, data, resume=True, say=said.append, **arguments)
    for path in damaged:
        sentence = f"{path} cannot be read: network {path.stem} starts anew"
        assert said.count(sentence) == 1
    assert fit(store, data, **arguments).sha256 == again.sha256


@pytest.mark.usefixtures("at_once")
def test_a_run_that_diverges_leaves_nothing_to_go_on_from(
    fit: Fit, store: Store, data: Path
) -> None:
    def break_it(now: Progress) -> None:
        if now.history.epochs == 4:
            assert checkpoints_in(store)
            raise TrainingDiverged("as if")

    with pytest.raises(TrainingDiverged):
        fit(store, data, target="churn", settings=FAST, watch=break_it)
    assert not store.root.exists()


@pytest.mark.usefixtures("at_once")
def test_where_no_checkpoint_can_be_written_the_run_goes_on(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit(store, data, target="churn", settings=FIVE).sha256

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint.np, "savez", full)
    said: list[str] = []
    result = fit(store, data, target="churn", settings=FIVE, say=said.append)
    assert result.sha256 == expected
    told = [sentence for sentence in said if "checkpoint" in sentence]
    assert len(told) == 1 and "No space left on device" in told[0]


# A limit in time.


def test_a_run_out_of_time_is_published_and_says_so(
    fit: Fit, store: Store, data: Path
) -> None:
    said: list[str] = []
    result = fit(
        *(store, data),
        target="churn",
        settings=(*LONE, "train.epochs=100000", "train.patience=100000"),
        time_limit=1.0,
        say=said.append,
    )
    epochs = result.timing["epochs"]
    assert 0 < epochs < 100_000
    sentence = f"the time limit ended training in epoch {epochs:.0f} of 100000"
    assert said.count(sentence) == 1
    manifest = store.load("m", 1).manifest
    assert manifest.recipe.reasons[-1] == sentence
    (history,) = manifest.history
    assert len(history["loss"]) == epochs
    # The rate has gone all the way down.
    assert history["learning_rate"][-1] < 0.1 * max(history["learning_rate"])


def test_time_that_is_up_before_training_is_one_step_a_network(
    fit: Fit, store: Store, data: Path
) -> None:
    result = fit(store, data, target="churn", settings=FIVE, time_limit=1e-9)
    assert result.timing["epochs"] == 5
    reasons = store.load("m", 1).manifest.recipe.reasons
    assert reasons[-1].endswith("ended training in epoch 1, 1, 1, 1, 1 of 6")


def test_reading_takes_its_part_of_the_limit(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def slow(*arguments: Any) -> Any:
        time.sleep(0.2)
        return read(*arguments)

    def learned(*arguments: Any) -> Any:
        limits.append(arguments[5])
        return ensemble.fit_members(*arguments)

    monkeypatch.setattr(candidate, "read", slow)
    monkeypatch.setattr(candidate, "fit_members", learned)
    fit(store, data, target="churn", settings=FAST, time_limit=100.0)
    assert 0.0 < limits[0] <= 99.8


def test_a_limit_that_is_far_changes_no_byte(
    fit: Fit, store: Store, data: Path
) -> None:
    found = {
        fit(store, data, target="churn", settings=FIVE, **more).sha256
        for more in ({}, {"time_limit": 1e6})
    }
    assert len(found) == 1


def test_a_run_that_was_overtaken_is_compared_again(
    fit: Fit, store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(store, data, target="churn", settings=FAST)
    decide, compared, said = pipeline.gate.decide, [], []

    def overtaken(*arguments: Any) -> Any:
        verdict = decide(*arguments)
        compared.append(arguments[3].version)
        if len(compared) == 1:  # another run publishes between verdict and label
            content = store.path("m", 1).read_bytes()
            store.publish("m", {ARTEFACT: content}, PRODUCTION)
        return verdict

    monkeypatch.setattr(pipeline.gate, "decide", overtaken)
    result = fit(store, data, target="churn", settings=FAST, say=said.append)
    assert compared == [1, 2] and result.version == 3
    assert sum("production of model 'm' has become version 2" in s for s in said) == 1


def test_damaged_labels_end_a_run_before_it_trains(
    fit: Fit, store: Store, data: Path
) -> None:
    fit(store, data, target="churn", settings=FAST)
    (store.root / "m" / "labels.json").write_text("{")
    with pytest.raises(ArtefactCorrupt, match=r"labels\.json"):
        fit(store, data, target="churn", settings=FAST)
    assert store.versions("m") == [1]


def test_run_json_names_the_machine_and_blas_of_each_network(
    fit: Fit, tmp_path: Path, people_csv: Path
) -> None:
    settings = ("train.epochs=1", "ensemble.members=2")
    fit(tmp_path, people_csv, target="Status", settings=settings)
    run = json.loads(Store(tmp_path).read_attachment("m", 1, RUN) or b"")
    (one, other) = run["networks"]
    kernel = find_blas().kernel
    assert one == other and one.startswith(f"{platform.node()}: ")
    assert f" {kernel}, 1 thread" in one
    assert run["timing"]["epochs"] == 2


def test_networks_with_files_of_their_own_are_the_same_of_one_or_two_processes(
    fit: Fit,
    store: Store,
    table: Callable[..., Any],
    write_parquet: Callable[..., Path],
) -> None:
    for number in range(6):
        path = write_parquet(table(80, seed=number), f"rows/part-{number}.parquet")
    settings = (*REAL, "train.epochs=4", "data.partitions=members")
    results = [
        fit(
            store,
            path.parent,
            target="churn",
            model=f"m{threads}",
            settings=(*settings, f"runtime.threads={threads}"),
        )
        for threads in (1, 2)
    ]
    assert results[0].sha256 == results[1].sha256
    manifest = store.load("m1", 1).manifest
    said = "each of 5 networks learns 1 or 2 of the 6 files"
    assert any(reason.startswith(said) for reason in manifest.recipe.reasons)
    assert manifest.metrics["measured_on"] == "held-out rows"
    whole = fit(store, path.parent, target="churn", settings=settings[:-1])
    assert whole.sha256 != results[0].sha256
    assert whole.data == manifest.data and whole.baselines == manifest.baselines


@pytest.mark.parametrize("settings", [FAST, FIVE], ids=["one network", "five"])
def test_a_table_on_disk_gives_the_bytes_of_one_in_memory(
    settings: tuple[str, ...],
    fit: Fit,
    store: Store,
    table: Callable[..., Any],
    write_parquet: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where rows are read in several blocks and shuffled in several windows."""
    monkeypatch.setattr(row_order, "BLOCK", 8)
    monkeypatch.setattr(row_order, "WINDOW", 64)
    monkeypatch.setattr(inputs, "BLOCK", 50)
    for number in range(3):
        rows = table(150, seed=number)
        del rows["level"], rows["price"]
        rows["churn"][number] = None
        path = write_parquet(rows, f"rows/part-{number}.parquet")
    found = {
        fit(
            store,
            path.parent,
            target="churn",
            model=name,
            settings=(*settings, f"runtime.streaming={name}"),
        ).sha256
        for name in ("true", "false")
    }
    assert len(found) == 1

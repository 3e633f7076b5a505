"""Each row is answered by networks that have not learnt it, whoever made them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.model import Model
from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from trainer.data import Dataset, join, read, take
from trainer.data.row_hashing import count_occurrences, hash_rows, rehash_duplicates
from trainer.evaluation.metrics import classification
from trainer.evaluation.paired_comparison import out_of_fold

QUICK = (
    "ensemble.members=5",
    "network.architecture=realmlp",
    "network.hidden=[8]",
    "train.epochs=2",
)


@pytest.fixture
def ensemble(
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> Callable[..., tuple[Artefact, Dataset]]:
    """Fit some networks to a table; return the artefact and the data."""

    def make(target: str, *settings: str) -> tuple[Artefact, Dataset]:
        kept = ("size", "colour", "member", "since", target)
        path = write_csv({name: table(150)[name] for name in kept})
        settings = (*QUICK, *settings)
        fit(store, path, target=target, settings=settings)
        return store.load("m", 1), read(str(path), target)

    return make


def one_by_one(artefact: Artefact, raw: Any) -> list[dict[str, Any]]:
    """Return what each network answers alone."""
    model = artefact.model
    return [
        Model(model.inputs, [network], model.output).predict(raw)
        for network in model.networks
    ]


@pytest.mark.parametrize("target", ["churn", "level", "price"])
def test_each_row_is_answered_by_the_network_that_held_it_out(
    target: str, ensemble: Callable[..., tuple[Artefact, Dataset]]
) -> None:
    artefact, data = ensemble(target)
    alone = one_by_one(artefact, data.inputs)
    assert len(alone) == 5
    # Five windows of a fifth, half of each measured on and half for the epoch.
    holder = np.floor(5 * hash_rows(data.inputs)).astype(int)
    assert set(holder.tolist()) == set(range(5))
    found = out_of_fold(artefact, data.inputs)
    for name, values in found.items():
        expected = np.array([alone[k][name][i] for i, k in enumerate(holder)])
        if values.dtype == object:
            assert values.tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(values, expected, rtol=1e-5)
            together = artefact.model.predict(data.inputs)[name]
            assert not np.allclose(values, together, rtol=1e-3)


def test_rows_that_no_network_held_out_are_answered_by_all(
    ensemble: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = ensemble("price", "ensemble.members=2")
    alone = one_by_one(artefact, data.inputs)
    where = hash_rows(data.inputs)
    found = out_of_fold(artefact, data.inputs)["value"]
    first, second = where < 0.2, (where >= 0.5) & (where < 0.7)
    neither = ~first & ~second
    assert first.any() and second.any() and neither.any()
    for rows, expected in (
        (first, alone[0]["value"]),
        (second, alone[1]["value"]),
        (neither, artefact.model.predict(data.inputs)["value"]),
    ):
        np.testing.assert_allclose(found[rows], expected[rows], rtol=1e-5)


def test_a_network_to_be_measured_goes_before_one_that_chose_its_epoch(
    ensemble: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = ensemble(
        "price", "data.test_fraction=0.2", "data.validation_fraction=0.2"
    )
    alone = one_by_one(artefact, data.inputs)
    holder = np.floor(5 * hash_rows(data.inputs)).astype(int)
    expected = [alone[k]["value"][i] for i, k in enumerate(holder)]
    found = out_of_fold(artefact, data.inputs)["value"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_network_answers_whole(
    ensemble: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = ensemble("price", "ensemble.members=1")
    np.testing.assert_array_equal(
        out_of_fold(artefact, data.inputs)["value"],
        artefact.model.predict(data.inputs)["value"],
    )


def test_the_holder_is_found_among_other_rows_and_columns(
    ensemble: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = ensemble("price")
    whole = out_of_fold(artefact, data.inputs)["value"]
    order = np.random.default_rng(0).permutation(150)[:40]
    some = take(data.inputs, order)
    assert isinstance(some, dict)
    # A column of tomorrow's, in front of the others.
    wider = {"also": np.arange(40.0), **some}
    np.testing.assert_allclose(
        out_of_fold(artefact, wider)["value"], whole[order], rtol=1e-5
    )
    twice = out_of_fold(artefact, join([some, some]))["value"]
    np.testing.assert_allclose(twice, np.tile(whole[order], 2), rtol=1e-5)


@pytest.mark.parametrize("target", ["churn", "price"])
def test_against_itself_an_ensemble_is_exactly_as_good(
    target: str,
    ensemble: Callable[..., tuple[Artefact, Dataset]],
    fit: Callable[..., Any],
    store: Store,
    tmp_path: Path,
) -> None:
    ensemble(target)
    again = fit(store, tmp_path / "data.csv", target=target, settings=QUICK)
    name = "rmse" if target == "price" else "log_loss"
    figure = f"{again.metrics[name]:.6g}"
    assert again.promoted
    assert again.reason.startswith(
        f"at least as good: {name} {figure}, production {figure}, on 67 held-out rows "
        "(95% interval of the difference: 0 to 0)"
    )


# Rows divided by group, in time, or by chance.


@pytest.fixture
def grouped(
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> Callable[..., tuple[Artefact, Dataset, Path]]:
    """Fit some networks to a table with groups and times, or with words alone."""

    def make(
        *settings: str, words: bool = False, groups: int = 200
    ) -> tuple[Artefact, Dataset, Path]:
        whole = table(400)
        names = ["colour", "member"] if words else ["size", "colour", "member"]
        kept = {name: whole[name] for name in [*names, "churn"]}
        if not words:
            kept["g"] = [f"g{7 * i % groups}" for i in range(400)]
            kept["t"] = list(range(400))
        path = write_csv(kept)
        fit(store, path, target="churn", settings=(*QUICK, *settings))
        return store.load("m", 1), read(str(path), "churn"), path

    return make


@pytest.mark.parametrize("groups", [20, 200])
def test_each_group_is_answered_by_the_network_that_held_it_out(
    groups: int, grouped: Callable[..., tuple[Artefact, Dataset, Path]]
) -> None:
    artefact, data, _ = grouped("data.group=g", groups=groups)
    assert isinstance(data.inputs, dict)
    names = list(data.inputs["g"])
    where = hash_rows({"g": names})
    if groups < 100:
        # Few groups are spaced evenly in the order of their places.
        order = sorted(set(where.tolist()))
        where = np.array([(order.index(w) + 0.382) / groups for w in where])
    holder = np.floor(5 * where).astype(int)
    assert set(holder.tolist()) == set(range(5))
    inputs = {name: data.inputs[name] for name in artefact.manifest.inputs.by_name}  # type: ignore[union-attr]
    alone = one_by_one(artefact, inputs)
    found = out_of_fold(artefact, inputs, {"g": names})["probabilities"]
    expected = [alone[k]["probabilities"][i] for i, k in enumerate(holder)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Rows that do not name their group are answered by all.
    np.testing.assert_array_equal(
        out_of_fold(artefact, inputs)["probabilities"],
        artefact.model.predict(inputs)["probabilities"],
    )


def test_rows_of_one_time_are_answered_by_all_networks(
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
) -> None:
    artefact, data, _ = grouped("data.time=t")
    assert len(artefact.model.networks) == 5
    np.testing.assert_array_equal(
        out_of_fold(artefact, data.inputs)["probabilities"],
        artefact.model.predict(data.inputs)["probabilities"],
    )


def test_figures_in_time_are_those_of_all_networks(
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
) -> None:
    artefact, data, _ = grouped("data.time=t")
    last = np.arange(340, 400)
    metrics = artefact.manifest.metrics
    assert metrics["rows"] == len(last)
    assert isinstance(data.inputs, dict) and data.target is not None
    P = artefact.model.predict(take(data.inputs, last))["probabilities"]
    target = np.array([data.target[i] == "yes" for i in last], int)
    assert metrics["log_loss"] == pytest.approx(classification(P, target)["log_loss"])


def test_rows_too_alike_are_answered_by_the_network_that_held_them_out(
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
) -> None:
    artefact, data, _ = grouped(words=True)
    salt = artefact.manifest.recipe.split_seed
    turn = count_occurrences(hash_rows(data.inputs))
    holder = np.floor(5 * rehash_duplicates(hash_rows(data.inputs), turn, salt)).astype(
        int
    )
    alone = one_by_one(artefact, data.inputs)
    found = out_of_fold(artefact, data.inputs, {}, turn)["probabilities"]
    expected = [alone[k]["probabilities"][i] for i, k in enumerate(holder)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("data.group=g",), False),
        (("data.time=t",), False),
        (("data.weight=t", "data.group=g"), False),
        ((), True),
    ],
)
@pytest.mark.parametrize("groups", [20, 200])
def test_however_divided_an_ensemble_is_exactly_as_good_as_itself(
    settings: tuple[str, ...],
    words: bool,
    groups: int,
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
    fit: Callable[..., Any],
    store: Store,
) -> None:
    _, _, path = grouped(*settings, words=words, groups=groups)
    again = fit(store, path, target="churn", settings=(*QUICK, *settings))
    figure = f"{again.metrics['log_loss']:.6g}"
    assert again.promoted
    assert f"log_loss {figure} against {figure} of production" in again.reason


@pytest.mark.parametrize("shares", [(), ("data.test_fraction=0",)])
def test_with_validation_rows_given_an_ensemble_is_as_good_as_itself(
    shares: tuple[str, ...],
    grouped: Callable[..., tuple[Artefact, Dataset, Path]],
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    _, _, path = grouped(words=True)
    other = {name: table(80, 1)[name] for name in ("colour", "member", "churn")}
    valid = str(write_csv(other, "valid.csv"))
    given = {"target": "churn", "settings": (*QUICK, *shares), "validation": valid}
    fit(store, path, promote="always", **given)
    again = fit(store, path, **given)
    figure = f"{again.metrics['log_loss']:.6g}"
    assert again.promoted
    assert f"log_loss {figure} against {figure} of production" in again.reason

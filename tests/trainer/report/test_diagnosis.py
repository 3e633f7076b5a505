"""Each problem is found in a run that has it, and none in a sound run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.training import member
from trainer.training.loop import TrainingRun

MLP = "network.architecture=mlp"
#: Enough rows for the figures that they are no chance.
MANY = "data.test_fraction=0.3"


@pytest.fixture
def spoilt(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[TrainingRun], None]], None]:
    """Do something to every network before its first step."""

    def spoil(change: Callable[[TrainingRun], None]) -> None:
        make = member.make_run

        def spoilt(*arguments: Any) -> TrainingRun:
            run = make(*arguments)
            change(run)
            return run

        monkeypatch.setattr(member, "make_run", spoilt)

    return spoil


@pytest.fixture
def rewritten(tmp_path: Path, people_csv: Path) -> Callable[..., Path]:
    """The people with a column made anew from the others."""

    def rewrite(column: str, make: Callable[[dict[str, list[str]]], list[str]]) -> Path:
        with people_csv.open(newline="") as file:
            rows = list(csv.DictReader(file))
        table = {name: [row[name] for row in rows] for name in rows[0]}
        table[column] = make(table)
        path = tmp_path / "rewritten.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))
        return path

    return rewrite


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ("people", ("train.epochs=30",)),
        ("people", ("train.epochs=30", MLP)),
        ("builtin:digits", ("train.epochs=12", "network.hidden=[32]")),
        ("builtin:xor", ("train.epochs=200",)),
    ],
)
def test_a_sound_run_has_no_problems(
    recorded: Callable[..., Any], people_csv: Path, data: str, settings: tuple[str, ...]
) -> None:
    source = people_csv if data == "people" else data
    target = "Status" if data == "people" else None
    found = recorded(source, *settings, target=target)
    assert found.problems == {}


def test_dead_relus_are_found(
    recorded: Callable[..., Any], people_csv: Path, spoilt: Callable[..., None]
) -> None:
    def kill(run: TrainingRun) -> None:
        run.network.layers[2].b[...] = -1e3  # type: ignore[attr-defined]

    spoilt(kill)
    found = recorded(people_csv, MLP, target="Status")
    assert (
        "100% of the units of layer hidden 2 (relu) are dead" in found.problems["dead"]
    )
    assert "hidden 1" not in found.problems["dead"]


@pytest.mark.parametrize(
    ("settings", "rate"), [((MLP,), "0.2"), (("train.epochs=6",), "4")]
)
def test_a_learning_rate_a_hundred_times_too_high_is_found(
    recorded: Callable[..., Any], people_csv: Path, settings: tuple[str, ...], rate: str
) -> None:
    own = recorded(people_csv, *settings, target="Status")
    given = own.artefact.manifest.config["train"]["learning_rate"]
    assert given * 100 == pytest.approx(float(rate)) and own.problems == {}
    high = recorded(
        people_csv, *settings, f"train.learning_rate={rate}", target="Status"
    )
    assert f"The learning rate ({rate}) is too high" in high.problems["learning_rate"]
    assert f"Try train.learning_rate={given:.2g}" in high.problems["learning_rate"]


def test_saturated_sigmoids_are_found(
    recorded: Callable[..., Any], people_csv: Path, spoilt: Callable[..., None]
) -> None:
    def stretch(run: TrainingRun) -> None:
        run.network.layers[0].W[...] *= 300.0  # type: ignore[attr-defined]

    settings = (MLP, "network.activation=sigmoid")
    honest = recorded(people_csv, *settings, target="Status")
    assert "saturated" not in honest.problems
    spoilt(stretch)
    found = recorded(people_csv, *settings, target="Status")
    assert "Layer hidden 1 (sigmoid) is saturated" in found.problems["saturated"]


def test_a_column_that_leaks_is_found(
    recorded: Callable[..., Any], rewritten: Callable[..., Path]
) -> None:
    data = rewritten("decided", lambda table: [s.upper() for s in table["Status"]])
    found = recorded(data, target="Status")
    assert set(found.problems) == {"leak"}
    assert (
        "column 'decided' alone explains 100.0% of target 'Status'"
        in found.problems["leak"]
    )
    assert "so the metrics are too good" in found.problems["leak"]


def test_shuffled_classes_have_no_signal(
    recorded: Callable[..., Any], rewritten: Callable[..., Path]
) -> None:
    def shuffle(table: dict[str, list[str]]) -> list[str]:
        order = np.random.default_rng(0).permutation(len(table["Status"]))
        return [table["Status"][i] for i in order]

    settings = ("train.epochs=20", MANY)
    found = recorded(rewritten("Status", shuffle), *settings, target="Status")
    assert (
        "the columns say almost nothing about 'Status'" in found.problems["no_signal"]
    )
    assert "a join or a sort may have mixed them up" in found.problems["no_signal"]


def test_a_random_number_has_no_signal(
    recorded: Callable[..., Any], rewritten: Callable[..., Path]
) -> None:
    def noise(table: dict[str, list[str]]) -> list[str]:
        values = np.random.default_rng(99).normal(size=len(table["Status"]))
        return [f"{value:.4f}" for value in values]

    settings = ("train.epochs=12", MANY)
    found = recorded(rewritten("noise", noise), *settings, target="noise")
    assert "always predicting the mean" in found.problems["no_signal"]


def test_a_vanishing_gradient_is_found(
    recorded: Callable[..., Any], people_csv: Path
) -> None:
    settings = (MLP, "network.activation=sigmoid", f"network.hidden={[16] * 12}")
    found = recorded(people_csv, *settings, target="Status")
    assert "The gradient vanishes" in found.problems["vanished"]


def test_overfitting_is_found(
    recorded: Callable[..., Any], rewritten: Callable[..., Path]
) -> None:
    def coin(table: dict[str, list[str]]) -> list[str]:
        return (
            np.random.default_rng(0).choice(["a", "b"], len(table["Status"])).tolist()
        )

    settings = (MLP, "train.epochs=60", "train.patience=60", "train.learning_rate=0.01")
    found = recorded(rewritten("coin", coin), *settings, target="coin")
    assert "The network overfits after its best epoch" in found.problems["overfitted"]


def test_a_problem_of_several_networks_is_reported_once(
    recorded: Callable[..., Any], people_csv: Path, spoilt: Callable[..., None]
) -> None:
    def kill(run: TrainingRun) -> None:
        run.network.layers[2].b[...] = -1e3  # type: ignore[attr-defined]

    spoilt(kill)
    settings = (MLP, "ensemble.members=2")
    found = recorded(people_csv, *settings, target="Status")
    assert found.problems["dead"].count("are dead") == 1
    assert "(2 of 2 networks)" in found.problems["dead"]

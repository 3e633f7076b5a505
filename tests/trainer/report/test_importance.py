"""What counts is told from what does not, by both measures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from models.model import Model
from trainer.preparation.prepare import Part
from trainer.report import importance
from trainer.report.importance import (
    MAX_SHUFFLED_COLUMNS,
    column_importances,
    evenly_spaced_rows,
    input_names,
)


@pytest.fixture
def linear(tmp_path: Path) -> Callable[[int], Path]:
    """y = 3 a + b + 0 c, with more columns of nothing."""

    def write(more: int) -> Path:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 3 + more))
        y = 3 * X[:, 0] + X[:, 1]
        path = tmp_path / "linear.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*"abc", *(f"n{i}" for i in range(more)), "y"])
            writer.writerows(np.column_stack([X, y]).round(4).tolist())
        return path

    return write


def test_the_order_is_that_of_what_is_true(
    recorded: Callable[..., Any], linear: Callable[[int], Path]
) -> None:
    """Shuffled, a column of weight w costs √2 |w| of root mean squared error."""
    settings = ("train.epochs=60", "network.architecture=mlp")
    found = recorded(linear(0), *settings, target="y").record.weights
    assert [weight.name for weight in found] == ["a", "b", "c"]
    a, b, c = found
    assert a.permutation == pytest.approx(3 * 2**0.5, rel=0.25)
    assert b.permutation == pytest.approx(2**0.5, rel=0.35)
    assert abs(c.permutation) < 0.1 * b.permutation
    assert a.gradient == pytest.approx(3 * (2 / np.pi) ** 0.5, rel=0.35)
    assert c.gradient < 0.1 * a.gradient


def test_of_many_columns_the_strongest_are_shuffled(
    recorded: Callable[..., Any], linear: Callable[[int], Path]
) -> None:
    found = recorded(linear(40), "network.architecture=mlp", target="y").record.weights
    assert len(found) == 43 and found[0].name == "a"
    shuffled = [weight.permutation is not None for weight in found]
    assert shuffled == [True] * MAX_SHUFFLED_COLUMNS + [False] * 13


def test_features_of_a_matrix_are_columns(
    recorded: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    np.savez(tmp_path / "m.npz", X=X, y=(X[:, 1] > 0).astype(int))
    run = recorded(tmp_path / "m.npz", "train.epochs=30")
    assert run.record.weights[0].name == "x[1]"
    assert sorted(input_names(run.artefact.model.inputs)) == ["x[0]", "x[1]", "x[2]"]


def test_shuffling_moves_no_other_column() -> None:
    raw = {"a": np.arange(5.0), "b": list("abcde")}
    dealt = importance.with_column(raw, "b", 1, list("edcba"))
    assert dealt["b"] == list("edcba") and dealt["a"] is raw["a"]
    matrix = np.arange(10.0).reshape(5, 2)
    dealt = importance.with_column(matrix, "x[1]", 1, matrix[::-1, 1])
    assert dealt[:, 1].tolist() == [9, 7, 5, 3, 1] and dealt[:, 0].tolist() == [
        0,
        2,
        4,
        6,
        8,
    ]
    assert matrix[0, 1] == 1.0
    assert importance.column_values(matrix, "x[1]", 1).tolist() == [1, 3, 5, 7, 9]


def test_rows_are_taken_from_all_of_a_part() -> None:
    part = Part({"a": np.arange(100.0)}, np.arange(100))
    some = evenly_spaced_rows(part, 5)
    assert some.raw["a"].tolist() == some.target.tolist()
    assert (some.target[0], some.target[-1], len(some)) == (0, 99, 5)
    assert len(evenly_spaced_rows(part, 1000)) == 100


def test_the_same_run_has_the_same_weights(runs: dict[str, Any]) -> None:
    run = runs["two"]
    model: Model = run.artefact.model
    golden = run.artefact.manifest.golden.instances
    raw = model.decoder.rows(msgspec.json.encode(golden))
    part = Part(raw, np.zeros(len(golden), int))
    first = column_importances(run.artefact, part)
    assert first == column_importances(run.artefact, part)

"""Two versions side by side."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from rich.console import Console

from models.storage.directory import DirectoryStore as Store
from trainer.inspection.version_diff import better, compare, same_rows_note, table

Command = Callable[..., Result]


@pytest.fixture
def second(published: Path, command: Command) -> str:
    """A second version of `churn`, of another recipe and a column less."""
    data = published / "churn.csv"
    lines = [line.split(",") for line in data.read_text().splitlines()]
    place = lines[0].index("member")
    lines = [cells[:place] + cells[place + 1 :] for cells in lines]
    other = published.parent / "less.csv"
    other.write_text("\n".join(",".join(cells) for cells in lines))
    fit = ["fit", other, "--target", "churn", "--model", "churn", "--epochs", "20"]
    fit += ["--set", "network.architecture=mlp"]
    command(*fit, "--set", "train.optimizer=momentum", "--promote", "always")
    return "churn@2"


def test_figures_are_all_there_and_else_what_differs(
    second: str, store: Store, command: Command
) -> None:
    found = json.loads(command("compare", "churn@1", second, "--json").stdout)
    assert found["versions"] == ["churn@1", "churn@2"]
    metrics = [store.load("churn", v).manifest.metrics for v in (1, 2)]
    for name, values in found["figures"].items():
        assert values == [metrics[0][name], metrics[1][name]]
    assert found["columns"] == {"member": ["boolean", None]}
    assert found["settings"]["train.optimizer"][1] == "momentum"
    assert "network.hidden" not in found["settings"]
    assert found["data"]["sha256"][0] != found["data"]["sha256"][1]
    epochs = [len(store.load("churn", v).manifest.history[0]["loss"]) for v in (1, 2)]
    assert found["network"]["epochs"] == epochs


def test_people_get_a_table_and_a_same_rows_note(second: str, command: Command) -> None:
    shown = command("compare", "churn@1", "churn:production")
    for text in ("churn@1", "churn@2", "log_loss", "train.optimizer", "momentum"):
        assert text in shown.stdout
    assert "different rows" in shown.stderr


def test_a_version_does_not_differ_from_itself(
    published: Path, store: Store, command: Command
) -> None:
    one = store.load("churn", 1)
    assert list(compare(one, one)) == ["figures"]
    assert same_rows_note(one, one) == "Both were measured on the same rows."
    command("compare", "churn", "nothing", code=1)


def test_a_table_and_an_array_are_compared_too(
    published: Path, store: Store, command: Command, tmp_path: Path
) -> None:
    X = np.random.default_rng(0).normal(size=(50, 2))
    np.savez(tmp_path / "x.npz", X=X, y=X[:, 0] > 0)
    command("fit", tmp_path / "x.npz", "--model", "x", "--epochs", "3")
    found = compare(store.load("churn", 1), store.load("x", 1))
    assert found["columns"]["x"] == [None, "shape [2]"]
    assert found["columns"]["size"] == ["numeric", None]


@pytest.mark.parametrize(
    ("name", "values", "which"),
    [
        ("log_loss", [0.4, 0.3], 1),
        ("accuracy", [0.9, 0.8], 0),
        ("auc", [0.9, 0.9], None),
        ("rmse", [None, 2.0], None),
        ("rows", [10, 20], None),
        ("measured_on", ["a", "b"], None),
    ],
)
def test_better_is_lower_or_higher(
    name: str, values: list[object], which: int | None
) -> None:
    assert better(name, values) == which


def test_names_are_no_markup() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(("a", "b"), {"columns": {"[red]x[/red]": ["[b]", None]}}))
    assert "[red]x[/red]" in console.export_text()

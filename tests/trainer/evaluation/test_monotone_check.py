"""Directions of columns from end to end: kept where rows bear them out, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.directory import DirectoryStore
from trainer.evaluation.monotone_check import TOLERANCE

SMALL = ["ensemble.members=4", "network.hidden=[32, 32]"]


def rows(seed: int, task: str, n: int = 300) -> dict[str, Any]:
    """A noisy table whose truth rises with `dose` and falls with `age`."""
    rng = np.random.default_rng(seed)
    dose, age, other = rng.uniform(0, 4, n), rng.uniform(20, 80, n), rng.normal(size=n)
    score = np.log1p(3 * dose) * (1.5 + np.sin(other)) - (age / 40) ** 2
    if task == "regression":
        y = (score + rng.normal(size=n)).round(4).tolist()
    else:
        up = rng.logistic(size=n) < score - np.median(score)
        y = np.where(up, "yes", "no").tolist()
    missing = rng.random(n) < 0.1
    return {
        "dose": [None if m else x for m, x in zip(missing, dose.round(4), strict=True)],
        "age": age.round(1).tolist(),
        "other": other.round(4).tolist(),
        "y": y,
    }


@pytest.mark.parametrize("task", ["regression", "binary"])
@pytest.mark.parametrize("seed", [0, 1])
def test_fresh_rows_rise_and_fall_as_asked(
    command: Callable[..., Any],
    write_csv: Callable[..., Path],
    store: DirectoryStore,
    task: str,
    seed: int,
) -> None:
    path = write_csv(rows(seed, task))
    settings = [
        *SMALL,
        "data.columns.dose.monotone=up",
        "data.columns.age.monotone=down",
    ]
    given = [word for text in settings for word in ("--set", text)]
    command("fit", path, "--target", "y", "--model", "m", *given)
    model = store.load("m", 1).model
    fresh = rows(seed + 100, task, 50)
    raw: dict[str, Any] = {
        n: np.array([np.nan if x is None else x for x in fresh[n]])
        for n in ("dose", "age", "other")
    }
    for name, sign, low, high in (("dose", 1, 0.1, 3.9), ("age", -1, 21, 79)):
        answers = []
        for value in np.linspace(low, high, 60):
            found = model.predict({**raw, name: np.full(50, value)})
            value = found.get("value")
            answers.append(found["probabilities"][:, 1] if value is None else value)
        A = sign * np.stack(answers)
        unit = getattr(model.output, "std", 1.0)
        # Fresh rows and other values than those of the check: twice its tolerance.
        assert (np.maximum.accumulate(A) - A).max() < 2 * TOLERANCE * unit


def test_the_report_names_the_direction_of_a_curve(
    command: Callable[..., Any], write_csv: Callable[..., Path], store: DirectoryStore
) -> None:
    path = write_csv(rows(2, "regression"))
    settings = [*SMALL, "data.columns.dose.monotone=up", "runtime.report=true"]
    given = [word for text in settings for word in ("--set", text)]
    command("fit", path, "--target", "y", "--model", "m", *given)
    page = (store.root / "m" / "1" / "report.html").read_text()
    assert page.count("As asked, the answer only rises.") == 1


def waves(write_csv: Callable[..., Path]) -> Path:
    """Write a table whose target rises and falls with `x`."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, 600)
    return write_csv({"x": x.tolist(), "y": (5 * np.sin(3 * x)).tolist()})


def fit_waves(*settings: str) -> list[str]:
    given = [*SMALL, "data.columns.x.monotone=up", *settings]
    words = [word for text in given for word in ("--set", text)]
    return ["--target", "y", "--model", "m", *words]


def test_the_best_rising_answer_is_found_where_the_truth_rises_and_falls(
    command: Callable[..., Any], write_csv: Callable[..., Path], store: DirectoryStore
) -> None:
    command("fit", waves(write_csv), *fit_waves())
    # The best one explains 0.4 of the variance, and a line 0.06.
    assert store.load("m", 1).manifest.metrics["r2"] > 0.15


def test_networks_that_do_not_keep_the_direction_are_not_published(
    command: Callable[..., Any], write_csv: Callable[..., Path], store: DirectoryStore
) -> None:
    untaught = fit_waves("train.learning_rate=1e-9")
    result = command("fit", waves(write_csv), *untaught, code=1)
    assert "data.columns.x.monotone=up is not kept: the answer falls" in result.output
    assert store.versions("m") == []

"""Figures and gate on tables of known truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import DataError
from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from tests.trainer.generated import TASKS, WAYS, Law, broken
from trainer.data import source
from trainer.evaluation.metrics import PRIMARY
from trainer.inspection.batch_inference import evaluate

FRESH = 20_000
FAST = ("preset=fast", "gate.baseline=true", "gate.minimum_rows=20")


class Nights:
    """Fits tables of one law in a store of their own."""

    def __init__(self, law: Law, folder: Path, fit: Callable[..., Any]) -> None:
        self.law, self.folder, self.fit = law, folder, fit
        self.store = Store(folder / "store")
        pl.DataFrame(law.rows(FRESH, 99)).write_csv(folder / "fresh.csv")

    def night(self, table: dict[str, list[Any]], *settings: str) -> Any:
        """Fit a table as `trainer fit` does."""
        pl.DataFrame(table).write_csv(self.folder / "night.csv")
        return self.fit(
            self.store,
            self.folder / "night.csv",
            target="y",
            settings=(*FAST, *settings),
        )

    def truth(self, version: int) -> float:
        """Return the primary metric of a version on fresh rows."""
        artefact: Artefact = self.store.load("m", version)
        figures = evaluate(artefact, source(str(self.folder / "fresh.csv")))
        return float(figures.metrics[PRIMARY[self.law.task]])


def sizes(n: int) -> list[int]:
    return np.geomspace(200, 5000, n).round().astype(int).tolist()


def reported(
    tables: int, folder: Path, fit: Callable[..., Any]
) -> tuple[int, list[float]]:
    """Return how many intervals hold the truth, and the relative errors."""
    held, errors = 0, []
    for number, size in enumerate(sizes(tables)):
        law = Law(TASKS[number % 3], 1000 + number)
        (folder / str(number)).mkdir()
        nights = Nights(law, folder / str(number), fit)
        result = nights.night(law.rows(size, 0))
        name, truth = PRIMARY[law.task], nights.truth(1)
        low, high = result.intervals[name]
        held += low <= truth <= high
        errors.append(result.metrics[name] / truth - 1.0)
    return held, errors


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_intervals_hold_the_truth_and_figures_are_unbiased(
    tmp_path: Path, fit: Callable[..., Any]
) -> None:
    held, errors = reported(40, tmp_path, fit)
    assert held >= 36
    assert abs(np.mean(errors)) <= 0.02


@pytest.mark.parametrize(
    ("task", "ways"),
    [
        (TASKS[0], WAYS[0::3]),
        pytest.param(TASKS[1], WAYS[1::3], marks=pytest.mark.long),
        pytest.param(TASKS[2], WAYS[2::3], marks=pytest.mark.long),
    ],
)
def test_broken_nights_are_refused(
    task: str, ways: tuple[str, ...], tmp_path: Path, fit: Callable[..., Any]
) -> None:
    law = Law(task, 5)
    nights = Nights(law, tmp_path, fit)
    quick = ("train.epochs=8", "ensemble.members=1")
    assert nights.night(law.rows(600, 0), *quick).promoted
    for number, way in enumerate(ways):
        table = broken(law.rows(600, 1), way, number)
        try:
            result = nights.night(table, *quick)
        except DataError:  # promotes nothing either
            continue
        assert not result.promoted, (way, result.reason)

"""Shared fixtures: small data, fitted models, a store to serve."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.store import Store
from trainer import config
from trainer.job import Request, Result
from trainer.job import fit as run_fit

Fit = Callable[..., Result]


def write_csv(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write columns as CSV; None becomes an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if value is None else value for value in row])
    return path


def people(n: int = 300, seed: int = 0) -> dict[str, list[Any]]:
    """A table of every column kind, with missing values, and a target it explains."""
    rng = np.random.default_rng(seed)
    income = rng.normal(50, 15, n)
    home = rng.choice(["owner", "rent", "parents"], n)
    member = rng.random(n) < 0.5
    day = rng.integers(0, 700, n)
    score = (income - 50) / 15 + (home == "owner") + 0.8 * member
    target = np.where(score + rng.normal(0, 0.3, n) > 0.7, "good", "bad")
    since = np.datetime64("2024-01-01") + day
    return {
        "income": [None if rng.random() < 0.1 else round(x, 2) for x in income],
        "home": [None if rng.random() < 0.1 else str(x) for x in home],
        "member": [bool(x) for x in member],
        "since": [str(x) for x in since],
        "children": [int(x) for x in rng.integers(0, 4, n)],
        "Status": [str(x) for x in target],
    }


@pytest.fixture(scope="session")
def fit() -> Fit:
    """Fit and publish like `trainer fit`; settings as for --set."""

    def fit(
        store: Path | Store,
        data: str | Path,
        *,
        target: str | None = None,
        model: str = "m",
        promote: str = "auto",
        seed: int = 42,
        settings: tuple[str, ...] = ("train.epochs=20",),
        **request: Any,
    ) -> Result:
        asked = Request(
            data=str(data),
            target=target,
            model=model,
            task=request.get("task"),
            validation=request.get("validation"),
            config=config.load(None, settings, {"seed": seed}),
            promote=promote,  # type: ignore[arg-type]
            resume=request.get("resume", False),
            time_limit=request.get("time_limit", math.inf),
        )
        place = store if isinstance(store, Store) else Store(store)
        say = request.get("say", lambda sentence: None)
        return run_fit(asked, place, say, request.get("watch", lambda standing: None))

    return fit


@pytest.fixture(scope="session")
def people_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The people of `people()` in a file."""
    return write_csv(tmp_path_factory.mktemp("data") / "people.csv", people())


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, fit: Fit, people_csv: Path
) -> Path:
    """A store with a table classifier, a regression of one column, images and xor.

    Not to be written to: tests that publish take a copy.
    """
    store = tmp_path_factory.mktemp("served") / "store"
    x = np.linspace(-10, 10, 200)
    half = {"x": x.tolist(), "y": (x / 2 + 2).tolist()}
    half_csv = write_csv(store.parent / "half.csv", half)
    fit(store, people_csv, target="Status", model="people")
    fit(store, half_csv, target="y", model="half_plus_two", settings=())
    fit(store, "builtin:digits", model="digits", settings=("train.epochs=5",))
    fit(store, "builtin:xor", model="xor", settings=())
    return store

"""What serves now is read whole, or said to be damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.storage.base import ROWS
from models.storage.directory import DirectoryStore as Store
from trainer.evaluation.production import load_production

Fit = Callable[..., Any]
FAST = ("train.epochs=2", "ensemble.members=1")


@pytest.fixture
def said() -> list[str]:
    return []


def test_of_nothing_published_nothing_serves(store: Store, said: list[str]) -> None:
    assert load_production(store, "m", said.append) is None
    assert said == []


def test_it_is_what_production_stands_on(
    fit: Fit, store: Store, people_csv: Path, said: list[str]
) -> None:
    first = fit(store, people_csv, target="Status", settings=FAST)
    fit(store, people_csv, target="Status", settings=FAST, promote="never")
    found = load_production(store, "m", said.append)
    assert found is not None and found.version == 1
    assert found.artefact.sha256 == first.sha256
    assert found.measured is not None
    assert len(found.measured) == first.metrics["rows"]
    assert said == []


def test_without_marks_it_serves_still(
    fit: Fit, store: Store, people_csv: Path, said: list[str]
) -> None:
    fit(store, people_csv, target="Status", settings=FAST)
    (store.root / "m" / "1" / ROWS).unlink()
    found = load_production(store, "m", said.append)
    assert found is not None and found.measured is None


@pytest.mark.parametrize("file", ["model.npz", ROWS])
def test_damage_is_reported_and_does_not_block_a_run(
    file: str, fit: Fit, store: Store, people_csv: Path, said: list[str]
) -> None:
    fit(store, people_csv, target="Status", settings=FAST)
    path = store.root / "m" / "1" / file
    path.write_bytes(np.random.default_rng(0).bytes(50))
    assert load_production(store, "m", said.append) is None
    (sentence,) = said
    assert "cannot be read and is not compared" in sentence and file in sentence

"""Intervals of a run: fitted on rows that no network of them has learnt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput
from models.storage.directory import DirectoryStore as Store
from tests.trainer.generated import Law

SETTINGS = ("train.epochs=40", "ensemble.members=4", "network.hidden=[16]")


def drawn(n: int, seed: int) -> dict[str, list[float]]:
    """A number that two columns explain, with noise that grows with the first."""
    rng = np.random.default_rng(seed)
    x, z = rng.uniform(0, 1, (2, n))
    y = np.sin(3 * x) + z + (0.05 + 0.3 * x) * rng.standard_normal(n)
    columns = zip("xzy", (x, z, y), strict=True)
    return {name: values.round(6).tolist() for name, values in columns}


def test_intervals_cover_what_they_say_on_fresh_rows(
    fit: Callable[..., Any], write_csv: Callable[..., Path], store: Store
) -> None:
    fit(store, write_csv(drawn(2_000, 0)), target="y", settings=SETTINGS)
    model = store.load("m", 1).model
    fresh = {name: np.array(values) for name, values in drawn(20_000, 1).items()}
    y = fresh.pop("y")
    for level in (0.5, 0.8, 0.9, 0.95):
        answer = model.predict(fresh, level)
        covered = np.mean((answer["lower"] <= y) & (y <= answer["upper"]))
        assert covered == pytest.approx(level, abs=0.04)
    np.testing.assert_array_equal(answer["value"], model.predict(fresh)["value"])


@pytest.mark.long
def test_intervals_of_small_tables_cover_what_they_say(
    fit: Callable[..., Any], write_csv: Callable[..., Path], tmp_path: Path
) -> None:
    # Networks that have learnt a row disagree on it by its noise: normalized by that,
    # intervals at 0.9 covered 0.82 of the fresh rows of these tables.
    law, covered = Law("regression", 5000), []
    fresh = {name: np.array(values) for name, values in law.rows(3_000, 99).items()}
    raw: Any = {**fresh, "c": fresh["c"].tolist(), "d": fresh["d"].tolist()}
    for seed in range(5):
        store = Store(tmp_path / str(seed))
        data = write_csv(law.rows(200, seed))
        fit(store, data, target="y", settings=("preset=fast",))
        answer = store.load("m", 1).model.predict(raw, 0.9)
        inside = (answer["lower"] <= fresh["y"]) & (fresh["y"] <= answer["upper"])
        covered.append(inside.mean())
    assert 0.87 <= np.mean(covered) <= 0.93


def test_without_validation_rows_there_is_no_interval(
    fit: Callable[..., Any], write_csv: Callable[..., Path], store: Store
) -> None:
    none = ("data.validation_fraction=0", "ensemble.members=1")
    fit(store, write_csv(drawn(200, 0)), target="y", settings=(*SETTINGS[:1], *none))
    model = store.load("m", 1).model
    rows = {"x": np.zeros(1), "z": np.zeros(1)}
    with pytest.raises(InvalidInput, match="interval: this model has none"):
        model.predict(rows, 0.9)


def test_classes_have_probabilities_and_no_interval(
    fit: Callable[..., Any],
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    store: Store,
) -> None:
    whole = table(60)
    data = write_csv({"size": whole["size"], "churn": whole["churn"]})
    fit(store, data, target="churn", settings=("train.epochs=2",))
    with pytest.raises(InvalidInput, match="interval: this model predicts classes"):
        store.load("m", 1).model.predict({"size": np.zeros(1)}, 0.9)

"""The record of a run: what its rows say, taken by networks that have not seen them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.report import collect


def test_what_was_measured_is_looked_at(runs: dict[str, Any]) -> None:
    """The pictures are of the very answers that the figures are of."""
    for name in ("two", "several"):
        record, metrics = runs[name].record, runs[name].artefact.manifest.metrics
        counts = np.array(record.confusion.counts)
        assert counts.sum() == record.rows == record.measured == metrics["rows"]
        assert np.trace(counts) / counts.sum() == pytest.approx(metrics["accuracy"])
        error = sum(abs(b.confidence - b.accuracy) * b.rows for b in record.reliability)
        assert error / record.rows == pytest.approx(metrics["ece"], abs=1e-3)
    two = runs["two"]
    assert two.record.roc[0].area == pytest.approx(two.artefact.manifest.metrics["auc"])


def test_a_number_has_its_points(runs: dict[str, Any]) -> None:
    record, metrics = runs["number"].record, runs["number"].artefact.manifest.metrics
    error = np.array(record.points.answer) - np.array(record.points.truth)
    assert np.sqrt((error**2).mean()) == pytest.approx(metrics["rmse"], rel=1e-3)
    assert record.confusion is None and record.roc == []


def test_the_worst_rows_come_first_and_whole(runs: dict[str, Any]) -> None:
    for name in ("two", "several"):
        found = runs[name].record.mistakes
        given = [mistake.loss for mistake in found]
        assert given == sorted(given) and 0.0 <= given[0] <= given[-1] <= 1.0
        names = {column.name for column in runs[name].artefact.model.inputs.columns}
        assert all(set(mistake.row) == names for mistake in found)
    off = [abs(mistake.loss) for mistake in runs["number"].record.mistakes]
    assert off == sorted(off, reverse=True)
    images = runs["images"].record
    assert np.shape(images.mistakes[0].picture) == (8, 8)
    assert np.shape(images.saliency) == (8, 8) and np.max(images.saliency) == 1.0


def test_health_is_of_every_network(runs: dict[str, Any]) -> None:
    assert [len(looks) for looks in runs["two"].record.health] == [4, 4]
    steps = runs["two"].record.steps_an_epoch
    data = runs["two"].artefact.manifest.data
    batch = runs["two"].artefact.manifest.config["train"]["batch_size"]
    assert steps == -(-data.train_rows // batch)


def test_many_rows_are_looked_at_in_part(
    recorded: Callable[..., Any], people_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_ROWS", 20)
    record = recorded(people_csv, target="Status").record
    assert record.rows == 20 < record.measured


def test_long_texts_are_cut() -> None:
    row, picture = collect._excerpt({"a": "x" * 500, "b": 1}, ["b", "a"])
    assert list(row) == ["b", "a"] and len(row["a"]) == 81 and picture is None


def test_what_has_no_picture_is_a_mistake_all_the_same(
    recorded: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "v.npz", X=rng.random((60, 3, 3, 3, 3)), y=rng.random(60))
    record = recorded(tmp_path / "v.npz").record
    assert record.saliency is None and record.weights == []
    assert record.mistakes and record.mistakes[0].picture is None

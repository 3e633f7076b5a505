"""The metrics of a run stand beside their intervals and two baselines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.storage.directory import DirectoryStore as Store


@pytest.mark.parametrize("target", ["churn", "level", "price"])
def test_every_metric_has_an_interval_and_baselines(
    target: str,
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    columns = table(400)
    kept = ("size", "colour", "member", target)
    path = write_csv({name: columns[name] for name in kept})
    result = fit(store, path, target=target)
    measured = {*result.metrics} - {"rows", "measured_on"}
    assert set(result.intervals) == measured
    for name, (low, high) in result.intervals.items():
        assert low <= high
        if name not in ("ece", "coverage"):
            assert low <= result.metrics[name] <= high
    primary = "rmse" if target == "price" else "log_loss"
    found = {name: values[primary] for name, values in result.baselines.items()}
    # Size, colour and member add up to the score behind each target.
    assert found["linear"] < 0.8 * found["constant"]
    assert store.load("m", 1).manifest.baselines == result.baselines

"""The summary of a run: what it shows, in how many lines, and what to do next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.storage.directory import DirectoryStore as Store
from trainer.cli.summary import summary
from trainer.pipeline import FitResult


@pytest.fixture
def result(
    fit: Callable[..., FitResult],
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
    store: Store,
) -> FitResult:
    whole = table(96)
    data = write_csv({name: whole[name] for name in ("size", "colour", "churn")})
    return fit(store, data, target="churn", settings=("train.epochs=3",))


def test_at_most_twelve_lines_of_at_most_three_digits(result: FitResult) -> None:
    full = dataclasses.replace(
        result, diagnosis="no problem found", report="report.html"
    )
    lines = list(summary(full, "artefacts"))
    assert len(lines) <= 12
    loss = f"{result.metrics['log_loss']:.3g}"
    (line,) = [line for line in lines if "log loss" in line]
    assert line.startswith(f"log loss   {loss} (") and "; constant " in line
    assert f"rows       {result.data.rows}: " in "\n".join(lines)


def test_a_promoted_version_is_served_next(result: FitResult) -> None:
    promoted = dataclasses.replace(result, promoted=True)
    *_, last = summary(promoted, "artefacts")
    assert last.startswith("next       service run (a service that runs loads it")


def test_a_refused_version_names_the_command_that_promotes_it(
    result: FitResult,
) -> None:
    refused = dataclasses.replace(result, promoted=False)
    *_, last = summary(refused, "elsewhere")
    assert last == "next       trainer promote m 1 --store elsewhere"

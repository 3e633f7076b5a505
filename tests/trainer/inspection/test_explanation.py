"""Explanations of a file: row for row in another, or in sum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.storage.directory import DirectoryStore as Store
from trainer.inspection import explanation

Fit = Callable[..., Any]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("model", ["churn", "level", "price"])
def test_attributions_stand_row_for_row(
    model: str, suffix: str, published: Path, store: Store, tmp_path: Path
) -> None:
    artefact = store.load(model, 1)
    found = explanation.explain(artefact, str(published / f"{model}.csv"), None)
    out = tmp_path / f"why.{suffix}"
    explanation.save(found, artefact.manifest.output, out)
    frame = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
    columns = ["size", "colour", "member", "since"]
    assert frame.columns == [
        *("target", "output", "baseline_output"),
        *(f"a_{name}" for name in columns),
    ]
    parts = frame.select(f"a_{name}" for name in columns).to_numpy()
    change = (frame["output"] - frame["baseline_output"]).to_numpy()
    assert len(frame) == 120
    np.testing.assert_allclose(parts.sum(axis=1), change, rtol=1e-3, atol=1e-9)


def test_what_decides_is_at_the_top(published: Path, store: Store) -> None:
    """The target was made of size, colour and member, and not of since."""
    source = str(published / "price.csv")
    found = explanation.explain(store.load("price", 1), source, None)
    sizes = explanation.importance(found)
    assert next(iter(sizes)) == "size"
    assert sorted(sizes.values(), reverse=True) == list(sizes.values())
    assert set(sizes) == {"size", "colour", "member", "since"}


def test_pixels_are_named_by_their_place(tmp_path: Path, fit: Fit) -> None:
    store = Store(tmp_path / "store")
    settings = ("train.epochs=2",)
    fit(store, "builtin:digits", model="digits", promote="always", settings=settings)
    found = explanation.explain(store.load("digits", 1), "builtin:digits", "3")
    assert set(found.targets) == {3}
    change = found.output - found.baseline_output
    np.testing.assert_allclose(
        found.attributions.sum(axis=1), change, rtol=1e-3, atol=1e-9
    )
    names = explanation.names(found)
    assert (names[0], names[-1], len(names)) == ("0_0", "7_7", 64)

"""Distributions say what the training rows held."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from models.features.histograms import Histogram, Shares
from trainer.report import distributions
from trainer.report.rendering import render


@pytest.mark.parametrize("name", ["two", "several", "number", "images"])
def test_every_column_and_the_target_have_a_row(
    runs: dict[str, Any], name: str
) -> None:
    manifest = runs[name].artefact.manifest
    rows = distributions.distributions(manifest)
    assert len(rows) == 1 + len(manifest.reference.inputs)
    assert (rows[0].name, rows[0].kind) == (manifest.target, "target")
    assert all(np.isfinite(block).all() for row in rows for block in row.blocks)
    shown = render("data.html", manifest=manifest, distributions=rows)
    assert shown.count('scope="row"') == shown.count("<svg") == len(rows)


def test_shares_are_named_and_add_up() -> None:
    names = tuple(f"c{n}" for n in range(8))
    seen = Shares(names, (0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02), 0.05, 0.05)
    blocks, caption = distributions._shares(seen)
    assert caption.startswith("c0 30.0%, c1 20.0%") and caption.endswith(
        "3 others 15.0%"
    )
    assert sum(block.width for block in blocks) == pytest.approx(95, abs=3)


def test_areas_of_blocks_are_shares() -> None:
    values = np.random.default_rng(0).exponential(size=2_000)
    seen = Histogram.fit(values)
    limits = (float(values.min()), float(values.max()))
    blocks, caption = distributions._bins(seen, limits, list)
    areas = [block.width * block.height for block in blocks]
    assert len(blocks) == 10 and max(areas[:5]) < 2 * min(areas[:5])
    assert re.fullmatch(r"\S+ to \S+", caption)


@pytest.mark.parametrize("values", [[], [3.0], [2010.0] * 50])
def test_a_column_without_a_range_is_drawn_too(values: list[float]) -> None:
    seen = Histogram.fit(np.array(values))
    _, caption = distributions._bins(seen, None, list)
    assert caption == f"always {values[0]:.0f}" if values else "always 0"


@pytest.mark.parametrize("yes", [0.0, 0.05, 0.5, 0.97, 1.0])
def test_booleans_are_false_and_true(yes: float) -> None:
    values = (np.arange(100) < 100 * yes).astype(float)
    seen = distributions._truths(Histogram.fit(values))
    shares = dict(zip(seen.categories, seen.shares, strict=True))
    if "true" in shares:
        assert shares["true"] == pytest.approx(yes)
    else:
        assert yes < 0.1

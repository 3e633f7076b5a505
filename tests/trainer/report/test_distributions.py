"""Distributions say what the training rows held."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from models.features.histograms import Histogram, Shares
from trainer.report import distributions


@pytest.mark.parametrize("name", ["two", "several", "number", "images"])
def test_every_column_and_the_target_have_a_row(
    runs: dict[str, Any], name: str
) -> None:
    manifest = runs[name].artefact.manifest
    shown = distributions.distributions(manifest)
    assert shown.count('scope="row"') == 1 + len(manifest.reference.inputs)
    assert shown.count("<svg") == 1 + len(manifest.reference.inputs)
    assert f"{manifest.target} <small>target" in shown
    assert "nan" not in shown and "inf" not in shown


def test_shares_are_named_and_add_up() -> None:
    names = tuple(f"c{n}" for n in range(8))
    seen = Shares(names, (0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02), 0.05, 0.05)
    drawn, caption = distributions._shares(seen)
    assert caption.startswith("c0 30.0%, c1 20.0%") and caption.endswith(
        "3 others 15.0%"
    )
    widths = [float(w) for w in re.findall(r'width="([\d.]+)"', drawn)]
    assert sum(widths) == pytest.approx(95, abs=3)


def test_areas_of_blocks_are_shares() -> None:
    values = np.random.default_rng(0).exponential(size=2_000)
    seen = Histogram.fit(values)
    limits = (float(values.min()), float(values.max()))
    drawn, caption = distributions._bins(seen, limits, list)
    blocks = re.findall(r'width="([\d.]+)" y="[^"]*" height="([\d.]+)"', drawn)
    areas = [float(w) * float(h) for w, h in blocks]
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

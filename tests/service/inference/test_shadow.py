"""Where two versions differ, against the plainest account of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from models.features.predictions import Classification, Regression
from models.storage.directory import DirectoryStore as Store
from service.inference.shadow import (
    DISAGREEMENT_STDS,
    MAX_WAITING_ROWS,
    ShadowComparer,
    differences,
)
from service.monitoring.metrics import ComparisonMetrics
from service.registry.loaded import Loaded, TrafficSplit
from service.registry.registry import Registry

LABELS: Any = st.lists(
    st.sampled_from(["a", "b", "c", 1, 2, True]), min_size=2, max_size=4, unique=True
)


@st.composite
def answered(draw: Any, n: int = 7) -> tuple[Classification, dict[str, Any]]:
    output = Classification(tuple(draw(LABELS)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return output, output.decode(rng.normal(0, 3, (2, n, output.width)))


@settings(deadline=None)
@given(answered(), answered())
def test_classes_are_compared_by_name(one: Any, other: Any) -> None:
    def told(output: Classification, answer: Any) -> list[tuple[str, dict[str, float]]]:
        names = [str(x).lower() if x is True else str(x) for x in output.classes]
        return [
            (
                str(label).lower() if label is True else str(label),
                dict(zip(names, row, strict=True)),
            )
            for label, row in zip(
                answer["label"].tolist(), answer["probabilities"].tolist(), strict=True
            )
        ]

    ours, theirs = told(*one), told(*other)
    disagree = sum(a != b for (a, _), (b, _) in zip(ours, theirs, strict=True))
    largest = max(
        abs(p.get(name, 0.0) - q.get(name, 0.0))
        for (_, p), (_, q) in zip(ours, theirs, strict=True)
        for name in {*p, *q}
    )
    found = differences(*one, *other)
    assert found == (disagree, pytest.approx(largest))
    assert differences(*one, *one) == (0, 0.0)


def test_values_disagree_from_a_tenth_of_the_spread() -> None:
    output = Regression(mean=5.0, std=20.0)
    apart = DISAGREEMENT_STDS * output.std
    ours = {"value": np.zeros(4)}
    theirs = {"value": np.array([0.0, 0.99 * apart, -1.01 * apart, 3 * apart])}
    found = differences(output, ours, output, theirs)
    assert found == (2, pytest.approx(3 * apart))


@pytest.fixture
def split(served: Path) -> TrafficSplit:
    registry = Registry(Store(served))
    registry.refresh()
    loaded = registry.find("people")
    return TrafficSplit(loaded, replace(loaded, version=2), 0.0, shadow=True)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    given = {"model": "people", "version": "2", **labels}
    return registry.get_sample_value(f"glassnet_comparison_{name}", given) or 0.0


def test_so_many_rows_wait_and_the_others_are_counted(
    split: TrafficSplit, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    registry = CollectorRegistry()
    comparisons = ShadowComparer(ComparisonMetrics(registry))
    go_on, began = threading.Event(), threading.Event()
    model = split.candidate.artefact.model
    predict = model.predict

    def slow(raw: Any) -> Any:
        began.set()
        assert go_on.wait(30)
        return predict(raw)

    monkeypatch.setattr(model, "predict", slow)
    loaded: Loaded = split.choose("any")
    raw = model.decoder.rows(
        b'[{"member": true, "children": 1, "since": "2024-05-01"}]'
    )
    answer = predict(raw)
    comparisons.put(loaded, raw, answer, MAX_WAITING_ROWS + 5)  # alone, however many
    assert began.wait(30)
    comparisons.put(loaded, raw, answer, 1)
    assert value(registry, "failures_total", reason="busy") == 1
    go_on.set()
    until("the first", lambda: not comparisons._waiting)
    comparisons.put(loaded, raw, answer, 1)
    until("the last", lambda: not comparisons._waiting)
    assert value(registry, "failures_total", reason="busy") == 1
    assert value(registry, "rows_total") == MAX_WAITING_ROWS + 6


def test_the_largest_difference_stays(split: TrafficSplit) -> None:
    registry = CollectorRegistry()
    metrics = ComparisonMetrics(registry)
    for difference in (0.1, 0.5, 0.2):
        metrics.count_rows(split.candidate, 3, 1, difference)
    assert value(registry, "difference_max") == 0.5
    assert value(registry, "rows_total") == 9
    assert value(registry, "disagreements_total") == 3

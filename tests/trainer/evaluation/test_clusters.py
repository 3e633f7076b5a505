"""Rows that belong together are drawn together."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.clusters import clusters
from trainer.preparation.prepare import Part


def test_the_rows_of_a_group_are_one_cluster() -> None:
    raw, target = {"x": np.arange(4.0)}, np.zeros(4)
    rows = Part(raw, target, aside={"g": ["a", "b", "a", "b"]})
    assert clusters(rows, "g").tolist() == ["a", "b", "a", "b"]
    assert len(set(clusters(rows, None).tolist())) == 4


def test_equal_rows_are_one_cluster_unless_they_are_told_apart() -> None:
    raw, target = {"x": np.array([1.0, 1.0, 2.0])}, np.zeros(3)
    assert len(set(clusters(Part(raw, target), None).tolist())) == 2
    apart = Part(raw, target, occurrence=np.array([0.0, 1.0, 0.0]))
    assert len(set(clusters(apart, None).tolist())) == 3

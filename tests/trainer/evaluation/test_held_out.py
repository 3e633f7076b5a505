"""Which rows count as held out, and how many networks an answer stands for."""

from __future__ import annotations

import pytest

from trainer.evaluation.held_out import effective_count


def test_equal_weights_count_each_network() -> None:
    assert effective_count(5, ()) == 5.0
    assert effective_count(5, (0.2,) * 5) == pytest.approx(5.0)


def test_a_heavy_network_counts_for_most() -> None:
    assert 1.0 < effective_count(3, (0.9, 0.05, 0.05)) < 1.3

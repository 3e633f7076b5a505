"""The order of the rows in an epoch."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.preparation import row_order
from trainer.preparation.row_order import shuffled


@pytest.mark.parametrize("n", [1, 15, 16, 17, 40, 1_001])
def test_each_row_is_taken_once(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_order, "BLOCK", 4)
    monkeypatch.setattr(row_order, "WINDOW", 16)
    first, second = (shuffled(n, np.random.default_rng(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(np.sort(first), np.arange(n))
    assert n == 1 or not np.array_equal(first, second)
    for start in range(0, n, 16):  # the last block is shorter, and in any window
        blocks = np.unique(first[start : start + 16] // 4)
        assert len(blocks) <= 2 * 4, "rows of more than two windows"


def test_few_rows_are_shuffled_as_a_whole() -> None:
    found = shuffled(1_000, np.random.default_rng(3))
    expected = np.random.default_rng(3).permutation(1_000)
    np.testing.assert_array_equal(found, expected)


def test_rows_meet_rows_from_everywhere() -> None:
    """A batch of sorted rows has the mean of all, within what chance allows."""
    n, size = 4 * row_order.WINDOW, 1_024
    order = shuffled(n, np.random.default_rng(0))
    means = order.reshape(-1, size).mean(axis=1)
    by_chance = n / np.sqrt(12 * size)
    assert np.abs(means - n / 2).max() < 6 * by_chance
    assert means.std() < 2 * by_chance

"""Intervals: the share of true values they hold, and the levels they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.features.prediction_interval import (
    FLOORS,
    LEVELS,
    PredictionInterval,
    best_floor,
)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors whose size follows the disagreement, as in a heteroscedastic table."""
    rng = np.random.default_rng(seed)
    spread = rng.gamma(2.0, 0.1, n)
    return np.abs(rng.standard_t(4, n)) * (spread + 0.05), spread


def fitted_to(errors: np.ndarray, spread: np.ndarray) -> PredictionInterval | None:
    return PredictionInterval.fit(errors, spread, best_floor(errors, spread))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_an_interval_covers_the_stated_share_of_fresh_rows(level: float) -> None:
    fitted = fitted_to(*drawn(2_000, seed=0))
    assert fitted is not None
    errors, spread = drawn(50_000, seed=1)
    covered = np.mean(errors <= fitted.half_width(spread, level))
    # Two standard errors of a quantile of 2,000 rows.
    assert covered == pytest.approx(level, abs=2 * np.sqrt(level * (1 - level) / 2_000))


def test_rows_on_which_networks_disagree_get_wider_intervals() -> None:
    fitted = fitted_to(*drawn(500, seed=0))
    assert fitted is not None
    narrow, wide = fitted.half_width(np.array([0.1, 1.0]), 0.9)
    assert wide > 2 * narrow


def test_a_single_network_gets_intervals_of_one_width() -> None:
    errors = np.arange(1.0, 100.0)
    fitted = fitted_to(errors, np.zeros(99))
    assert fitted is not None
    # The 90th of 99: ⌈100 · 0.9⌉.
    assert fitted.half_width(np.zeros(2), 0.9).tolist() == [90.0, 90.0]


@pytest.mark.parametrize("n", [1, 2, 5, 9, 19, 98, 99])
def test_a_level_needs_enough_rows(n: int) -> None:
    fitted = fitted_to(np.ones(n), np.ones(n))
    highest = [level for level in LEVELS if np.ceil((n + 1) * level / 100) <= n]
    assert len(fitted.scores if fitted else ()) == len(highest)
    if fitted is None:
        return
    fitted.half_width(np.ones(1), highest[-1] / 100)
    for level in (highest[-1] / 100 + 0.01, 0.49, 0.0, 1.0):
        with pytest.raises(InvalidInput, match=r"interval: expected a level from 0\.5"):
            fitted.half_width(np.ones(1), level)


def test_no_row_gives_no_interval() -> None:
    assert fitted_to(np.empty(0), np.empty(0)) is None


def test_a_level_between_two_takes_the_wider() -> None:
    fitted = fitted_to(np.arange(1.0, 100.0), np.zeros(99))
    assert fitted is not None
    between, above = (fitted.half_width(np.zeros(1), x) for x in (0.895, 0.9))
    assert between == above


def test_a_disagreement_that_tells_nothing_counts_for_little() -> None:
    rng = np.random.default_rng(0)
    errors, spread = np.abs(rng.standard_normal(300)), rng.gamma(2.0, 0.1, 300)
    assert best_floor(errors, spread) >= 10 * spread.mean()
    assert best_floor(errors * spread, spread) == FLOORS[0] * spread.mean()
    assert best_floor(np.zeros(9), np.ones(9)) > 0
    assert best_floor(errors, np.zeros(300)) == 1.0

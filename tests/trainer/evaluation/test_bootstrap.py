"""The interval is the one a peer finds, and holds the truth as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from trainer.evaluation.bootstrap import LEVEL, MAX_CLUSTERS, interval


def losses(n: int, seed: int, shift: float = 0.0) -> tuple[Any, Any]:
    """Return what two models lose on n rows: skewed, and much alike."""
    rng = np.random.default_rng(seed)
    first = rng.exponential(1.0, n)
    return first + shift, first * rng.uniform(0.5, 1.5, n)


@pytest.mark.parametrize("root", [False, True])
def test_a_peer_finds_the_same(root: bool) -> None:
    def difference(a: Any, b: Any, axis: int) -> Any:
        means = a.mean(axis), b.mean(axis)
        return np.sqrt(means[0]) - np.sqrt(means[1]) if root else means[0] - means[1]

    first, second = losses(300, 1, 0.1)
    peer = bootstrap(
        (first, second),
        difference,
        paired=True,
        method="percentile",
        n_resamples=20_000,
        random_state=np.random.default_rng(2),
    ).confidence_interval
    found = interval((first, second), root=root)
    width = peer.high - peer.low
    assert found == pytest.approx((peer.low, peer.high), abs=0.06 * width)


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw less often: the share of intervals that hold the truth is hardly another."""
    monkeypatch.setattr("trainer.evaluation.bootstrap.DRAWS", 400)


@pytest.mark.long
@pytest.mark.usefixtures("fewer")
def test_it_holds_the_truth_as_often_as_it_says() -> None:
    """Both lose 1 in the mean, so the difference is 0.1 in truth."""
    truth, tries = 0.1, 400
    found = [interval(losses(150, seed, truth)) for seed in range(tries)]
    held = sum(low <= truth <= high for low, high in found) / tries
    # Four standard errors of a share, and what few rows cost this method.
    slack = 4 * np.sqrt(LEVEL * (1 - LEVEL) / tries)
    assert LEVEL - slack - 0.01 < held < LEVEL + slack
    below = sum(truth < low for low, _ in found) / tries
    above = sum(high < truth for _, high in found) / tries
    assert max(below, above) < 0.06


@pytest.mark.long
@pytest.mark.usefixtures("fewer")
def test_rows_that_belong_together_count_as_one() -> None:
    """Each group of 20 loses alike: only with that known the truth is held."""
    truth, tries, groups = 0.0, 150, 60
    kin = np.repeat(np.arange(groups), 20)
    known = unknown = 0
    for seed in range(tries):
        gap = np.random.default_rng(seed).normal(truth, 1.0, groups)[kin]
        first, second = np.full(len(kin), 5.0) + gap, np.full(len(kin), 5.0)
        low, high = interval((first, second), clusters=kin)
        known += low <= truth <= high
        low, high = interval((first, second))
        unknown += low <= truth <= high
    assert known / tries > 0.87
    assert unknown / tries < 0.5


def test_a_row_of_weight_two_is_two_rows() -> None:
    first, second = losses(200, 3)
    weights = np.where(np.arange(200) % 2, 2.0, 1.0)
    twice = np.repeat(np.arange(200), weights.astype(int))
    by_weight = interval((first, second), weights)
    written_out = interval((first[twice], second[twice]), clusters=twice)
    assert by_weight == pytest.approx(written_out, rel=1e-12)


def test_many_rows_are_thrown_together_and_say_the_same() -> None:
    n = 4 * MAX_CLUSTERS
    first, second = losses(n, 4)
    low, high = interval((first, second))
    gap = first - second
    # With this many rows the mean is normally distributed.
    off = 1.96 * gap.std() / np.sqrt(n)
    expected = gap.mean() - off, gap.mean() + off
    assert (low, high) == pytest.approx(expected, abs=0.1 * off)


def test_the_same_losses_differ_by_nothing() -> None:
    first, _ = losses(50, 5)
    assert interval((first, first)) == (0.0, 0.0)
    assert interval((first, first), root=True) == (0.0, 0.0)


def test_a_smaller_level_is_narrower() -> None:
    pair = losses(200, 6)
    wide, narrow = interval(pair, level=0.99), interval(pair, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_it_is_the_same_every_time() -> None:
    assert interval(losses(80, 7)) == interval(losses(80, 7))

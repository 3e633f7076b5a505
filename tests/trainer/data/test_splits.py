"""Every row lands in one part, each class alike, the same way from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.splits import Split, random_split

fraction = st.floats(0.0, 0.49)
third = st.floats(0.0, 0.33)
seed = st.integers(0, 2**32)
#: How many rows each class has; single rows are common.
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)
bounded = settings(deadline=None, max_examples=200)


def split(
    counts: list[int] | int, validation: float, test: float, seed: int
) -> tuple[Split, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    if isinstance(counts, int):
        return random_split(counts, validation, test, rng), None
    strata = np.random.default_rng(seed + 1).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )
    return random_split(len(strata), validation, test, rng, strata), strata


@bounded
@given(st.one_of(st.integers(1, 300), sizes), fraction, fraction, seed)
def test_parts_hold_every_row_once_in_order(
    counts: list[int] | int, validation: float, test: float, seed: int
) -> None:
    parts, _ = split(counts, validation, test, seed)
    n = counts if isinstance(counts, int) else sum(counts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part in parts:
        assert part.dtype == np.intp
        assert part.tolist() == sorted(part.tolist())


@bounded
@given(st.integers(3, 500), fraction, fraction, seed)
def test_parts_have_their_share(
    n: int, validation: float, test: float, seed: int
) -> None:
    parts, _ = split(n, validation, test, seed)
    assert len(parts.train) >= 1
    assert abs(len(parts.validation) - validation * n) <= 1
    assert abs(len(parts.test) - test * n) <= 1


@bounded
@given(sizes, fraction, fraction, seed)
def test_every_class_has_its_share_and_a_training_row(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    parts, strata = split(counts, validation, test, seed)
    assert strata is not None
    train, held, kept = (np.bincount(strata[p], minlength=len(counts)) for p in parts)
    assert (train >= 1).all()
    assert (np.abs(held - validation * np.array(counts)) <= 1 + 1e-9).all()
    assert (np.abs(kept - test * np.array(counts)) <= 1 + 1e-9).all()


@bounded
@given(st.lists(st.integers(20, 90), min_size=1, max_size=9), third, third, seed)
def test_rounding_does_not_add_up_over_classes(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    parts, _ = split(counts, validation, test, seed)
    assert abs(len(parts.validation) - validation * sum(counts)) <= 1 + 1e-9
    assert abs(len(parts.test) - test * sum(counts)) <= 1 + 1e-9


@bounded
@given(st.one_of(st.integers(1, 300), sizes), fraction, fraction, seed)
def test_the_same_seed_divides_alike(
    counts: list[int] | int, validation: float, test: float, seed: int
) -> None:
    first, _ = split(counts, validation, test, seed)
    again, _ = split(counts, validation, test, seed)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("counts", [200, [100, 100]])
def test_another_seed_divides_otherwise(counts: list[int] | int) -> None:
    parts = {tuple(split(counts, 0.2, 0.2, seed)[0].test) for seed in range(5)}
    assert len(parts) == 5


def test_every_row_is_as_likely_to_be_held_out() -> None:
    times = np.zeros(20)
    for seed in range(2000):
        times[split(20, 0.25, 0.25, seed)[0].test] += 1
    # Binomial with p = 1/4: six standard deviations are 116.
    assert (np.abs(times - 500) < 116).all()

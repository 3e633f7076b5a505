"""Numbers are counted in bins and categories by name; the PSI compares them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.features.histograms import BINS, Histogram, Shares, psi
from models.types import Array

bounded = settings(deadline=None, max_examples=100)
NAN = np.nan
values = hnp.arrays(
    np.float64,
    st.integers(0, 40),
    elements=st.floats(allow_nan=False, allow_infinity=False) | st.just(NAN),
)


@bounded
@given(values)
@example(np.array([-1.7e308, 1.7e308]))
@example(np.array([NAN, NAN]))
@example(np.zeros(0))
def test_shares_and_missing_are_the_whole(values: Array) -> None:
    histogram = Histogram.fit(values)
    assert len(histogram.shares) == len(histogram.edges) + 1 <= BINS
    assert (np.diff(histogram.edges) > 0).all()
    if not np.isnan(values).all():
        assert set(histogram.edges) <= set(values.tolist())
    whole = sum(histogram.shares) + histogram.missing
    assert whole == pytest.approx(1 if len(values) else 0)
    assert histogram.missing == (np.isnan(values).mean() if len(values) else 0)


@bounded
@given(values, values)
def test_counting_is_numpys_digitize(learnt: Array, given: Array) -> None:
    histogram = Histogram.fit(learnt)
    *counts, missing = histogram.count(given).tolist()
    present = given[~np.isnan(given)]
    bins = np.digitize(present, np.array(histogram.edges))
    assert counts == [int((bins == i).sum()) for i in range(len(histogram.shares))]
    assert missing == len(given) - len(present)


@bounded
@given(values)
def test_the_shares_are_what_counting_the_same_rows_gives(values: Array) -> None:
    histogram = Histogram.fit(values)
    counts = histogram.count(values)
    n = max(len(values), 1)
    np.testing.assert_allclose(histogram.shares, counts[:-1] / n, rtol=1e-15)
    assert histogram.missing == counts[-1] / n
    np.testing.assert_allclose(histogram.counts(len(values)), counts, rtol=1e-14)


def test_numbers_that_differ_fall_into_ten_equal_bins() -> None:
    values = np.random.default_rng(0).lognormal(0, 3, 1000)
    histogram = Histogram.fit(values)
    assert len(histogram.shares) == 10
    np.testing.assert_allclose(histogram.shares, 0.1)


def test_few_numbers_make_few_bins() -> None:
    histogram = Histogram.fit(np.array([0.0] * 31 + [1.0] * 20 + [NAN] * 9))
    assert histogram.edges == (0.0, 1.0)
    assert histogram.shares == (0.0, 31 / 60, 20 / 60)
    assert histogram.missing == 9 / 60


def test_categories_are_counted_by_name() -> None:
    shares = Shares.fit(["a", "b", "never"], ["a", "a", "b", "rare", "odd", None, "a"])
    assert shares.categories == ("a", "b", "never")
    assert shares.shares == (3 / 7, 1 / 7, 0.0)
    assert shares.other == 2 / 7
    assert shares.missing == 1 / 7


@bounded
@given(
    st.lists(st.sampled_from("abcde"), unique=True),
    st.lists(st.none() | st.sampled_from("abcdef"), min_size=1),
)
def test_shares_other_and_missing_are_the_whole(
    categories: list[str], values: list[str | None]
) -> None:
    shares = Shares.fit(categories, values)
    whole = sum(shares.shares) + shares.other + shares.missing
    assert whole == pytest.approx(1)
    for name, share in zip(categories, shares.shares, strict=True):
        assert share == values.count(name) / len(values)


def test_no_rows_are_no_shares() -> None:
    assert Shares.fit(["a"], []) == Shares(("a",), (0.0,), 0.0, 0.0)


def test_a_share_belongs_to_each_bin_and_category() -> None:
    with pytest.raises(ValueError, match="one share more"):
        Histogram((1.0,), (1.0,), 0.0)
    with pytest.raises(ValueError, match="one share a category"):
        Shares(("a", "b"), (1.0,), 0.0, 0.0)


# Comparing


@bounded
@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True),
    st.lists(st.none() | st.sampled_from("abcdefghxyz"), max_size=40),
    st.integers(0, 9),
)
def test_folded_shares_count_as_shares_of_fewer_categories(
    categories: list[str], values: list[str | None], most: int
) -> None:
    shares = Shares.fit(categories, values)
    counts = shares.count(values)
    np.testing.assert_allclose(shares.counts(len(values)), counts)
    folded = shares.folded(most)
    assert len(folded.categories) == min(most, len(categories))
    again = Shares.fit(folded.categories, values)
    np.testing.assert_allclose(
        folded.counts(len(values)), again.count(values), atol=1e-9
    )
    left = [c for c in categories if c not in folded.categories]
    frequent = [values.count(c) for c in folded.categories]
    assert min(frequent, default=99) >= max(map(values.count, left), default=0)


counted = hnp.arrays(np.int64, 6, elements=st.integers(0, 1000))


@bounded
@given(counted, counted, st.permutations(range(6)))
def test_an_index_is_symmetric_and_knows_no_order(
    ours: Array, theirs: Array, order: list[int]
) -> None:
    index = psi(ours, theirs)
    assert psi(ours, ours) in (0.0, None)
    assert index == pytest.approx(psi(theirs, ours))
    assert index == pytest.approx(psi(ours[order], theirs[order]))
    assert index is None or index >= 0


def test_an_index_is_its_formula() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    expected = float(((p - q) * np.log(p / q)).sum())
    # A bin that is empty on both sides adds nothing; half a row in each is negligible.
    ours, theirs = np.append(p, 0) * 1e6, np.append(q, 0) * 1e6
    assert psi(ours, theirs) == pytest.approx(expected, rel=1e-4)


def test_too_few_rows_have_no_index() -> None:
    ten = np.full(10, 100)
    assert psi(ten, ten // 10) is None
    assert psi(ten * 100, ten // 5) is not None
    assert psi(ten, ten * 0) is None
    assert psi(ten * 0, ten) is None

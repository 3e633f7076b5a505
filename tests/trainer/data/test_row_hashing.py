"""A row's part comes from what stands in it, whatever stands around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.data import take
from trainer.data.row_hashing import (
    by_time,
    count_occurrences,
    hash_rows,
    limit_for_tests,
    rehash_duplicates,
    rotating_splits,
)

bounded = settings(deadline=None, max_examples=200)
number = st.one_of(st.floats(width=64, allow_infinity=False), st.sampled_from([0.0]))
word = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["a", "None"]))
row = st.tuples(number, number, word)
rows = st.lists(row, min_size=1, max_size=40)
circle = st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=60)
fraction = st.floats(0.0, 0.49)
members = st.integers(1, 64)


def table(some: Sequence[tuple[float, float, str | None]]) -> dict[str, Any]:
    x, z, c = zip(*some, strict=True)
    return {"x": np.array(x, float), "z": np.array(z, float), "c": list(c)}


def same(one: NDArray[Any], other: Any) -> None:
    np.testing.assert_array_equal(one, other)


# Places.


@bounded
@given(rows)
def test_places_are_on_the_circle(some: Any) -> None:
    found = hash_rows(table(some))
    assert found.shape == (len(some),)
    assert ((found >= 0.0) & (found < 1.0)).all()


@bounded
@given(rows, st.randoms(use_true_random=False))
def test_a_place_is_the_rows_own_in_any_order(some: Any, random: Any) -> None:
    order = list(range(len(some)))
    random.shuffle(order)
    raw = table(some)
    same(hash_rows(take(raw, np.array(order))), hash_rows(raw)[order])


@bounded
@given(rows, rows, rows)
def test_rows_around_it_move_no_row(before: Any, some: Any, after: Any) -> None:
    grown = hash_rows(table([*before, *some, *after]))
    same(grown[len(before) : len(before) + len(some)], hash_rows(table(some)))


@bounded
@given(rows)
def test_the_order_of_the_columns_moves_no_row(some: Any) -> None:
    raw = table(some)
    turned = {name: raw[name] for name in reversed(raw)}
    same(hash_rows(turned), hash_rows(raw))


@bounded
@given(row, st.integers(2, 9))
def test_equal_rows_share_a_place(one: Any, times: int) -> None:
    assert len(set(hash_rows(table([one] * times)).tolist())) == 1


@bounded
@given(rows)
def test_different_rows_have_different_places(some: Any) -> None:
    distinct = {
        (*("nan" if math.isnan(x) else x + 0.0 for x in r[:2]), r[2]) for r in some
    }
    assert len(set(hash_rows(table(some)).tolist())) == len(distinct)


def test_values_in_another_column_are_another_row() -> None:
    found = hash_rows(table([(1.0, 2.0, "a"), (2.0, 1.0, "a"), (1.0, 2.0, "b")]))
    assert len(set(found.tolist())) == 3


def test_both_zeros_and_all_nans_are_one_value() -> None:
    zeros = hash_rows({"x": np.array([0.0, -0.0])})
    assert zeros[0] == zeros[1]
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000000], np.uint64).view(float)
    assert np.isnan(nans).all()
    found = hash_rows({"x": nans})
    assert found[0] == found[1]
    assert found[0] != zeros[0]


def test_a_missing_text_is_none_of_the_texts() -> None:
    found = hash_rows({"c": [None, "None", "", "'None'"]})
    assert len(set(found.tolist())) == 4


def test_a_place_is_for_ever() -> None:
    # What was held out by a version in production is found again by this number.
    raw = {"x": np.array([1.5, np.nan]), "c": ["red", None]}
    assert hash_rows(raw).tolist() == [0.1895866523668314, 0.46462195541384504]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_arrays_have_places_by_value_not_by_dtype(dtype: Any) -> None:
    X = np.random.default_rng(0).integers(0, 17, (30, 4, 4))
    found = hash_rows(X.astype(dtype))
    same(found, hash_rows(X.reshape(30, 16).astype(float)))
    same(hash_rows(np.asfortranarray(X.astype(dtype))), found)
    assert len(set(found.tolist())) == 30


def kinds_of_rows(n: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "counted": {"x": np.arange(float(n))},
        "drawn": {"x": rng.normal(size=n)},
        "words": {"c": [f"w{i}" for i in range(n)]},
        "two of few values": {
            "x": (np.arange(n) % 150).astype(float),
            "c": [str(i // 150) for i in range(n)],
        },
        "pixels": rng.integers(0, 17, (n, 8, 8)),
    }


@pytest.mark.parametrize("kind", kinds_of_rows(1))
def test_places_are_roughly_uniform(kind: str) -> None:
    n = 20_000
    found = hash_rows(kinds_of_rows(n)[kind])
    counts = np.histogram(found, 20, (0, 1))[0]
    # Binomial with p = 1/20: six standard deviations.
    assert (np.abs(counts - n / 20) < 6 * math.sqrt(n * 0.05 * 0.95)).all()
    # Neighbours in the file are no neighbours on the circle.
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 6 / math.sqrt(n)


# Windows.


@bounded
@given(circle, members, fraction, fraction)
def test_every_row_is_in_one_part_of_each_member(
    where: list[float], count: int, validation: float, test: float
) -> None:
    hashes = np.array(where)
    limit = limit_for_tests(hashes, test)
    found = rotating_splits(hashes, count, validation, limit)
    assert len(found) == count
    for parts in found:
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(where)))
        same(parts.test, np.flatnonzero(hashes < limit))
        for part in parts:
            assert part.dtype == np.intp
            assert part.tolist() == sorted(part.tolist())
        for value in set(where):  # equal rows are never in two parts
            sides = [(hashes[part] == value).any() for part in parts]
            assert sum(sides) == 1


@bounded
@given(circle, fraction)
def test_there_are_test_rows_however_few_the_rows(
    where: list[float], test: float
) -> None:
    hashes = np.array(where)
    limit = limit_for_tests(hashes, test)
    distinct = len(set(where))
    assert len(set(hashes[hashes < limit].tolist())) >= min(
        (test > 0) * max(1, int(test * distinct / 2)), max(distinct - 2, 1)
    )
    assert (limit == 0.0) == (test == 0)
    if test and distinct > 2:
        assert len(set(hashes[hashes >= limit].tolist())) >= 2


@pytest.mark.parametrize("count", [1, 2, 5, 64])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.0, 0.3), (0.45, 0.2)])
def test_parts_have_their_shares(count: int, validation: float, test: float) -> None:
    where = (np.arange(10_000) + 0.5) / 10_000
    for parts in rotating_splits(
        where, count, validation, limit_for_tests(where, test)
    ):
        others = 10_000 - len(parts.test)
        assert abs(len(parts.test) - 10_000 * test) <= 1
        assert abs(len(parts.validation) - others * validation) <= 1


def test_shares_of_nothing_leave_every_row_to_train() -> None:
    for parts in rotating_splits(np.linspace(0, 0.99, 50), 3, 0.0, 0.0):
        assert list(map(len, parts)) == [50, 0, 0]


def test_members_differ_in_their_validation_rows_alone() -> None:
    where = np.random.default_rng(0).random(500)
    found = rotating_splits(where, 5, 0.2, limit_for_tests(where, 0.1))
    times = np.zeros(500, int)
    for parts in found:
        same(parts.test, found[0].test)
        times[parts.validation] += 1
    others = np.setdiff1d(np.arange(500), found[0].test)
    assert set(times[others].tolist()) <= {0, 1, 2} and times[others].mean() > 0.95
    assert not times[found[0].test].any()


def test_without_test_rows_all_members_spare_the_same_rows() -> None:
    found = rotating_splits(np.random.default_rng(0).random(100), 4, 0.2, 0.0)
    for parts in found:
        same(parts.validation, found[0].validation)
        assert len(parts.validation) == 20


def test_a_row_stays_a_test_row_when_the_data_grow() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(500, 3))
    grown = np.concatenate([rng.normal(size=(200, 3)), X])
    before, after = (
        rotating_splits(where, count, 0.1, limit_for_tests(where, 0.15))[0].test
        for where, count in ((hash_rows(X), 2), (hash_rows(grown), 8))
    )
    same(before, after[after >= 200] - 200)


# Rows of one place, drawn apart.


@bounded
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75]), min_size=1))
def test_turns_count_the_rows_of_a_place(where: list[float]) -> None:
    expected = [where[:i].count(place) for i, place in enumerate(where)]
    assert count_occurrences(np.array(where)).tolist() == expected


def test_rows_drawn_apart_are_spread_by_chance_alone() -> None:
    where = np.repeat([0.3, 0.6], 5000)
    turn = count_occurrences(where)
    found = rehash_duplicates(where, turn, 1)
    assert len(set(found.tolist())) == 10_000
    counts = np.histogram(found, 20, (0, 1))[0]
    assert (np.abs(counts - 500) < 6 * math.sqrt(500 * 0.95)).all()
    other = rehash_duplicates(where, turn, 2)
    assert abs(np.corrcoef(found, other)[0, 1]) < 0.06
    # Rows that are added move none of those before.
    grown = np.append(where, where)
    same(rehash_duplicates(grown, count_occurrences(grown), 1)[:10_000], found)
    some = np.arange(0, 10_000, 7)
    same(rehash_duplicates(where[some], turn[some], 1), found[some])


# Time.

moments = st.lists(
    st.one_of(st.integers(-5, 5).map(float), st.floats(-1e9, 1e9)), min_size=3
)


@bounded
@given(moments, fraction, fraction)
def test_parts_follow_one_another_in_time(
    when: list[float], validation: float, test: float
) -> None:
    times = np.array(when)
    asked = 1 + (validation > 0) + (test > 0)
    if len(set(when)) < asked:
        with pytest.raises(ValueError, match=f"different times for {asked} parts"):
            by_time(times, validation, test)
        return
    found = by_time(times, validation, test)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(when)))
    assert [len(p) > 0 for p in found] == [True, validation > 0, test > 0]
    parts = [times[part] for part in found if len(part)]
    for before, after in zip(parts, parts[1:], strict=False):
        # Strictly: rows of one moment are never on both sides.
        assert before.max() < after.min()
    for part in found:
        assert part.tolist() == sorted(part.tolist())


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.2, 0.0), (0.0, 0.3)])
def test_parts_of_time_have_their_shares(validation: float, test: float) -> None:
    order = np.random.default_rng(0).permutation(1000)
    found = by_time(order.astype(float), validation, test)
    expected = [1000 * (1 - validation - test), 1000 * validation, 1000 * test]
    assert [len(part) for part in found] == pytest.approx(expected)
    days = by_time(order // 40 * 1.0, validation, test)
    assert [len(part) for part in days] == pytest.approx(expected, abs=40)


def test_one_long_moment_is_in_one_part() -> None:
    times = np.array([0.0] * 3 + [1.0] * 90 + [2.0] * 3)
    assert [len(part) for part in by_time(times, 0.1, 0.1)] == [3, 90, 3]

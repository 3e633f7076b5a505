"""What a column is like, against counting by hand and functions that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_iris

from trainer.checks import column_profile
from trainer.checks.column_profile import (
    Profile,
    Target,
    columns,
    natural_copies,
    profile,
    sample,
)

bounded = settings(deadline=None, max_examples=150)
words = st.lists(st.one_of(st.none(), st.sampled_from("abcdef")), min_size=2)
numbers = st.lists(
    st.one_of(st.just(np.nan), st.integers(-3, 3).map(float)), min_size=2
)


def of(values: Any, target: Any = None, kind: str = "", rows: int = 0) -> Profile:
    """Profile a column, in the order its rows have."""
    is_text = isinstance(values, list) and any(isinstance(v, str) for v in values)
    kind = kind or ("categorical" if is_text else "numeric")
    if kind != "categorical":
        values = np.array(values, float)
    target = np.arange(len(values)) % 2 if target is None else np.asarray(target)
    judged = Target(target, target.dtype.kind in "iU")
    return profile("c", kind, values, judged, rows or len(values))


def explains(values: Any, target: Any) -> float:
    """What a shuffled column tells of the target."""
    rows = np.random.default_rng(0).permutation(len(target))
    values = (
        [values[i] for i in rows]
        if isinstance(values, list)
        else np.array(values)[rows]
    )
    return of(values, np.asarray(target)[rows]).explains


# Counting.


@bounded
@given(st.one_of(words, numbers))
def test_counts_are_those_of_counting(values: list[Any]) -> None:
    found = of(values, kind="categorical" if None in values else "")
    names = [repr(v + 0.0 if isinstance(v, float) else v) for v in values]
    gone = [v is None or v != v for v in values]
    n = len(values)
    assert (found.rows, found.missing) == (n, pytest.approx(np.mean(gone)))
    assert found.distinct == len({v for v, g in zip(names, gone, strict=True) if not g})
    pairs = [names[i] == names[j] for i in range(n) for j in range(n) if i != j]
    assert found.repeats == pytest.approx(np.mean(pairs))


@bounded
@given(words, words)
def test_columns_of_equal_content_hold_the_same(one: Any, other: Any) -> None:
    a, b = of(one, kind="categorical"), of(other, kind="categorical")
    assert (a.content == b.content) == (one == other)


@bounded
@given(words, st.permutations("abcdef"))
def test_columns_of_equal_pattern_are_renamed(values: Any, names: Any) -> None:
    table = {None: None, **dict(zip("abcdef", names, strict=True))}
    renamed = [table[v] for v in values]
    one, other = of(values, kind="categorical"), of(renamed, kind="categorical")
    assert one.pattern == other.pattern
    assert (one.content == other.content) == (values == renamed)
    codes = [ord(v) if v else 0 for v in values]
    assert of(codes, kind="numeric").pattern == one.pattern
    merged = ["a" if v == "b" else v for v in values]
    same = "b" not in values or "a" not in values
    assert (of(merged, kind="categorical").pattern == one.pattern) == same


def test_both_zeros_are_one_value() -> None:
    assert of([0.0, 1.0]).content == of([-0.0, 1.0]).content


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        (np.arange(1, 100), 99, True),
        (np.random.default_rng(0).permutation(99) + 5000, 99, True),
        (np.delete(np.arange(100), [3, 50]), 98, True),
        (np.arange(0, 1000, 10), 1000, True),  # some of a thousand rows
        (np.arange(0, 1000, 10), 100, False),
        (np.arange(99) + 0.5, 99, False),
        (np.arange(99) // 2, 99, False),
        ([*range(98), np.nan], 99, False),
    ],
)
def test_numbers_that_count_rows(values: Any, rows: int, expected: bool) -> None:
    assert of(values, rows=rows).numbered == expected
    assert not of(values, rows=rows, kind="datetime").numbered


# Explaining the target.


@pytest.mark.parametrize("n", [60, 1000])
@pytest.mark.parametrize("f", [np.exp, np.negative, np.square, np.sin, np.cbrt])
def test_a_function_of_a_column_is_explained(n: int, f: Any) -> None:
    x = np.random.default_rng(1).uniform(-2, 2, n)
    assert explains(x, f(x)) > 0.98
    # Twenty classes that lie side by side.
    if n == 1000:
        assert explains(x, np.digitize(x, np.linspace(-2, 2, 20))) > 0.98


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_column_that_tells_each_class_explains_it(classes: int) -> None:
    y = np.random.default_rng(2).integers(0, classes, 500)
    assert explains(y * 10.0, y) == 1.0
    assert explains([f"word {c}" for c in y], y) == 1.0
    gone = np.where(y == 0, np.nan, y)
    assert explains(gone, y) == 1.0


def test_missing_values_can_tell() -> None:
    rng = np.random.default_rng(3)
    y = rng.random(1000) < 0.1
    ended = np.where(y, rng.normal(size=1000), np.nan)
    assert explains(ended, y.astype(int)) == 1.0
    texts = [f"reason {i % 5}" if left else None for i, left in enumerate(y)]
    assert explains(texts, y.astype(int)) == 1.0


@pytest.mark.parametrize("n", [50, 300, 5000])
@pytest.mark.parametrize("kind", ["classes", "rare", "many", "numbers", "skewed"])
@pytest.mark.parametrize("column", ["drawn", "few", "words", "names", "counts"])
def test_chance_explains_next_to_nothing(n: int, kind: str, column: str) -> None:
    rng = np.random.default_rng(4)
    y = {
        "classes": rng.integers(0, 2, n),
        "rare": (np.arange(n) < 4).astype(int),
        "many": rng.integers(0, 30, n),
        "numbers": rng.normal(size=n),
        "skewed": np.exp(4 * rng.normal(size=n)),
    }[kind]
    x: Any = {
        "drawn": rng.normal(size=n),
        "few": rng.integers(0, 3, n) * 1.0,
        "words": rng.choice(["a", "b", "c"], n).tolist(),
        "names": [f"n{i}" for i in rng.permutation(n)],
        "counts": rng.permutation(n) * 1.0,
    }[column]
    assert explains(x, y) < 0.5


def test_what_is_explained_is_the_share_of_variance() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    x = rng.uniform(-1, 1, n)
    # Of ranks of a uniform sum, noise being a fifth of it.
    y = x + rng.uniform(-0.5, 0.5, n)
    order = y.argsort().argsort()
    bins = np.digitize(x, np.linspace(-1, 1, 200))
    mean = np.bincount(bins, order)[bins] / np.bincount(bins)[bins]
    expected = 1 - np.var(order - mean) / np.var(order)
    assert explains(x, y) == pytest.approx(expected, abs=0.02)


def test_slips_are_counted() -> None:
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 40_000)
    for slips in (0.001, 0.01, 0.1):
        x = np.where(rng.random(len(y)) < slips, 1 - y, y)
        # Goodman and Kruskal's tau of a table with a share of slips.
        expected = 1 - 2 * slips * (1 - slips) / 0.5
        assert explains(x * 1.0, y) == pytest.approx(expected, abs=0.01)
        assert explains([f"c{v}" for v in x], y) == pytest.approx(expected, abs=0.01)


def test_an_exclusive_or_is_explained_by_neither() -> None:
    a, b = np.repeat([0, 0, 1, 1], 200), np.tile([0, 1], 400)
    assert abs(explains(a * 1.0, a ^ b)) < 0.2
    assert abs(explains(b * 1.0, a ^ b)) < 0.2


def test_strong_and_honest_columns_stay_below_a_leak() -> None:
    iris, tumours = load_iris(), load_breast_cancer()
    best = max(explains(x, iris.target) for x in iris.data.T)
    assert 0.8 < best < 0.92
    best = max(explains(x, tumours.target) for x in tumours.data.T)
    assert 0.7 < best < 0.85
    # Two bells five deviations apart: an area under the curve of 0.9998.
    y = np.random.default_rng(7).integers(0, 2, 3000)
    x = np.random.default_rng(8).normal(size=3000) + 4 * y
    assert explains(x, y) < 0.96


# Which rows and columns are looked at.


def test_columns_are_those_of_a_table_or_a_matrix() -> None:
    table = {"b": np.zeros(2), "a": ["x", None]}
    kinds = {"b": "numeric", "a": "categorical"}
    assert [(n, k) for n, k, _ in columns(table, kinds)] == [*kinds.items()]
    X = np.arange(6, dtype=np.uint8).reshape(2, 3)
    found = list(columns(X, {}))
    assert [(n, k) for n, k, _ in found] == [
        (f"x[:, {i}]", "numeric") for i in (0, 1, 2)
    ]
    assert [np.asarray(v).tolist() for *_, v in found] == [[0, 3], [1, 4], [2, 5]]
    assert list(columns(np.zeros((2, 3, 3)), {})) == []


def test_some_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(5, 505)
    found = sample(rows, 3)
    assert sorted(found.tolist()) == rows.tolist() != found.tolist()
    np.testing.assert_array_equal(found, sample(rows, 3))
    monkeypatch.setattr(column_profile, "MAX_SAMPLE_ROWS", 200)
    assert len(set(sample(rows, 3).tolist())) == 200
    assert len(sample(np.arange(5000), 10**9)) == 200
    monkeypatch.setattr(column_profile, "MAX_SAMPLE_ROWS", 100_000)
    assert len(sample(np.arange(5000), 10**9)) == 1000


# Copies by nature.


def test_copies_by_nature_are_those_of_columns_drawn_apart() -> None:
    rng = np.random.default_rng(9)
    n = 2000
    drawn = [rng.integers(0, k, n) * 1.0 for k in (20, 30, 25)]
    keys = sum(v * 100.0**i for i, v in enumerate(drawn))
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    found = natural_copies([of(v) for v in drawn], n)
    assert found == pytest.approx((counts[place] - 1).mean(), rel=0.1)
    assert natural_copies([of(rng.normal(size=n))], n) == 0.0
    assert natural_copies([], n) == 0.0


def test_of_categories_that_go_together_one_counts() -> None:
    rng = np.random.default_rng(10)
    city = rng.integers(0, 50, 500)
    texts = [[f"{c // k}" for c in city] for k in (1, 5, 10, 25)]
    found = [of(t, kind="categorical") for t in texts]
    assert natural_copies(found, 500) == min(1.0, 500 * found[0].repeats) == 1.0

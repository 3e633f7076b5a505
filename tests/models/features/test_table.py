"""Raw columns become one float32 matrix, whatever they hold."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.features.columns import (
    MAX_CATEGORIES,
    MAX_ONE_HOT,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
)
from models.features.dates import seconds
from models.features.table import CLIP, Columns, Layout, TableInput, fit_column
from models.types import Array

bounded = settings(deadline=None, max_examples=80)
NAN = np.nan

MOMENTS = st.floats(seconds("0001-01-01"), seconds("9999-12-31"))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "numeric": NUMBERS | st.sampled_from([NAN, 0.0, 1.0, 1e308, -1e308, 5e-324]),
    "boolean": st.sampled_from([0.0, 1.0, NAN]),
    "datetime": MOMENTS | st.just(NAN),
    "categorical": st.none() | st.sampled_from("abcd") | st.text(max_size=3),
    "wide": st.none() | st.sampled_from("abcdefghij") | st.text(max_size=3),
}
#: What a wide column has seen in any case: more than are told one by one.
MANY = list("abcdefghij")


@st.composite
def raw_columns(draw: st.DrawFn, kinds: dict[str, str]) -> dict[str, Any]:
    """A few rows of the given columns."""
    n = draw(st.integers(1, 6))
    raw: dict[str, Any] = {}
    for name, kind in kinds.items():
        if kind in ("categorical", "wide"):
            raw[name] = draw(st.lists(VALUES[kind], min_size=n, max_size=n))
        else:
            raw[name] = draw(hnp.arrays(np.float64, n, elements=VALUES[kind]))
    return raw


def learn(raw: dict[str, Any], kinds: dict[str, str]) -> TableInput:
    return TableInput(
        tuple(
            fit_column(n, "categorical", raw[n] + MANY)
            if kinds[n] == "wide"
            else fit_column(n, kinds[n], raw[n])
            for n in raw
        )
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[TableInput, Columns]:
    """A signature learnt from some rows, and other rows to encode."""
    chosen = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    kinds = {f"{kind} {i}": kind for i, kind in enumerate(chosen)}
    return learn(draw(raw_columns(kinds)), kinds), draw(raw_columns(kinds))


def rows(raw: Columns) -> int:
    return len(next(iter(raw.values())))


@bounded
@given(cases())
def test_any_rows_give_finite_numbers_within_the_clip(
    case: tuple[TableInput, Columns],
) -> None:
    table, raw = case
    X = table.encode(raw)
    assert X.dtype == np.float32
    assert X.shape == (rows(raw), table.width)
    assert len(table.feature_names()) == table.width
    assert np.isfinite(X).all()
    codes = len(table.layout.categories)
    assert np.abs(X[:, : table.width - codes]).max(initial=0) <= CLIP


@bounded
@given(cases())
def test_the_layout_is_how_the_width_divides(
    case: tuple[TableInput, Columns],
) -> None:
    table, raw = case
    quantities, plain, categories = table.layout
    assert table.width == quantities + plain + len(categories)
    assert min(quantities, plain) >= 0
    columns = [table.by_name[name] for name in table.feature_names()]
    kinds = [type(column).__name__ for column in columns]
    # Quantities are numbers and moments, each column once, in signature order.
    sized = [
        column.name
        for column in table.columns
        if isinstance(column, NumericColumn | DatetimeColumn) and column.scaling.scale
    ]
    assert table.feature_names()[:quantities] == sized
    codes = columns[quantities + plain :]
    assert [
        len(c.categories) for c in codes if isinstance(c, CategoricalColumn)
    ] == list(categories)
    assert kinds[quantities + plain :] == ["CategoricalColumn"] * len(categories)
    for column, n, X in zip(
        codes, categories, table.encode(raw)[:, quantities + plain :].T, strict=True
    ):
        assert n > MAX_ONE_HOT
        assert isinstance(column, CategoricalColumn)
        known = column.categories
        texts: Any = raw[column.name]
        expected = [known.index(t) if t in known else -1 for t in texts]
        assert X.tolist() == expected


@bounded
@given(cases())
def test_a_row_alone_is_encoded_as_in_its_batch(
    case: tuple[TableInput, Columns],
) -> None:
    table, raw = case
    X = table.encode(raw)
    for i in range(rows(raw)):
        alone = {name: values[i : i + 1] for name, values in raw.items()}
        np.testing.assert_array_equal(table.encode(alone)[0], X[i])


@bounded
@given(cases())
def test_a_signature_from_the_manifest_encodes_alike(
    case: tuple[TableInput, Columns],
) -> None:
    table, raw = case
    written = msgspec.json.encode(table)
    again = msgspec.json.decode(written, type=TableInput)
    assert again == table
    assert again.feature_names() == table.feature_names()
    np.testing.assert_array_equal(again.encode(raw), table.encode(raw))


@bounded
@given(cases())
def test_the_order_of_the_given_columns_does_not_matter(
    case: tuple[TableInput, Columns],
) -> None:
    table, raw = case
    turned = dict(reversed(raw.items()))
    np.testing.assert_array_equal(table.encode(turned), table.encode(raw))


@bounded
@given(
    hnp.arrays(np.float64, st.integers(2, 8), elements=st.floats(-1e3, 1e3)),
    st.lists(NUMBERS, min_size=2, max_size=8),
)
def test_the_clip_keeps_the_order_and_three_is_its_end(
    learnt: Array, given: list[float]
) -> None:
    table = TableInput((fit_column("x", "numeric", learnt),))
    if table.width:
        z = table.encode({"x": np.sort(given)})[:, 0]
        assert (np.diff(z) >= 0).all()
        assert np.abs(z).max() <= 3


def test_numbers_are_scaled_by_quartiles_and_clipped_smoothly() -> None:
    learnt = np.array([1.0, 2, 4, 8, 16, 32, 100])
    table = TableInput((fit_column("x", "numeric", learnt),))
    x = np.array([-1e308, -50, 8, 9, 1e4, 1e308])
    q25, median, q75 = np.percentile(learnt, [25, 50, 75])
    z = np.clip((x - median) / (q75 - q25), -1e9, 1e9)
    expected = z / np.sqrt(1 + (z / 3) ** 2)
    np.testing.assert_allclose(table.encode({"x": x})[:, 0], expected, rtol=1e-6)
    assert expected[0] == -3
    assert expected[-1] == 3


def test_booleans_are_plus_and_minus_one_before_the_clip() -> None:
    table = TableInput((fit_column("b", "boolean", np.array([1.0, 0])),))
    X = table.encode({"b": np.array([0.0, 1.0, NAN])})
    side = 1 / np.sqrt(1 + 1 / 9)
    np.testing.assert_allclose(X, [[-side], [side], [0]], rtol=1e-6)


def test_features_stand_as_quantities_sides_gaps_categories_and_codes() -> None:
    raw: dict[str, Any] = {
        "street": [*"cab"],
        "city": ["Bern", "Basel", "Chur"],
        "age": np.array([30.0, NAN, 50.0]),
        "member": np.array([1.0, 0.0, NAN]),
        "sex": ["f", "m", None],
        "height": np.array([1.6, 1.7, 1.8]),
    }
    kinds = {
        "street": "wide",
        "city": "categorical",
        "age": "numeric",
        "member": "boolean",
        "sex": "categorical",
        "height": "numeric",
    }
    table = learn(raw, kinds)
    assert table.feature_names() == (
        ["age", "height", "member"]
        + ["age", "member"]
        + ["city"] * 3
        + ["sex", "street"]
    )
    assert table.layout == Layout(2, 1 + 2 + 3 + 1, (10,))
    X = table.encode(raw)
    np.testing.assert_array_equal(X[:, 3], [0, 1, 0])  # age is missing
    np.testing.assert_array_equal(X[:, 4], [0, 0, 1])  # member is missing
    np.testing.assert_array_equal(X[1, 0], 0)  # the median stands in
    np.testing.assert_array_equal(X[:, 5:8], [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(X[:, 8], [-1, 1, 0])
    np.testing.assert_array_equal(X[:, 9], [2, 0, 1])
    alone = {"height": raw["height"]}
    np.testing.assert_array_equal(learn(alone, kinds).encode(alone)[:, 0], X[:, 1])
    side = 1 / np.sqrt(1 + 1 / 9)
    np.testing.assert_allclose(X[:, 2], [side, -side, 0], rtol=1e-6)


def test_a_moment_is_a_quantity_and_its_circles_are_not() -> None:
    raw = {
        "member": np.array([1.0, 0.0, 1.0]),
        "at": np.array([0.0, 86_400.0 * 40, 86_400.5 * 90]),
        "age": np.array([1.0, 2.0, 4.0]),
    }
    kinds = {"member": "boolean", "at": "datetime", "age": "numeric"}
    table = learn(raw, kinds)
    assert table.layout == Layout(2, 1 + 6, ())
    assert table.feature_names() == ["at", "age", "member"] + ["at"] * 6
    X = table.encode(raw)
    for name, place in ("at", 0), ("age", 1), ("member", 2):
        alone = {name: raw[name]}
        np.testing.assert_array_equal(
            learn(alone, kinds).encode(alone)[:, 0], X[:, place]
        )
    at = learn({"at": raw["at"]}, kinds).encode({"at": raw["at"]})
    np.testing.assert_array_equal(X[:, 3:], at[:, 1:])


def test_a_code_is_the_place_among_the_categories() -> None:
    texts = [f"often {i:03}" for i in range(MAX_ONE_HOT + 1)]
    table = learn({"c": texts}, {"c": "categorical"})
    assert (table.width, table.layout) == (1, Layout(0, 0, (MAX_ONE_HOT + 1,)))
    X = table.encode({"c": [texts[8], "new", texts[0], None, ""]})
    np.testing.assert_array_equal(X, [[8], [-1], [0], [-1], [-1]])
    fewer = learn({"c": texts[1:]}, {"c": "categorical"})
    assert fewer.layout == Layout(0, MAX_ONE_HOT, ())
    np.testing.assert_array_equal(fewer.encode({"c": texts[1:]}), np.eye(8))


def test_a_category_never_seen_is_like_a_missing_one() -> None:
    table = learn({"c": ["a", "b", "c"]}, {"c": "categorical"})
    np.testing.assert_array_equal(table.encode({"c": ["new", None, ""]}), 0)


def test_a_rare_category_is_like_one_never_seen() -> None:
    texts = [f"often {i:03}" for i in range(MAX_CATEGORIES)] * 2 + ["rare"]
    table = learn({"c": texts}, {"c": "categorical"})
    assert table.layout == Layout(0, 0, (MAX_CATEGORIES,))
    assert table.width == 1
    X = table.encode({"c": ["rare", "often 007", "often 999", "never"]})
    np.testing.assert_array_equal(X[:, 0], [-1, 7, 999, -1])


def test_a_value_missing_where_training_had_none_is_the_median() -> None:
    table = TableInput((fit_column("x", "numeric", np.array([1.0, 2, 3])),))
    assert table.width == 1
    np.testing.assert_array_equal(table.encode({"x": np.array([NAN, 2.0])}), 0)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("numeric", np.array([7.0, 7.0])),
        ("numeric", np.array([NAN, NAN])),
        ("numeric", np.array([7.0, NAN])),
        ("boolean", np.array([1.0, NAN])),
        ("datetime", np.array([0.0, 0.0])),
        ("datetime", np.array([NAN, NAN])),
        ("categorical", ["a", "a"]),
        ("categorical", [None, None]),
    ],
)
def test_a_column_that_does_not_vary_gives_no_features(kind: str, values: Any) -> None:
    table = learn({"x": values}, {"x": kind})
    assert table.width == 0
    assert table.feature_names() == []
    assert table.encode({"x": values}).shape == (2, 0)


def test_two_columns_of_one_name_are_refused() -> None:
    column = fit_column("x", "numeric", np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="same name"):
        TableInput((column, column))
    written = msgspec.json.encode(TableInput((column,)))
    twice = written.replace(b"[", b"[" + msgspec.json.encode(column) + b",", 1)
    with pytest.raises(msgspec.ValidationError, match="same name"):
        msgspec.json.decode(twice, type=TableInput)

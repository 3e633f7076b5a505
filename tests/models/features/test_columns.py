"""Each kind of column learns itself from its values and stands in the manifest."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.features.columns import (
    MAX_CATEGORIES,
    MAX_ONE_HOT,
    WEEK,
    YEAR,
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    Floats,
    NumericColumn,
    Standardization,
)
from models.features.dates import DAY, seconds
from models.features.table import fit_column

bounded = settings(deadline=None, max_examples=80)
finite = st.floats(allow_nan=False, allow_infinity=False)
NAN = np.nan


def floats(elements: st.SearchStrategy[float] = finite) -> st.SearchStrategy[Floats]:
    return hnp.arrays(np.float64, st.integers(0, 12), elements=elements)


def array(*values: float) -> Floats:
    return np.array(values, np.float64)


# Numbers


def test_a_numeric_column_knows_its_range_and_its_gaps() -> None:
    column = NumericColumn.fit("age", array(3, NAN, -1.5, 8))
    assert (column.name, column.nullable) == ("age", True)
    assert (column.minimum, column.maximum) == (-1.5, 8)
    assert not column.integer
    assert column.scaling == Standardization.fit(array(3, -1.5, 8))


def test_whole_numbers_are_told_from_others() -> None:
    assert NumericColumn.fit("n", array(3, NAN, -1, 1e300)).integer
    assert not NumericColumn.fit("n", array(3, 0.5)).integer
    assert not NumericColumn.fit("n", array(NAN)).integer


def test_a_column_without_a_value_has_no_range() -> None:
    column = NumericColumn.fit("n", array(NAN, NAN))
    assert (column.minimum, column.maximum, column.nullable) == (None, None, True)
    assert column.scalings == ()


# Booleans


@pytest.mark.parametrize(
    ("values", "nullable", "varies"),
    [
        ((1, 0, 1), False, True),
        ((1, 1), False, False),
        ((0, NAN, 1), True, True),
        ((NAN, 0), True, False),
        ((NAN,), True, False),
    ],
)
def test_a_boolean_column_varies_or_not(
    values: tuple[float, ...], nullable: bool, varies: bool
) -> None:
    column = BooleanColumn.fit("b", array(*values))
    assert column == BooleanColumn(name="b", nullable=nullable, varies=varies)
    assert len(column.scalings) == varies == len(column.features(array(1)))


# Dates


def test_a_date_column_knows_its_range() -> None:
    values = array(seconds("2024-02-29"), NAN, seconds("2023-01-01"))
    column = DatetimeColumn.fit("day", values)
    assert (column.minimum, column.maximum) == ("2023-01-01", "2024-02-29")
    assert (column.nullable, column.has_time) == (True, False)
    assert column.periods == (YEAR, WEEK)


def test_times_of_day_are_seen_and_kept() -> None:
    values = array(seconds("2024-02-29T06:30:00"), seconds("2023-01-01"))
    column = DatetimeColumn.fit("at", values)
    assert column.minimum == "2023-01-01T00:00:00"
    assert column.maximum == "2024-02-29T06:30:00"
    assert column.periods == (YEAR, WEEK, DAY)


def test_one_time_of_day_is_no_feature_but_stays_in_the_range() -> None:
    values = array(seconds("2023-01-01T12:00:00"), seconds("2024-01-01T12:00:00"))
    column = DatetimeColumn.fit("at", values)
    assert not column.has_time
    assert column.maximum == "2024-01-01T12:00:00"


def test_the_last_moment_of_the_calendar_can_be_learnt() -> None:
    last = "9999-12-31T23:59:59.999999"  # a usual way to write "for ever"
    column = DatetimeColumn.fit("until", array(seconds("2024-01-01"), seconds(last)))
    assert column.maximum is not None
    assert column.maximum.startswith("9999-12-31T23:59:59.9999")


def test_a_moment_lies_on_the_circles_of_its_periods() -> None:
    values = array(seconds("2024-01-01"), seconds("2024-06-01T06:00:00"))
    column = DatetimeColumn.fit("at", values)
    moment, *waves = column.features(values)
    assert len(waves) + 1 == len(column.scalings) == 7
    np.testing.assert_array_equal(moment, values)
    for period, (sin, cos) in zip(
        column.periods, zip(waves[::2], waves[1::2], strict=True), strict=True
    ):
        angle = 2 * np.pi * (values / period)
        np.testing.assert_allclose(sin, np.sin(angle), atol=1e-9)
        np.testing.assert_allclose(cos, np.cos(angle), atol=1e-9)
    # A week later the week's circle is where it was; the same hour, the day's.
    later = column.features(values + WEEK)
    np.testing.assert_allclose(later[3:7], [*waves[2:6]], atol=1e-9)


# Categories


def test_categories_are_sorted_and_missing_is_none_of_them() -> None:
    column = CategoricalColumn.fit("c", ["b", None, "a", "b", "ü"])
    assert column.categories == ("a", "b", "ü")
    assert (column.nullable, column.rare, column.width) == (True, 0, 3)


@pytest.mark.parametrize(
    ("values", "width"),
    [
        ([], 0),
        ([None, None], 0),
        (["a", "a"], 0),
        (["a", "b"], 1),
        (["a", "b", None], 1),
        (["a", "b", "c"], 3),
    ],
)
def test_two_categories_share_one_number(values: list[str | None], width: int) -> None:
    assert CategoricalColumn.fit("c", values).width == width


@pytest.mark.parametrize(
    ("n", "embedded", "width"),
    [(2, False, 1), (MAX_ONE_HOT, False, MAX_ONE_HOT), (MAX_ONE_HOT + 1, True, 1)],
)
def test_of_many_categories_the_code_is_given(
    n: int, embedded: bool, width: int
) -> None:
    column = CategoricalColumn.fit("c", [f"{i}" for i in range(n)])
    assert (column.embedded, column.width) == (embedded, width)


def test_rare_categories_are_not_kept_apart() -> None:
    frequent = [f"often {i:03}" for i in range(MAX_CATEGORIES - 1)] * 2
    rare = ["once b", "once a", "once c"]
    column = CategoricalColumn.fit("c", rare + frequent)
    assert column.rare == 2
    assert len(column.categories) == MAX_CATEGORIES
    assert (column.embedded, column.width) == (True, 1)
    # Of those equally frequent the first by name.
    assert column.categories == (*sorted({*frequent, "once a"}),)


# All


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("numeric", array(1, 2, NAN)),
        ("boolean", array(0, 1)),
        ("datetime", array(0.25, NAN, 1e9)),
        ("categorical", ["a", None, "b"]),
    ],
)
def test_a_column_survives_the_manifest(kind: str, values: Any) -> None:
    column = fit_column("x", kind, values)
    written = msgspec.json.encode(column)
    assert msgspec.json.decode(written)["kind"] == kind
    assert msgspec.json.decode(written, type=AnyColumn) == column


def test_a_column_is_not_nullable_unless_it_is_said() -> None:
    written = b'{"kind":"boolean","name":"b","varies":true}'
    column = msgspec.json.decode(written, type=AnyColumn)
    assert column == BooleanColumn(name="b", nullable=False, varies=True)


@pytest.mark.parametrize("name", ["", "x" * 1025])
def test_a_name_has_a_length_in_the_manifest(name: str) -> None:
    column = {"kind": "boolean", "name": name, "varies": True}
    with pytest.raises(msgspec.ValidationError, match="length"):
        msgspec.convert(column, AnyColumn)

"""What kind a column is, what its values are, and how a target is spelled."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import DataError
from models.features.text import FIRST_SECOND, LAST_SECOND
from trainer.data.frames import dataset, infer_kind, read_labels, read_values

PLUS_TWO = dt.timezone(dt.timedelta(hours=2))


def text(*values: str | None) -> pl.Series:
    return pl.Series("c", values, pl.String)


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2.5", "3e4", "+1", ".5", " 7 "], "numeric"),
        (["1", "", None, "NA", "N/A", "#N/A", "null", "NULL", "None"], "numeric"),
        (["1", " ", " NA "], "numeric"),
        (["", None, "NA"], "numeric"),
        (["0", "1"], "numeric"),
        (["nan", "1"], "numeric"),
        (["1", "two"], "categorical"),
        (["1,5", "2,5"], "categorical"),
        (["true", "FALSE", "True", "", "NA", " "], "boolean"),
        (["true", "yes"], "categorical"),
        (["2024-02-29", "1969-12-31", "", "NA", " "], "datetime"),
        (["2024-02-29T12:30:00", "2024-02-29 12:30"], "datetime"),
        (["2024-02-29T12:30:00+02:00", "2024-02-29T12:30:00Z"], "datetime"),
        (["2024-02-30"], "categorical"),
        (["2024-02-29 lunch"], "categorical"),
        (["29.02.2024"], "categorical"),
        (["20240229"], "numeric"),
        (["a", "b", None], "categorical"),
    ],
)
def test_the_kind_of_text_is_that_of_all_its_values(
    values: list[str | None], kind: str
) -> None:
    assert infer_kind(text(*values)) == kind


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pl.Series("c", [1, None], pl.Int8), "numeric"),
        (pl.Series("c", [1], pl.UInt64), "numeric"),
        (pl.Series("c", [1.5], pl.Float32), "numeric"),
        (pl.Series("c", ["1.50"]).cast(pl.Decimal(10, 2)), "numeric"),
        (pl.Series("c", [None], pl.Null), "numeric"),
        (pl.Series("c", [True, None]), "boolean"),
        (pl.Series("c", [dt.date(2024, 1, 1)]), "datetime"),
        (pl.Series("c", [dt.datetime(2024, 1, 1, tzinfo=PLUS_TWO)]), "datetime"),
        (pl.Series("c", ["a"], pl.Categorical), "categorical"),
        (pl.Series("c", ["a"], pl.Enum(["a", "b"])), "categorical"),
        (pl.Series("c", ["1", "2"]), "numeric"),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_typed_column_says_its_kind(column: pl.Series, kind: str) -> None:
    assert infer_kind(column) == kind


UNUSABLE = [
    pl.Series("c", [[1, 2]]),
    pl.Series("c", [{"a": 1}]),
    pl.Series("c", [b"x"]),
    pl.Series("c", [dt.time(12)]),
    pl.Series("c", [dt.timedelta(1)]),
]


@pytest.mark.parametrize("column", UNUSABLE, ids=lambda column: str(column.dtype))
def test_a_type_that_is_no_value_is_refused(column: pl.Series) -> None:
    assert refused(infer_kind, column).startswith("column 'c': expected numbers, ")
    for kind in ("numeric", "boolean", "datetime", "categorical"):
        assert refused(read_values, column, kind).startswith("column 'c'")
    assert refused(read_labels, column).startswith("target 'c'")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("1", "-2.5e3", " 7 "), [1.0, -2500.0, 7.0]),
        (text("1", "", None, "NA", " "), [1.0] + [math.nan] * 4),
        (text("", None), [math.nan] * 2),
        (pl.Series("c", [1, None], pl.Int64), [1.0, math.nan]),
        (pl.Series("c", [0.5, None], pl.Float32), [0.5, math.nan]),
        (pl.Series("c", ["1.25"]).cast(pl.Decimal(10, 2)), [1.25]),
        (pl.Series("c", [None, None], pl.Null), [math.nan] * 2),
    ],
)
def test_numbers(column: pl.Series, expected: list[float]) -> None:
    found = read_values(column, "numeric")
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (text("1", "2", "x"), 3, "text"),
        (text("1", "NaN"), 2, "NaN"),
        (text("inf", "1"), 1, "infinity"),
        (text("1", "-Infinity"), 2, "infinity"),
        (text("1", "1e400"), 2, "infinity"),
        (pl.Series("c", [1.0, math.nan]), 2, "NaN"),
        (pl.Series("c", [1.0, None, math.inf]), 3, "infinity"),
        (pl.Series("c", [None, True]), 2, "Boolean"),
        (pl.Series("c", [None, dt.date(2024, 1, 1)]), 2, "Date"),
        (pl.Series("c", ["a"], pl.Categorical), 1, "Categorical"),
    ],
)
def test_what_is_no_number_is_told_with_its_row(
    column: pl.Series, row: int, found: str
) -> None:
    message = refused(read_values, column, "numeric")
    assert message.startswith(f"column 'c', row {row}: expected a ")
    assert message.endswith(f"found {found}")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("true", "FALSE", "True"), [1, 0, 1]),
        (text("true", "", None, "NA", " "), [1] + [math.nan] * 4),
        (pl.Series("c", [True, None, False]), [1, math.nan, 0]),
        (pl.Series("c", [None], pl.Null), [math.nan]),
        (text("", ""), [math.nan] * 2),
    ],
)
def test_booleans(column: pl.Series, expected: list[float]) -> None:
    found = read_values(column, "boolean")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (text("true", "yes"), 2, "other text"),
        (text("true", "1"), 2, "other text"),
        (pl.Series("c", [None, 1, 5]), 2, "Int64"),
        (pl.Series("c", [0.0, 1.0]), 1, "Float64"),
        (pl.Series("c", [dt.date(2024, 1, 1)]), 1, "Date"),
    ],
)
def test_what_is_no_boolean_is_told_with_its_row(
    column: pl.Series, row: int, found: str
) -> None:
    message = refused(read_values, column, "boolean")
    assert message == f"column 'c', row {row}: expected true or false, found {found}"


def moment(*parts: int, tzinfo: dt.tzinfo = dt.UTC) -> float:
    return dt.datetime(*parts, tzinfo=tzinfo).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("2024-02-29", "1969-12-31"), [moment(2024, 2, 29), -86_400.0]),
        (text("2024-02-29T12:30:00"), [moment(2024, 2, 29, 12, 30)]),
        (text("2024-02-29T12:30:00Z"), [moment(2024, 2, 29, 12, 30)]),
        (text("2024-02-29T12:30:00+02:00"), [moment(2024, 2, 29, 10, 30)]),
        (text("2024-02-29 12:30:00.250"), [moment(2024, 2, 29, 12, 30) + 0.25]),
        (text("2024-02-29", "", None, "NA", " "), [1709164800.0] + [math.nan] * 4),
        (text("", ""), [math.nan] * 2),
        (pl.Series("c", [None], pl.Null), [math.nan]),
        (pl.Series("c", [dt.date(2024, 2, 29), None]), [1709164800.0, math.nan]),
        (pl.Series("c", [dt.datetime(2024, 2, 29, 12)]), [moment(2024, 2, 29, 12)]),
        (
            pl.Series("c", [dt.datetime(2024, 2, 29, 12, tzinfo=PLUS_TWO)]),
            [moment(2024, 2, 29, 10)],
        ),
        (
            pl.Series("c", [dt.datetime(2024, 7, 1, 12)]).dt.replace_time_zone(
                "Europe/Berlin"
            ),
            [moment(2024, 7, 1, 10)],
        ),
        (
            pl.Series("c", [dt.datetime(2024, 2, 29)], pl.Datetime("ns")),
            [1709164800.0],
        ),
    ],
)
def test_dates_are_seconds_since_1970_in_utc(
    column: pl.Series, expected: list[float]
) -> None:
    np.testing.assert_array_equal(read_values(column, "datetime"), expected)


def test_typed_dates_beyond_those_of_text_are_told() -> None:
    # PostgreSQL's infinity is the last number of its type, which polars cannot print.
    days = pl.Series("d", [0, (1 << 31) - 1], pl.Int32).cast(pl.Date)
    moments = pl.Series("d", [0, -(1 << 63)], pl.Int64).cast(pl.Datetime("us"))
    for column in (days, moments):
        with pytest.raises(DataError, match="'d', row 2: expected a date of the years"):
            read_values(column, "datetime")
        with pytest.raises(DataError, match="'d', row 2: expected a date of the years"):
            read_values(column, "categorical")
        with pytest.raises(DataError, match="'d', row 2: expected a date of the years"):
            read_labels(column)
    edge = [dt.date(1, 1, 1), dt.date(9999, 12, 31)]
    found = read_values(pl.Series("d", edge), "datetime")
    assert list(found) == [FIRST_SECOND, LAST_SECOND // 86_400 * 86_400]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (text("2024-02-29", "2024-02-30"), 2),
        (text("2024-02-29", "", "soon"), 3),
        (pl.Series("c", [None, 1709164800]), 2),
    ],
)
def test_what_is_no_date_is_told_with_its_row(column: pl.Series, row: int) -> None:
    message = refused(read_values, column, "datetime")
    assert message.startswith(f"column 'c', row {row}: expected a")
    assert "date" in message


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("a", "", None, "NA", " b"), ["a", None, None, "NA", " b"]),
        (pl.Series("c", [1, None, 300]), ["1", None, "300"]),
        (pl.Series("c", [True, None]), ["true", None]),
        (pl.Series("c", ["a", None], pl.Categorical), ["a", None]),
        (pl.Series("c", [None], pl.Null), [None]),
        (pl.Series("c", [dt.date(2024, 2, 29)]), ["2024-02-29"]),
    ],
)
def test_categories_are_texts(column: pl.Series, expected: list[Any]) -> None:
    assert read_values(column, "categorical") == expected


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["0", "1", "-3"], [0, 1, -3]),
        (["1.5", "2.0", "1e-07"], [1.5, 2.0, 1e-07]),
        (["true", "false"], [True, False]),
        (["yes", "no"], ["yes", "no"]),
        (["007", "7"], ["007", "7"]),
        (["1.50", "2.50"], ["1.50", "2.50"]),
        (["1", "1.5"], ["1", "1.5"]),
        (["True", "False"], ["True", "False"]),
        (["1", "true"], ["1", "true"]),
        (["1e3", "5"], ["1e3", "5"]),
        (["1", "", None], [1, None, None]),
        (["a", "", None], ["a", None, None]),
        # What is written for a missing number is missing among numbers …
        (["1", "NA", "2"], [1, None, 2]),
        (["1.50", "NA", "2"], ["1.50", None, "2"]),
        (["true", "false", "NA"], [True, False, None]),
        # … and may be a class among words.
        (["a", "NA"], ["a", "NA"]),
        (["NA", "null"], ["NA", "null"]),
        (["100000000000000000000", "5"], ["100000000000000000000", "5"]),
        (["1_000", "2_000"], ["1_000", "2_000"]),
    ],
)
def test_labels_keep_their_spelling(values: list[Any], labels: list[Any]) -> None:
    found = list(read_labels(text(*values)))
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pl.Series("c", [1, None, 2]), [1, None, 2]),
        (pl.Series("c", [1.5, None]), [1.5, None]),
        (pl.Series("c", [True, None]), [True, None]),
        (pl.Series("c", ["a", None], pl.Categorical), ["a", None]),
        (pl.Series("c", ["007", ""]), ["007", None]),
        (pl.Series("c", ["1.50"]).cast(pl.Decimal(10, 2)), ["1.50"]),
        (pl.Series("c", [dt.date(2024, 2, 29)]), ["2024-02-29"]),
    ],
)
def test_typed_labels_are_taken_as_they_are(
    column: pl.Series, labels: list[Any]
) -> None:
    found = list(read_labels(column))
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_label_that_is_no_number_is_told_with_its_row(bad: float) -> None:
    message = refused(read_labels, pl.Series("c", [1.0, None, bad]))
    assert message == f"target 'c', row 3: expected a finite number, found {bad}"


FRAME = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"], "y": ["0", "1"]})


def test_every_column_but_the_target_is_an_input() -> None:
    found = dataset(FRAME, "y", None)
    assert found.kinds == {"a": "numeric", "b": "categorical"}
    assert (found.target_name, found.target) == ("y", [0, 1])
    np.testing.assert_array_equal(found.inputs["a"], [1, 2])


def test_an_absent_target_is_told_with_the_nearest_column() -> None:
    frame = FRAME.rename({"y": "status"})
    message = refused(dataset, frame, "Status", None)
    assert "no target column 'Status'; did you mean 'status'?" in message
    assert "the columns are a, b, status" in message


def test_a_frame_without_rows_or_inputs_is_told() -> None:
    assert "expected rows" in refused(dataset, FRAME.clear(), "y", None)
    message = refused(dataset, FRAME.select("y"), "y", None)
    assert message == "there is no input column besides the target 'y'"


def test_a_model_takes_its_own_columns_as_its_own_kinds() -> None:
    kinds = {"b": "categorical", "a": "categorical"}
    found = dataset(FRAME, None, kinds)
    assert found.inputs == {"b": ["x", "y"], "a": ["1", "2"]}
    assert list(found.inputs) == ["b", "a"]
    assert found.target is None


def test_a_nullable_column_may_be_absent() -> None:
    kinds = {"a": "numeric", "z": "categorical", "w": "datetime"}
    found = dataset(FRAME, None, kinds, frozenset({"z", "w"}))
    assert found.inputs["z"] == [None, None]
    np.testing.assert_array_equal(found.inputs["w"], [math.nan] * 2)


def test_another_absent_column_is_told_with_the_nearest() -> None:
    message = refused(dataset, FRAME, None, {"aa": "numeric"}, frozenset({"b"}))
    assert message == "column 'aa' is missing; did you mean 'a'?"


def test_text_where_a_model_takes_numbers_is_told() -> None:
    message = refused(dataset, FRAME, None, {"b": "numeric"})
    assert message == "column 'b', row 1: expected a number, found text"

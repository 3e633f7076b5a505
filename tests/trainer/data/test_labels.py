"""The target of a table: which rows have one, and how labels are spelled."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl
import pytest

from models.errors import DataError
from models.features.predictions import Regression
from trainer.config.schema import ColumnConfig
from trainer.data.labels import as_before, numbers_as_classes, read_labels


def text(*values: str | None) -> pl.Series:
    return pl.Series("c", values, pl.String)


def row(index: int) -> str:
    return f"row {index + 1}"


def labels_of(column: pl.Series, *setting: Any) -> list[Any]:
    return list(read_labels(column, row, *setting)[0])


def refused(column: pl.Series, *setting: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_labels(column, row, *setting)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["0", "1", "-3"], [0, 1, -3]),
        (["1.5", "2.0", "1e-07"], [1.5, 2.0, 1e-07]),
        (["true", "false"], [True, False]),
        (["yes", "no"], ["yes", "no"]),
        (["yes", "yes ", " no", "   "], ["yes", "yes", "no", None]),
        (["007", "7"], ["007", "7"]),
        (["1.50", "2.50"], ["1.50", "2.50"]),
        (["1", "1.5"], ["1", "1.5"]),
        (["1", "1.0", "0", "0.0", ""], [1, 1, 0, 0, None]),
        (["1.5", "1.50"], ["1.5", "1.5"]),
        (["True", "False"], ["True", "False"]),
        (["True", " True", "False"], ["True", "True", "False"]),
        (["1", "true"], ["1", "true"]),
        (["caf\u00e9", "cafe\u0301", "tea"], ["caf\u00e9", "caf\u00e9", "tea"]),
        (["1e3", "5"], ["1e3", "5"]),
        (["1", "", None], [1, None, None]),
        (["a", "", None], ["a", None, None]),
        # What is written for a missing number is missing among numbers …
        (["1", "NA", "2", "nan", "?"], [1, None, 2, None, None]),
        (["1.50", "NA", "2"], ["1.50", None, "2"]),
        (["true", "false", "NA"], [True, False, None]),
        # … and may be a class among words.
        (["a", "NA"], ["a", "NA"]),
        (["NA", "null"], ["NA", "null"]),
        (["True", "TRUE", "false", "true"], ["True", "True", "false", "True"]),
        (["1.0", "a", "1", "2.0"] * 9, ["1", "a", "1", "2.0"] * 9),
        (["100000000000000000000", "5"], ["100000000000000000000", "5"]),
        (["1_000", "2_000"], ["1_000", "2_000"]),
        (["178597,66", "1.211,5", "nan"], [178597.66, 1211.5, None]),
        (["02:55:10", "03:00:00"], [10_510.0, 10_800.0]),
    ],
)
def test_labels_keep_their_spelling(values: list[Any], labels: list[Any]) -> None:
    found = labels_of(text(*values))
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pl.Series("c", [1, None, 2]), [1, None, 2]),
        (pl.Series("c", [1.5, None]), [1.5, None]),
        (pl.Series("c", [1.5, math.nan]), [1.5, None]),
        (pl.Series("c", [True, None]), [True, None]),
        (pl.Series("c", ["a", None], pl.Categorical), ["a", None]),
        # Text by its type is text, whatever it looks like.
        (pl.Series("c", ["007", "1", ""], pl.Categorical), ["007", "1", None]),
        (pl.Series("c", ["1.50"]).cast(pl.Decimal(10, 2)), ["1.50"]),
        (pl.Series("c", [dt.date(2024, 2, 29)]), ["2024-02-29"]),
    ],
)
def test_typed_labels_are_taken_as_they_are(
    column: pl.Series, labels: list[Any]
) -> None:
    found = labels_of(column)
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["3 stars", "5 stars"] * 5, ["3 stars", "5 stars"] * 5),
        (["10:30", "14:00", "?"] * 10, ["10:30", "14:00", None] * 10),
        (["1,5 kg", "2 kg", "3 kg"] * 5, [1.5, 2.0, 3.0] * 5),
        ([f"{i}:30" for i in range(24)], [i * 3600.0 + 1800 for i in range(24)]),
    ],
)
def test_a_few_labels_with_a_unit_are_classes(
    values: list[str], expected: list[Any]
) -> None:
    column = pl.Series("y", values)
    assert read_labels(column, str)[0] == expected


def test_an_infinite_label_is_told_with_its_row() -> None:
    message = refused(pl.Series("c", [1.0, None, math.inf]))
    assert message == "target 'c', row 3: expected a finite number, found inf"


@pytest.mark.parametrize("column", [pl.Series("c", [[1, 2]]), pl.Series("c", [b"x"])])
def test_a_target_of_another_type_is_refused(column: pl.Series) -> None:
    assert refused(column).startswith("target 'c': expected numbers, text, ")


def test_an_odd_cell_of_a_numeric_target_is_told_with_row_and_value() -> None:
    message = refused(text(*[f"{i}.5" for i in range(99)], "sold"))
    assert message == (
        "target 'c', row 100: expected a number as in 99.0% of the rows, found "
        "'sold'; correct it, or declare it missing (data.columns.c.missing=['sold'])"
    )
    prices = [f"{i}.5" for i in range(99)]
    assert labels_of(text(*prices, "sold"), None, None, ("sold",))[-1] is None
    assert refused(text(*["0", "1"] * 99, "maybe")).startswith("target 'c', row 199")


def test_frequent_words_beside_a_few_numbers_are_classes() -> None:
    values = ["1", "2"] * 97 + ["other"] * 6
    assert labels_of(text(*values)) == values
    assert labels_of(text("1", "2", "x"), "categorical") == ["1", "2", "x"]
    assert refused(text("1", "x", "y"), "numeric").startswith("target 'c', row 2")


@pytest.mark.parametrize(
    ("values", "setting", "expected"),
    [
        (["1.250", "3.500"], {}, [1250.0, 3500.0]),
        (["1.250", "3,5"], {}, [1250.0, 3.5]),
        (["1.250", "k.A."], {}, [1250.0, None]),
        # What does not fit is read by itself, and so is what a setting names.
        (["1,250.5", "3,500.0"], {}, [1250.5, 3500.0]),
        (["1.250", "0.75"], {}, ["1.250", "0.75"]),
        (["1.250", "3.500"], {"kind": "categorical"}, ["1.250", "3.500"]),
    ],
)
def test_a_target_is_spelled_as_in_production(
    values: list[str], setting: dict[str, Any], expected: list[Any]
) -> None:
    output = Regression(0.0, 1.0, format="1.234,56", marks=("k.A.",))
    column = text(*values)
    assert labels_of(column, *as_before(column, ColumnConfig(**setting), output)) == (
        expected
    )


def test_a_time_is_a_number_of_seconds() -> None:
    hours = pl.Series("c", [dt.timedelta(hours=2), None, dt.timedelta(minutes=-1)])
    assert labels_of(hours) == [7200.0, None, -60.0]
    assert labels_of(pl.Series("c", [dt.time(1, 30)])) == [5400.0]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([f"0.{i}" if i > 60 else "<0.61" for i in range(10, 90)], True),
        ([f"{i} kg" if i % 2 else f"{i} lb" for i in range(60)], True),
        (["1", "2", "other"] * 30, False),
        ([f"A{i}" for i in range(60)], False),
        ([f"{i}" for i in range(60)], False),
    ],
)
def test_numbers_that_became_classes_are_told(values: list[str], told: bool) -> None:
    labels, spelling = read_labels(text(*values), row)
    found = numbers_as_classes("y", labels, spelling)
    assert [f.sentence[:12] for f in found] == ["target 'y' h"] * told

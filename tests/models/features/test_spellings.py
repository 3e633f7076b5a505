"""Columns read numbers, dates and categories as people spell them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unicodedata import normalize

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.features.columns import AnyColumn, CategoricalColumn
from models.features.dates import DAY
from models.features.table import TableInput, fit_column
from models.features.text import NUMBER_FORMATS, number_pattern, parse_number

bounded = settings(deadline=None, max_examples=60)
cents = st.decimals(-(10**9), 10**9, places=2)


def spelled(number: Decimal, format: str) -> str:
    """Write a number as a format has it, with thousands separators."""
    groups, mark = NUMBER_FORMATS[format]
    text = f"{number:,.2f}" if groups else f"{number:.2f}"
    return text.replace(",", "\0").replace(".", mark[0]).replace("\0", groups[:1])


@bounded
@given(cents, st.sampled_from([*NUMBER_FORMATS]))
def test_a_number_in_any_format_is_read_back(number: Decimal, format: str) -> None:
    assert parse_number(spelled(number, format), format) == float(number)


@bounded
@given(cents, st.sampled_from([*NUMBER_FORMATS]), st.sampled_from("$€%"))
def test_currency_and_percent_signs_may_stand_around(
    number: Decimal, format: str, sign: str
) -> None:
    text = spelled(number, format)
    assert parse_number(f"{text} {sign}", f"{format} {sign}") == float(number)
    assert parse_number(f"{text}\u00a0{sign}", f"{format}{sign}") == float(number)
    bare = text.lstrip("-")
    minus = "-" if number < 0 else ""
    assert parse_number(f"{minus}{sign}{bare}", f"{sign}{format}") == float(number)
    assert parse_number(f"({sign}{bare})", f"{sign}{format}") == -abs(float(number))


@bounded
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_numbers_are_read_whatever_the_format(number: float) -> None:
    for format in NUMBER_FORMATS:
        text = repr(number)
        if "." in text and len(text.partition(".")[2]) == 3 and format == "1.234,56":
            continue  # 1.234 is a thousand there
        assert parse_number(text, format) == number


@pytest.mark.parametrize(
    ("text", "format", "expected"),
    [
        ("02:55:10", "h:mm:ss", 10_510.0),
        ("-1:00:00.5", "h:mm:ss", -3600.5),
        ("12,34,567.5", "1,234.56", 1_234_567.5),
        ("1 234 567,8", "1 234,56", 1_234_567.8),
        ("1'234.5", "1'234.56", 1234.5),
        ("−5,5", "1.234,56", -5.5),
        ("1.234", "1.234,56", 1234.0),
        ("0.125", "1.234,56", 0.125),
        # Days have a sign of their own in pandas, Python and PostgreSQL.
        ("-1 days +22:00:00", "h:mm:ss", -7200.0),
        ("-1 day, 22:00:00", "h:mm:ss", -7200.0),
        ("1 day -02:00:00", "h:mm:ss", 79_200.0),
        ("PT5H", "PT1H30M", 18_000.0),
        ("P1DT2H", "PT1H30M", 93_600.0),
        ("-PT1,5H", "PT1H30M", -5400.0),
        ("P2W", "PT1H30M", 1_209_600.0),
        ("1.234,50-", "1.234,56", -1234.5),
        ("1.234,50- €", "1.234,56 €", -1234.5),
        ("$(1,234.50)", "$1,234.56", -1234.5),
        ("$ -", "$1,234.56", 0.0),
        ("-   €", "1.234,56 €", 0.0),
        ("–5.5", "1234.56", -5.5),
        ("Rs. 1,23,456.70", "Rs.1,234.56", 123_456.7),
        ("1,159E+05", "1234,56", 115_900.0),
        ("-١٬٢٣٤٫٥", "1,234.56", -1234.5),
        ("￥１２３４．５", "￥1234.56", 1234.5),
    ],
)
def test_numbers_as_people_write_them(text: str, format: str, expected: float) -> None:
    assert parse_number(text, format) == expected


@pytest.mark.parametrize("text", ["P", "PT", "P1DT", "P1Y", "P1M", "1PT1H", "PT1X"])
def test_a_duration_has_parts_of_fixed_lengths(text: str) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_number(text, "PT1H30M")


def test_a_dash_before_a_percent_sign_is_no_number() -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_number("- %", "1.234,56 %")


def test_a_thousands_separator_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_number("1,159E+05", "1,234.56")


@pytest.mark.parametrize("text", ["1.2.3", "1,2,3", "12.34,5", "(5", "5)", "€", ""])
def test_other_text_is_no_number_in_any_format(text: str) -> None:
    for format in NUMBER_FORMATS:
        with pytest.raises(ValueError, match="expected a finite number"):
            parse_number(text, format)


@pytest.mark.parametrize("format", ["", "abc", "1.234", "AAA1234.56", "$1234.56€"])
def test_an_unknown_format_is_refused(format: str) -> None:
    with pytest.raises(ValueError, match="expected a number format"):
        number_pattern(format)


def test_a_column_reads_requests_as_its_training_data_were_spelled() -> None:
    price = fit_column("price", "numeric", np.arange(9.0), {"format": "1.234,56 €"})
    for values in (
        price.from_json(["1.234,5 €", 2.5, None]),
        price.from_text(["1.234,5", "2.5", "?"]),
    ):
        np.testing.assert_array_equal(values, [1234.5, 2.5, np.nan])
    with pytest.raises(InvalidInput, match=r"row 0, column 'price': .* 1.234,56 €"):
        price.from_json(["much"])
    days = np.arange(9.0) * DAY
    day = fit_column("day", "datetime", days, {"format": "%d/%m/%Y"})
    texts = ["03/02/2024", "2024-02-03", "2024-02-03T00:00:00Z"]
    assert day.to_json(day.from_json(texts)) == ["2024-02-03"] * 3
    for column in (price, day):
        written = msgspec.json.encode(column)
        assert msgspec.json.decode(written, type=AnyColumn) == column


def test_marks_are_missing_in_text_and_as_numbers() -> None:
    marks = {"marks": ("-999", "T")}
    column = fit_column("rain", "numeric", np.array([1.0, np.nan, 3.0]), marks)
    np.testing.assert_array_equal(column.from_text(["T", "2"]), [np.nan, 2])
    table = TableInput((column,))
    missing, marked = table.encode({"rain": np.array([np.nan, -999.0])})
    np.testing.assert_array_equal(missing, marked)


@pytest.mark.parametrize(
    ("categories", "text", "expected"),
    [
        (["1", "b"], "1.0", "1"),
        (["1.0", "b"], "1", "1.0"),
        (["1", "1.0"], "1.0", "1.0"),
        (["a", "b"], " a ", "a"),
        ([" a", "b"], " a", " a"),
        (["a", "b"], "  ", None),
        (["a", "b"], " c ", "c"),
        (["a", "b"], None, None),
        (["1.10", "b"], "1.1", "1.1"),
    ],
)
def test_a_category_is_known_by_what_it_says(
    categories: list[str], text: Any, expected: Any
) -> None:
    column = CategoricalColumn.fit("c", categories)
    assert column.from_json([text]) == [expected]
    if text is not None:
        assert column.from_text([text]) == [expected]


@pytest.mark.parametrize("trained", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_category_is_known_in_either_form_of_unicode(
    trained: str, asked: str
) -> None:
    name = normalize(trained, "caf\u00e9")  # type: ignore[arg-type]
    column = CategoricalColumn(name="c", categories=(name, "tea"))
    assert column.category(normalize(asked, " caf\u00e9 ")) == name  # type: ignore[arg-type]

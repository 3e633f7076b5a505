"""What a column of text is, by the majority of its values."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.dates import DATE_FORMATS, ISO, seconds
from tests.models.features.test_dates import first_day, spelled
from trainer.data.kinds import SCATTERED, infer, read_numbers
from trainer.data.spelling import Spelling

bounded = settings(deadline=None, max_examples=40)
DAYS = [date(2023, 1, 1) + timedelta(days=9 * i) for i in range(60)]


def text(*values: str | None) -> pl.Series:
    return pl.Series("c", values, pl.String)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2.5", "3e4", "+1", ".5", " 7 "], "numeric"),
        (["1", "", None, "NA", "N/A", "#N/A", "null", "NULL", "None"], "numeric"),
        (["1", "?", "-", ".", "--", "na", "n/a", "nil", "<NA>", "\\N"], "numeric"),
        (["1", "(null)", "#DIV/0!", "#VALUE!", "#REF!", "missing", ".B"], "numeric"),
        (["", None, "NA"], "numeric"),
        (["0", "1"], "numeric"),
        (["nan", "1"], "numeric"),
        (["1", "two"], "categorical"),
        (["none", "missing", "none"], "categorical"),
        (["true", "FALSE", "True", "", "NA", " ", "?"], "boolean"),
        (["true", "yes"], "categorical"),
        (["2024-02-29", "1969-12-31", "", "NA", "NaT", "0000-00-00"], "datetime"),
        (["2024-02-29T12:30:00", "2024-02-29 12:30"], "datetime"),
        (["2024-02-29T12:30:00+02:00", "2024-02-29T12:30:00Z"], "datetime"),
        (["2024-02-30"], "categorical"),
        (["2024-02-29 lunch"], "categorical"),
        (["20240229"], "numeric"),
        (["20240229T1200", "20240301T0000"], "datetime"),
        (["a", "b", None], "categorical"),
        (["01234", "61130", "95937"], "categorical"),
        (["007", "12"] * 20, "categorical"),
        (["1577134800018164904", "1577134800018164905"], "categorical"),
        (["0", "0.5", "00.5"], "numeric"),
        (["1.2.3", "1.2.4"], "categorical"),
        (["12:30:00", "08:15:00"], "numeric"),
        (["12:30", "08:15", "7:45"], "numeric"),
        (["01.2024", "12.2023"], "datetime"),
        (["01.2024", "13.2023"], "numeric"),
        (["1 st", "2 nd", "3 rd"], "categorical"),
        (["ABC123", "ABC124"], "categorical"),
        (["+1 555 123456", "+1 555 987654"], "categorical"),
        (["10-20", "20-30"], "categorical"),
    ],
)
def test_a_column_is_what_its_values_are(values: list[str | None], kind: str) -> None:
    assert infer(text(*values)).kind == kind


@pytest.mark.parametrize(
    ("most", "odd", "kind"),
    [
        ([f"{i}.5" for i in range(95)], ["x"] * 5, "numeric"),
        ([str(i % 7) for i in range(94)], [f"x{i}" for i in range(6)], "categorical"),
        # A few words among many numbers are marks; many words are not.
        ([f"{i}.5" for i in range(60)], ["T"] * 40, "numeric"),
        ([f"{i % 9}" for i in range(60)], ["T"] * 40, "categorical"),
        ([f"{i}.5" for i in range(60)], [f"{i} x" for i in range(40)], "categorical"),
        ([f"{i}.5" for i in range(90)], [f"{i}' x" for i in range(9)], "numeric"),
        (["true", "false"] * 48, ["x"], "boolean"),
        ([f"{day:%d/%m/%Y}" for day in DAYS], ["soon"], "datetime"),
    ],
)
def test_nearly_all_values_decide(most: list[str], odd: list[str], kind: str) -> None:
    column = text(*most, *odd)
    spelling = infer(column)
    assert spelling.kind == kind
    if kind != "categorical":
        values, indices = read_numbers(column, spelling)
        assert indices == list(range(len(most), len(column)))
        assert np.isnan(values[indices]).all()
        assert np.isfinite(values[: len(most)]).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([f"{i}.5 {'kg' if i % 3 else 'lb'}" for i in range(60)], "numeric"),
        ([f"{'$€£'[i % 3]}{i}" for i in range(60)], SCATTERED),
        ([f"{i % 7}'{i % 11}\"" for i in range(60)], SCATTERED),
        ([f"{i}°{i}′N" for i in range(60)], SCATTERED),
        ([f"{i}{['', '*', '†', '[1]'][i % 4]}" for i in range(60)], SCATTERED),
        ([f"{i} {chr(97 + i % 20)} Street" for i in range(60)], ""),
        ([f"A{i}" for i in range(60)], ""),
        (["10-19", "20-29"] * 30, ""),
    ],
)
def test_text_that_begins_with_numbers_is_told(values: list[str], reason: str) -> None:
    spelling = infer(text(*values))
    assert (spelling.kind, spelling.reason) == ("categorical", reason)


@pytest.mark.parametrize(
    ("values", "format"),
    [
        ([f"PT{i}H" if i % 2 else f"P{i}DT1H" for i in range(60)], "PT1H30M"),
        ([str(timedelta(hours=i)) for i in range(-40, 40)], "h:mm:ss"),
        ([f"{abs(i)},5{'-' * (i < 0)}" for i in range(-30, 30)], "1.234,56"),
        ([f"$({-i})" if i < 0 else f"${i}" for i in range(-30, 30)], "$1234.56"),
        (["$ -", *(f"$ {i},000.5" for i in range(1, 30))], "$1,234.56"),
        ([f"Rs. {i},00,000" for i in range(1, 60)], "Rs.1,234.56"),
        ([f"{i % 9},{i:03}E+05" for i in range(60)], "1.234,56"),
        ([f"{i}٫٥".replace("1", "١") for i in range(60)], "1234.56"),
        (
            [
                f"{i}".translate({48 + d: 0xFF10 + d for d in range(10)})
                for i in range(60)
            ],
            "1234.56",
        ),
        ([f"–{i}" if i % 2 else f"{i}.5" for i in range(60)], "1,234.56"),
    ],
)
def test_numbers_of_a_column_show_their_format(values: list[str], format: str) -> None:
    spelling = infer(text(*values))
    assert (spelling.kind, spelling.format) == ("numeric", format)
    numbers, odd = read_numbers(text(*values), spelling)
    assert not odd and np.isfinite(numbers).all()


def test_dates_of_one_clear_order_are_read_beside_iso() -> None:
    texts = [str(day) if i % 3 else f"{day:%d.%m.%Y}" for i, day in enumerate(DAYS)]
    spelling = infer(text(*texts))
    assert (spelling.kind, spelling.format) == ("datetime", "%d.%m.%Y")
    values, odd = read_numbers(text(*texts), spelling)
    assert not odd and values.tolist() == [seconds(str(day)) for day in DAYS]
    unclear = [f"{i}/{i + 1}/2023" for i in range(1, 9)]
    assert infer(text(*map(str, DAYS[:12]), *unclear)).is_text


@pytest.mark.parametrize("format", DATE_FORMATS)
def test_dates_of_a_column_show_their_format(format: str) -> None:
    if format.replace("%H%M%S", "") == "%Y%m%d":  # digits alone are numbers
        return
    column = text(*[spelled(day, format) for day in DAYS], None, "?")
    spelling = infer(column)
    assert spelling.kind == "datetime" and not spelling.doubt
    values, odd = read_numbers(column, spelling)
    assert not odd
    expected = [seconds(first_day(day, format).isoformat()) for day in DAYS]
    np.testing.assert_array_equal(values, [*expected, np.nan, np.nan])


def test_a_date_that_may_be_two_is_read_as_iso_orders_it_and_doubted() -> None:
    spelling = infer(text("01/02/2024", "03/04/2024"))
    assert (spelling.format, spelling.doubt) == ("%m/%d/%Y", "%d/%m/%Y")
    assert infer(text("05/05/2024")).doubt == ""
    assert infer(text("01/02/2024", "13/04/2024")).format == "%d/%m/%Y"


@bounded
@given(
    st.lists(st.decimals(-(10**7), 10**7, places=2), min_size=1, max_size=30),
    st.sampled_from(["", "€", "$", "%"]),
)
def test_decimal_commas_of_a_column_are_read(numbers: list[object], sign: str) -> None:
    swap = str.maketrans(",.", ".,")
    column = text(*[f"{number:,.2f}".translate(swap) + sign for number in numbers])
    spelling = infer(column)
    values, odd = read_numbers(column, spelling)
    assert spelling.kind == "numeric" and not odd
    np.testing.assert_array_equal(values, [float(number) for number in numbers])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "format", "doubt"),
    [
        (["1,234.50", "12.25"], "1,234.56", ""),
        (["1.234,50", "12,25"], "1.234,56", ""),
        (["1,5", "2,25"], "1.234,56", ""),
        (["1.234.567", "1.000"], "1.234,56", ""),
        (["1,234", "2,345"], "1,234.56", "1.234,56"),
        (["$1,234.50", "$2.00"], "$1,234.56", ""),
        (["5 €", "1.234,50 €"], "1.234,56 €", ""),
        (["5%", "12.5%"], "1234.56%", ""),
        (["1'234.5", "2"], "1'234.56", ""),
        (["1 234,5", "2"], "1 234,56", ""),
        (["1.234", "2.345"], "", ""),
        (["68.5", "70.125", "71"] * 9 + ["6,2"], "", ""),
        (["999"] + [f"{i}.{i}" for i in range(100, 160)], "1.234,56", "1234.567"),
        # Two of three texts show that a point is a decimal mark, and a comma as well.
        (["0.816", "1.903", "1,25"], "1234,56", ""),
        (["0,816", "1,903", "1.25"], "1234,56", ""),
        (["€0.5", "€1.903", "€1,25"], "€1234,56", ""),
        # Beside many thousands it is a slip.
        (["1.234,5", "1.903"] * 40 + ["0.5"], "1.234,56", "1234,56"),
    ],
)
def test_the_format_of_numbers(values: list[str], format: str, doubt: str) -> None:
    spelling = infer(text(*values))
    assert (spelling.kind, spelling.format) == ("numeric", format)
    assert spelling.doubt == doubt


@bounded
@given(st.lists(st.text(max_size=8) | st.from_regex(r"[0-9.,: %-]{1,10}"), min_size=1))
def test_any_text_is_read_or_odd(values: list[str]) -> None:
    column = text(*values)
    spelling = infer(column)
    if spelling.is_text:
        return
    found, odd = read_numbers(column, spelling)
    for index, value in enumerate(values):
        try:
            expected = spelling.parse(value)
        except ValueError:
            assert index in odd and np.isnan(found[index])
        else:
            np.testing.assert_array_equal(found[index], expected)


def test_iso_is_the_plain_format_of_dates() -> None:
    assert infer(text("2024-02-29")) == Spelling("datetime", "")
    assert DATE_FORMATS[0] == ISO

"""Text is read alike in training and serving: numbers, truth values and dates."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.features.dates import DAY, iso, seconds
from models.features.text import (
    MISSING,
    is_missing,
    is_number,
    missing_pattern,
    parse_number,
    parse_truth,
)

bounded = settings(deadline=None, max_examples=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1.0), (" 2.5 ", 2.5), ("-.5", -0.5), ("+1.", 1.0), ("1E5", 1e5), ("007", 7)],
)
def test_numbers_are_read_from_text(text: str, expected: float) -> None:
    assert parse_number(text) == expected


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e999", "0x1", "1_0", "1,5", "٣"])
def test_other_text_is_not_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        parse_number(text)


def test_codes_with_leading_zeros_are_not_numbers() -> None:
    assert all(map(is_number, ["0", "0.5", "-0", " 10 ", ".5", "1e400", "00.5"[1:]]))
    assert not any(map(is_number, ["007", "-01", "00.5", "x", "", "nan"]))


def test_truth_values_are_read_in_any_case() -> None:
    assert parse_truth("TRUE") is True and parse_truth("false") is False
    for text in ("1", "yes", "tru", ""):
        with pytest.raises(ValueError, match="expected true or false"):
            parse_truth(text)


def test_empty_fields_and_usual_marks_are_missing() -> None:
    assert all(map(is_missing, ["", "  ", "NA", " null ", "None", "nan", "?", "-"]))
    assert all(map(is_missing, [".", ".B", "--", "<NA>", "\\N", "(null)", "#DIV/0!"]))
    assert all(map(is_missing, ["0000-00-00", "0000-00-00 00:00:00", "00/00/0000"]))
    assert not any(map(is_missing, ["0", "nothing", "T", "0.0", "0-0", ".5", "-1"]))
    assert is_missing(" -999 ", ("-999",))


def test_the_pattern_of_missing_texts_has_what_is_missing_and_no_more() -> None:
    pattern = missing_pattern(["-999", "[x]"])
    for text in [*MISSING, "", " ", " na ", "-999", "[x]"]:
        assert re.search(pattern, text) and is_missing(text, ("-999", "[x]"))
    assert not any(re.search(pattern, text) for text in ("x", "nothing", "-1", ".z."))


def test_one_instant_has_one_number() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
    for text in (
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00",
        "2026-01-31T14:30:00+02:30",
        "2026-01-31T07:00:00.000-05:00",
        "2026-02-01T00:00:00+12:00",
    ):
        assert seconds(text) == noon, text
    assert seconds("2026-01-31") == noon - DAY / 2
    assert seconds("1970-01-01") == 0


@bounded
@given(st.datetimes(), st.integers(-23 * 60, 23 * 60))
def test_an_offset_moves_the_clock_and_not_the_instant(
    moment: datetime, minutes: int
) -> None:
    zone = timezone(timedelta(minutes=minutes))
    try:
        elsewhere = moment.replace(tzinfo=UTC).astimezone(zone)
    except OverflowError:  # no such year there
        return
    assert seconds(elsewhere.isoformat()) == seconds(moment.isoformat())


@bounded
@given(st.datetimes(), st.booleans())
@example(datetime.max, True)
@example(datetime.min, False)
@example(datetime(2026, 1, 31, 12), False)
def test_iso_is_the_inverse_of_seconds(moment: datetime, has_time: bool) -> None:
    number = seconds(moment.isoformat())
    text = iso(number, has_time)
    assert seconds(text) == number
    if abs(number) < 2**32:  # where float64 tells microseconds apart
        assert datetime.fromisoformat(text) == moment


def test_midnight_is_written_as_a_date_where_there_are_no_times() -> None:
    midnight = seconds("2026-01-31")
    assert iso(midnight, has_time=False) == "2026-01-31"
    assert iso(midnight, has_time=True) == "2026-01-31T00:00:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-29",
        "31.01.2026",
        "1767225600",
        "0001-01-01T00:00:00+01:00",  # the year before is 0 in UTC
        "9999-12-31T23:59:59-01:00",
        "2026-01-31\x00",
    ],
)
def test_what_is_no_date_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has a message of its own
        seconds(text)


@bounded
@given(st.text(max_size=30) | st.from_regex(r"[0-9T:+.Z-]{1,30}", fullmatch=True))
def test_any_text_is_a_finite_number_or_a_value_error(text: str) -> None:
    try:
        number = seconds(text)
    except ValueError:
        return
    assert np.isfinite(number)
    assert seconds(iso(number, True)) == number

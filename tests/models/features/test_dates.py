"""A date spelled in any usual way is the same date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.dates import DATE_FORMATS, DAY, date_pattern, seconds

bounded = settings(deadline=None, max_examples=60)
#: Two digits are read as a year of 1969 to 2068.
days = st.dates(date(1969, 1, 1), date(2068, 12, 31))


def spelled(day: date, format: str) -> str:
    """Return a date in a format."""
    return day.strftime(format.replace("%q", str((day.month + 2) // 3)))


def first_day(day: date, format: str) -> date:
    """Return the first day of what a format tells of a date."""
    period = {"%d": "1d", "%V": "1w", "%q": "1q"}
    whole = next((every for code, every in period.items() if code in format), "1mo")
    first: date = pl.Series([day]).dt.truncate(whole)[0]
    return first


@bounded
@given(days, st.sampled_from(DATE_FORMATS))
def test_a_date_in_any_format_is_read_back(day: date, format: str) -> None:
    text = spelled(day, format)
    expected = seconds(first_day(day, format).isoformat())
    assert seconds(text, format) == expected
    assert seconds(f" {day:%A, }{text} ", format) == expected


@pytest.mark.parametrize(
    ("text", "format", "iso"),
    [
        ("3. März 2024", "%d. %b %Y", "2024-03-03"),
        ("3. Ma\u0308rz 2024", "%d. %b %Y", "2024-03-03"),
        ("Mär 2024", "%b %Y", "2024-03-01"),
        ("Mrz. 2024", "%b %Y", "2024-03-01"),
        ("31 DEZ 2024", "%d %b %Y", "2024-12-31"),
        ("1 août 2024", "%d %b %Y", "2024-08-01"),
        ("1 juil. 2024", "%d %b %Y", "2024-07-01"),
        ("3 de enero de 2024", "%d de %b de %Y", "2024-01-03"),
        ("March 3rd, 2024", "%b %d, %Y", "2024-03-03"),
        ("2024-W05", "", "2024-01-29"),
        ("2020W53", "%GW%V", "2020-12-28"),
    ],
)
def test_months_have_names_in_other_languages(text: str, format: str, iso: str) -> None:
    assert seconds(text, format) == seconds(iso)


@pytest.mark.parametrize(
    ("text", "format", "iso"),
    [
        ("Mon Jan  1 12:00:00 2024", "%b %d %T %Y", "2024-01-01T12:00:00"),
        ("Mon Jan  1 12:00:00 CET 2024", "%b %d %T %Y", "2024-01-01T11:00:00"),
        ("Mon Jan 01 12:00:00 2024", "%a %b %d %H:%M:%S %Y", "2024-01-01T12:00:00"),
        ("Wed Oct 10 20:19:24 +0000 2018", "%b %d %T %Y", "2018-10-10T20:19:24"),
        (
            "Mon Jan 01 2024 12:00:00 GMT+0100 (Central European Standard Time)",
            "%b %d %Y",
            "2024-01-01T11:00:00",
        ),
        ("01/Jan/2024:08:00:00 -0100", "%d/%b/%Y", "2024-01-01T09:00:00"),
        ("2024:01:31 08:00:00", "%Y:%m:%d", "2024-01-31T08:00:00"),
        ("31.01.2024 08.05", "%d.%m.%Y", "2024-01-31T08:05:00"),
        ("31.01.2024, 08:05 Uhr", "%d.%m.%Y", "2024-01-31T08:05:00"),
        ("31/01/2024 08h05", "%d/%m/%Y", "2024-01-31T08:05:00"),
        ("20240131080500", "%Y%m%d%H%M%S", "2024-01-31T08:05:00"),
        ("2024年1月31日", "%Y年%m月%d日", "2024-01-31"),
        ("２０２４年１月３１日 8:05", "%Y年%m月%d日", "2024-01-31T08:05:00"),
        ("٢٠٢٤-٠١-٣١", "", "2024-01-31"),
    ],
)
def test_programs_and_countries_write_times_in_their_own_ways(
    text: str, format: str, iso: str
) -> None:
    assert seconds(text, format) == seconds(iso)


@bounded
@given(
    st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)),
    st.sampled_from(
        [f for f in DATE_FORMATS if "%d" in f and not re.search("%[TH]", f)]
    ),
    st.sampled_from([" %H:%M:%S", "T%H:%M:%S", " %I:%M:%S %p", " %H:%M:%S.%f"]),
    st.sampled_from([("", 0), ("Z", 0), (" UTC", 0), ("+02:00", 2), (" -0530", -5.5)]),
)
def test_a_time_of_day_and_an_offset_may_follow(
    moment: datetime, format: str, clock: str, zone: tuple[str, float]
) -> None:
    if "%f" not in clock:
        moment = moment.replace(microsecond=0)
    text = moment.strftime(format + clock) + zone[0]
    utc = moment.replace(tzinfo=UTC) - timedelta(hours=zone[1])
    assert seconds(text, format) == utc.timestamp()


@bounded
@given(days, st.sampled_from(DATE_FORMATS))
def test_iso_is_read_whatever_the_format(day: date, format: str) -> None:
    assert seconds(day.isoformat(), format) == seconds(day.isoformat())


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-01-31 12:00:00 UTC", "2026-01-31T12:00:00"),
        ("2026-01-31T12:00:00 Europe/Berlin", "2026-01-31T11:00:00"),
        ("2026-07-31T12:00+02:00[Europe/Berlin]", "2026-07-31T10:00:00"),
        ("2026-01-31 12:00 PST", "2026-01-31T20:00:00"),
        ("20260131T120000", "2026-01-31T12:00:00"),
        ("2026-01-31 12:30:00 AM", "2026-01-31T00:30:00"),
        ("2026-01-31 12:30 p.m.", "2026-01-31T12:30:00"),
        ("2026-1-3", "2026-01-03"),
    ],
)
def test_zones_and_halves_of_a_day(text: str, iso: str) -> None:
    assert seconds(text) == seconds(iso)


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("31/04/2026", "%d/%m/%Y"),
        ("13/13/2026", "%d/%m/%Y"),
        ("1/1/2026 13:00 PM", "%d/%m/%Y"),
        ("1/1/2026 25:00", "%d/%m/%Y"),
        ("1/1/2026 12:00 Mars/Phobos", "%d/%m/%Y"),
        ("1-Foo-2026", "%d-%b-%Y"),
        ("01.02.2026", "%d/%m/%Y"),
        ("2026-13", "%Y-%m"),
        ("2026-W54", "%G-W%V"),
        ("2026-Q5", "%Y-Q%q"),
        ("1 jui 2026", "%d %b %Y"),  # juin or juillet
    ],
)
def test_what_is_no_such_date_is_a_value_error(text: str, format: str) -> None:
    with pytest.raises(ValueError, match="expected a date"):
        seconds(text, format)


def test_a_format_may_name_months_and_times() -> None:
    assert seconds("31 January 2026 01:00", "%d %B %Y %H:%M") == seconds(
        "2026-01-31T01:00"
    )
    assert seconds("2026-01-31") % DAY == 0
    for format in ("%d/%m", "d/m/Y", "%d/%m/%y/%Y", "%Y-W%q%V", ""):
        with pytest.raises(ValueError, match="expected a format such as"):
            date_pattern(format)

"""A date spelled in any usual way is the same date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features.dates import DATE_FORMATS, DAY, date_pattern, seconds

bounded = settings(deadline=None, max_examples=60)
#: Two digits are read as a year of 1969 to 2068.
days = st.dates(date(1969, 1, 1), date(2068, 12, 31))


@bounded
@given(days, st.sampled_from(DATE_FORMATS))
def test_a_date_in_any_format_is_read_back(day: date, format: str) -> None:
    expected = seconds(day.isoformat())
    assert seconds(day.strftime(format), format) == expected
    assert seconds(f" {day:%A, }{day.strftime(format)} ", format) == expected


@bounded
@given(
    st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)),
    st.sampled_from(DATE_FORMATS),
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
    for format in ("%d/%m", "d/m/Y", "%d/%m/%y/%Y", ""):
        with pytest.raises(ValueError, match="expected a format such as"):
            date_pattern(format)

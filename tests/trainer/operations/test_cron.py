"""Cron in time zones: against the calendar, over every change of their clocks."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError
from trainer.operations.cron import CronSchedule

#: An hour on Sundays at one, at two, at midnight; half an hour; none; the other half.
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Santiago",
    "UTC",
]
START = datetime(2026, 1, 1, tzinfo=UTC)


def times(clock: CronSchedule, start: datetime, end: datetime) -> list[datetime]:
    found = [clock.next_after(start)]
    while found[-1] < end:
        found.append(clock.next_after(found[-1]))
    return found[:-1]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "cron", ["0 3 * * *", "30 2 * * *", "0 0 * * *", "59 23 * * *", "45 1 * * *"]
)
def test_a_daily_run_is_once_on_every_day(cron: str, zone: str) -> None:
    clock, place = CronSchedule.parse(cron, zone), ZoneInfo(zone)
    found = times(clock, START, START + timedelta(days=2 * 365))
    days = Counter(moment.astimezone(place).date() for moment in found)
    whole = [date(2026, 1, 2) + timedelta(days=n) for n in range(2 * 365 - 3)]
    assert [days[day] for day in whole] == [1] * len(whole)
    minute, hour = (int(text) for text in cron.split()[:2])
    at = [moment.astimezone(place) for moment in found]
    odd = [moment for moment in at if (moment.hour, moment.minute) != (hour, minute)]
    assert len(odd) <= 2  # a spring each year
    for moment in odd:  # at once when the clocks have gone forward
        before = moment.astimezone(UTC) - timedelta(minutes=1)
        assert moment.utcoffset() != before.astimezone(place).utcoffset()


@pytest.mark.parametrize(
    ("cron", "every", "zone"),
    [("* * * * *", 1, "Europe/Berlin"), *(("*/15 * * * *", 15, z) for z in ZONES)],
)
def test_a_run_every_so_often_goes_on_every_so_often(
    cron: str, every: int, zone: str
) -> None:
    for month in (3, 4, 9, 10, 11):
        start = datetime(2026, month, 1 if every == 15 else 24, tzinfo=UTC)
        days = 31 if every == 15 else 8
        found = times(CronSchedule(cron, zone), start, start + timedelta(days=days))
        gaps = {b - a for a, b in zip(found, found[1:], strict=False)}
        assert gaps == {timedelta(minutes=every)}


@given(
    moment=st.datetimes(
        datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)
    ),
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(
        ["30 2 * * *", "15 */2 * * *", "*/7 * * * *", "0 0 1 * *", "5 1,2,3 * * 0"]
    ),
)
@settings(max_examples=300)
def test_after_is_after_and_leaves_nothing_out(
    moment: datetime, zone: str, cron: str
) -> None:
    clock = CronSchedule(cron, zone)
    found = clock.next_after(moment)
    assert found > moment
    between = moment + (found - moment) / 2
    assert clock.next_after(between) == found
    assert clock.next_after(found) > found


def test_within_the_hour_that_comes_twice_nothing_comes_back() -> None:
    clock = CronSchedule("30 2 * * *", "Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 summer time
    assert clock.next_after(first - timedelta(hours=2)) == first
    again = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10, the second
    assert clock.next_after(again) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("day", ["0", "7", "sun"])
def test_the_week_begins_as_crons_does(day: str) -> None:
    found = CronSchedule.parse(f"0 3 * * {day}", "UTC").next_after(START)
    assert found == datetime(2026, 1, 4, 3, tzinfo=UTC)
    assert found.strftime("%A") == "Sunday"


def test_a_day_of_the_month_or_of_the_week() -> None:
    found = times(
        CronSchedule.parse("0 3 13 * 5", "UTC"), START, START + timedelta(days=30)
    )
    assert {moment.day for moment in found} == {2, 9, 13, 16, 23, 30}


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("", "expected five fields"),
        ("0 3 * *", "expected five fields"),
        ("* * * * * *", "expected five fields"),
        ("@daily", "expected five fields"),
        ("60 3 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 3 * * 8", "bad day-of-week"),
        ("0 3 30 2 *", ""),
        ("x 3 * * *", "bad minute"),
    ],
)
def test_what_is_no_time_is_told(cron: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CronSchedule.parse(cron, "UTC")
    assert str(caught.value).startswith(f"--cron '{cron}': {expected}")
    assert "as in '0 3 * * *'" in str(caught.value)


@pytest.mark.parametrize(
    ("zone", "hint"),
    [("Europe/Berln", "; did you mean 'Europe/Berlin'?"), ("../etc/passwd", "")],
)
def test_what_is_no_zone_is_told(zone: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CronSchedule.parse("0 3 * * *", zone)
    assert str(caught.value) == f"there is no time zone '{zone}'{hint}"


def test_a_time_is_shown_as_its_zone_writes_it() -> None:
    clock = CronSchedule("0 3 * * *", "Europe/Berlin")
    assert clock.local_time(clock.next_after(START)) == "2026-01-01 03:00:00+01:00"

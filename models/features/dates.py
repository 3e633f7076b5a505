"""Dates and times in text, as seconds since 1970 in UTC.

A format says how the date is spelled, in the letters of `strftime`: `%d/%m/%Y`. A time
of day may follow it, with seconds, AM or PM, and an offset or a zone. ISO 8601 is read
in every column. A month (`%Y-%m`), a week (`%G-W%V`) and a quarter (`%Y-Q%q`, where
`strftime` has no letter) are their first day. `%T` is a time before the year, as C's
`ctime` and the command `date` write it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from unicodedata import combining, normalize

from models.features.text import plain_digits

#: The last float before the year 10000, which has no ISO text.
LAST_SECOND = math.nextafter(253_402_300_800.0, 0.0)
#: The start of the year 1; no earlier year has an ISO text.
FIRST_SECOND = -62_135_596_800.0
DAY = 86_400.0

#: The order of a year, a month and a day in ISO 8601.
ISO = "%Y-%m-%d"
#: Every format that is recognized. Where two fit a column alike, the first is chosen:
#: the month stands before the day, as in ISO 8601.
DATE_FORMATS = (
    *(ISO, "%Y/%m/%d", "%Y.%m.%d", "%Y %m %d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y"),
    *("%m-%d-%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%m-%d-%y"),
    *("%d-%m-%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%b %d, %Y"),
    *("%b %d %Y", "%d/%b/%Y", "%d/%b/%y", "%Y-%b-%d", "%d%b%Y", "%Y%m%d"),
    *("%d. %b %Y", "%d. %b %y", "%d de %b de %Y", "%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y"),
    *("%m-%Y", "%b %Y", "%b-%Y", "%b/%Y", "%b %y", "%b-%y", "%Y %b", "%Y-%b"),
    *("%G-W%V", "%GW%V", "%Y-Q%q", "%YQ%q", "%Y Q%q", "Q%q %Y", "Q%q-%Y"),
    *("%b %d %T %Y", "%Y%m%d%H%M%S", "%Y:%m:%d", "%Y年%m月%d日", "%Y년 %m월 %d일"),
)
#: The parts that a format must have, as its sorted letters.
_COMPLETE = {"%d%m%y", "%m%y", "%g%v", "%q%y"}
#: English, German, French, Spanish, Italian, Portuguese and Dutch, without accents.
MONTHS = (
    "january januar jaenner janvier enero gennaio janeiro januari",
    "february februar fevrier febrero febbraio fevereiro februari",
    "march marz maerz mrz mars marzo marco maart mrt",
    "april avril abril aprile",
    "may mai mayo maggio maio mei",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august aout agosto augustus",
    "september septembre septiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember decembre diciembre dicembre dezembro",
)
#: The hours of the usual names of zones.
ZONES = {
    "Z": 0.0,
    "UTC": 0.0,
    "GMT": 0.0,
    "WET": 0.0,
    "WEST": 1.0,
    "BST": 1.0,
    "CET": 1.0,
    "CEST": 2.0,
    "EET": 2.0,
    "EEST": 3.0,
    "MSK": 3.0,
    "JST": 9.0,
    "EST": -5.0,
    "EDT": -4.0,
    "CST": -6.0,
    "CDT": -5.0,
    "MST": -7.0,
    "MDT": -6.0,
    "PST": -8.0,
    "PDT": -7.0,
    "AKST": -9.0,
    "AKDT": -8.0,
    "HST": -10.0,
    "AEST": 10.0,
    "AEDT": 11.0,
    "NZST": 12.0,
    "NZDT": 13.0,
}
_PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{1,2})(?:st|nd|rd|th)?",
    "%b": r"(?P<b>[A-Za-zÀ-ÿ]{3,10})\.?",
    "%G": r"(?P<Y>\d{4})",
    "%V": r"(?P<V>\d{1,2})",
    "%q": r"(?P<q>[1-4])",
}
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,?\s+)?"
_TIME = (
    r"(?P<H>\d{1,2})[:.h](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"(?:\s*(?P<p>[ap])\.?m\.?|\s*uhr)?"
    r"(?:\s*(?:GMT|UTC)?(?P<z>[+-]\d{2}(?::?\d{2})?|[a-z]{1,5}|[a-z]+/[a-z_/+-]+\d*))?"
    r"(?:\[[\w/+-]+\]|\s\([^()]*\))?"
)


def seconds(text: str, format: str = "") -> float:
    """Return a date, or date and time, as seconds since 1970.

    The text is in `format`, if that is given, or in ISO 8601; `format` itself is not
    checked. Without an offset the date is in UTC.
    Raises ValueError for other text, and for a moment that in UTC is before the year 1
    or after 9999.
    """
    bare = normalize("NFC", plain_digits(text.strip()))
    moment = _spelled(bare, format) if format else None
    if moment is None:
        try:
            moment = datetime.fromisoformat(bare)
        except ValueError:
            moment = _spelled(bare, ISO)
    if moment is None:
        raise ValueError("expected a date")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return min(moment.timestamp(), LAST_SECOND)


def _spelled(text: str, format: str) -> datetime | None:
    """Return the moment that a text is in a format, or None for another text."""
    match = date_pattern(format).fullmatch(text)
    if match is None:
        return None
    part: defaultdict[str, str | None] = defaultdict(lambda: None, match.groupdict())
    try:
        hour = _hour(int(part["H"] or 0), part["p"])
        micro = int((part["f"] or "0").ljust(6, "0")[:6])
        day = _day(part)
        zone = _zone(part["z"]) if part["z"] else None
        minute, second = int(part["M"] or 0), int(part["S"] or 0)
        return datetime(*day, hour, minute, second, micro, zone)
    except ValueError:
        return None


@lru_cache(256)
def date_pattern(format: str) -> re.Pattern[str]:
    """Return the pattern of a format and an optional time of day.

    Codes of a time of day in the format are left out, since any may follow. Raises
    ValueError unless it has a year, and a month with or without a day, an ISO week or a
    quarter.
    """
    bare = re.sub(r"^%[aA],? ", "", format)
    timed = r"(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})"
    if not bare.endswith("%d%H%M%S"):
        bare = re.sub(r"%(?:T|H:%M:%S)(?: %[zZ])? %Y", "%T %Y", bare)
        bare, timed = re.split(r"[T ,:]*%(?:[HI]|T(?! %Y))", bare)[0], _TIME
    dated = bare.replace("%H%M%S", "%T").replace("%B", "%b")
    pieces = re.split(r"(%.)", dated)
    codes = [code for code in pieces[1::2] if code != "%T"]
    said = "".join(sorted(code.lower().replace("b", "m") for code in codes))
    if said not in _COMPLETE or not set(codes) <= _PARTS.keys():
        raise ValueError(
            f"expected a format such as %d/%m/%Y, %b %Y, %G-W%V or %Y-Q%q, found "
            f"'{format}'"
        )
    parts = {**_PARTS, "%T": timed}
    spelled = "".join(parts.get(piece) or re.escape(piece) for piece in pieces)
    spelled = spelled.replace(r"\ ", r"\s+")
    if "%T" not in pieces:
        spelled += rf"(?:(?:[T :]|,\s)\s*{_TIME})?"
    return re.compile(_WEEKDAY + spelled, re.ASCII | re.IGNORECASE)


def _year(part: dict[str, str | None]) -> int:
    """Return the year; two digits are of 1969 to 2068, as POSIX has it."""
    if year := part.get("Y"):
        return int(year)
    short = int(part["y"] or 0)
    return short + (1900 if short >= 69 else 2000)


def _day(part: dict[str, str | None]) -> tuple[int, int, int]:
    """Return year, month and day; the first day of a month, week or quarter."""
    year = _year(part)
    if week := part.get("V"):
        monday = date.fromisocalendar(year, int(week), 1)
        return monday.year, monday.month, monday.day
    if quarter := part.get("q"):
        return year, 3 * int(quarter) - 2, 1
    return year, _month(part), int(part.get("d") or 1)


def _month(part: dict[str, str | None]) -> int:
    if digits := part.get("m"):
        return int(digits)
    return _named_month(part["b"] or "")


@lru_cache(256)
def _named_month(text: str) -> int:
    """Return the month whose name begins so; ValueError for none, or several."""
    name = "".join(c for c in normalize("NFD", text.lower()) if not combining(c))
    found = [
        number
        for number, names in enumerate(MONTHS, 1)
        if any(month.startswith(name) for month in names.split())
    ]
    if len(found) != 1:
        raise ValueError("expected the name of a month")
    return found[0]


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("expected an hour from 1 to 12")
    return hour % 12 + (12 if half in "pP" else 0)


@lru_cache(256)
def _zone(name: str) -> tzinfo:
    """Return the zone of an offset, an abbreviation or a name of IANA."""
    if name[0] in "+-":
        digits = name[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        return timezone(-offset if name[0] == "-" else offset)
    if name.upper() in ZONES:
        return timezone(timedelta(hours=ZONES[name.upper()]))
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"unknown zone {name}") from error


def iso(moment: float, has_time: bool) -> str:
    """Return seconds since 1970 as ISO 8601 text in UTC, the inverse of `seconds`.

    Midnight is written as a date alone, unless the column `has_time`.
    """
    text = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
    return text if has_time or moment % DAY else text[:10]

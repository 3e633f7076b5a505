"""What fields of text mean: missing values, numbers, truth values, dates.

Training and serving both read text with these functions.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

#: Texts that stand for a missing value, besides an empty one. They do not where words
#: are expected: there `NA` may be one.
MISSING = frozenset({"NA", "N/A", "#N/A", "null", "NULL", "None"})
TRUTH = {"true": True, "false": False}
#: The last float before the year 10000, which has no ISO text.
LAST_SECOND = math.nextafter(253_402_300_800.0, 0.0)
#: The start of the year 1; no earlier year has an ISO text.
FIRST_SECOND = -62_135_596_800.0
DAY = 86_400.0

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: A number that begins with a needless zero, as codes such as 007 do.
_PADDED = re.compile(r"[+-]?0\d", re.ASCII)


def is_missing(text: str) -> bool:
    """Tell whether a field stands for a missing number, truth value or date."""
    bare = text.strip()
    return not bare or bare in MISSING


def parse_number(text: str) -> float:
    """Return the finite number that a text is. Raises ValueError for other text."""
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


def is_number(text: str) -> bool:
    """Tell whether text is written as a number, and not as a code such as 007."""
    bare = text.strip()
    return bool(_NUMBER.fullmatch(bare)) and not _PADDED.match(bare)


def parse_truth(text: str) -> bool:
    """Return the truth value that a text is. Raises ValueError for other text."""
    try:
        return TRUTH[text.lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def seconds(text: str) -> float:
    """Return an ISO 8601 date, or date and time, as seconds since 1970.

    Without an offset it is UTC. Raises ValueError for other text, and for a moment
    that in UTC is before the year 1 or after 9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return min(moment.timestamp(), LAST_SECOND)


def iso(moment: float, has_time: bool) -> str:
    """Return seconds since 1970 as ISO 8601 text in UTC, the inverse of `seconds`.

    Midnight is written as a date alone, unless the column `has_time`.
    """
    text = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
    return text if has_time or moment % DAY else text[:10]

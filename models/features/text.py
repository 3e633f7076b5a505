"""What fields of text mean: missing values, numbers, truth values.

Training and serving both read text with these functions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache
from unicodedata import normalize

#: Texts in lower case that stand for a missing value where numbers, truth values or
#: dates are expected, besides an empty one. A column of words keeps them as words.
MISSING = frozenset(
    {
        *("na", "n/a", "n.a.", "#n/a", "<na>", "null", "(null)", "\\n", "none", "nil"),
        *("nan", "-nan", "nat", "missing", "?", "-", "--", "---", "–", "—", "."),
        *("#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "1.#qnan"),
        # SAS has 28 marks: `.`, `._` and `.a` to `.z`.
        *(f".{letter}" for letter in "_abcdefghijklmnopqrstuvwxyz"),
    }
)
TRUTH = {"true": True, "false": False}
#: Whole numbers beyond this are not exact as float64.
EXACT = 1 << 53

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: A number that begins with a needless zero, as codes such as 007 do.
_PADDED = re.compile(r"[+-]?0\d", re.ASCII)
#: MySQL's zero date, in any order.
_ZERO_DATE = re.compile(r"0{2,4}([-/.])00\1(?:0{2,4})([T ][0:.]+)?")
#: What ECMAScript's patterns escape, and nothing else may be.
_SYNTAX, _ESCAPED = re.compile(r"[\^$\\.*+?()\[\]{}|]"), r"\\\g<0>"
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)


def is_missing(text: str, marks: Collection[str] = ()) -> bool:
    """Tell whether a field stands for a missing number, truth value or date.

    `marks` are the other texts that mean a missing value in its column.
    """
    bare = text.strip()
    if not bare or bare in marks or bare.lower() in MISSING:
        return True
    return bool(_ZERO_DATE.fullmatch(bare))


def missing_pattern(marks: Collection[str] = ()) -> str:
    """Return the pattern, for JSON Schema, of texts that stand for a missing date."""
    texts = ("", *sorted({*MISSING, *marks}))
    choices = "|".join(_SYNTAX.sub(_ESCAPED, text) for text in texts)
    return rf"^\s*({choices})\s*$"


def parse_truth(text: str) -> bool:
    """Return the truth value that a text is. Raises ValueError for other text."""
    try:
        return TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def is_number(text: str) -> bool:
    """Tell whether text is written as a number, and not as a code such as 007."""
    bare = text.strip()
    return bool(_NUMBER.fullmatch(bare)) and not _PADDED.match(bare)


def plain_text(text: str) -> str:
    """Return a text without blanks around it, and a whole number without `.0`.

    Letters with accents are composed: NFC and NFD of a text are one.
    """
    bare = normalize("NFC", text.strip())
    whole = _WHOLE.fullmatch(bare)
    return whole[1] if whole else bare


# Numbers as people write them. A format is an example: `1.234,56 €`.

#: The thousands separators and the decimal mark of each format. `1234,56` is read with
#: a point as well, for columns whose rows are spelled by different rules.
NUMBER_FORMATS = {
    "1234.56": ("", "."),
    "1,234.56": (",", "."),
    "1.234,56": (".", ","),
    "1 234,56": (" \u00a0\u202f\u2009", ","),
    "1 234.56": (" \u00a0\u202f\u2009", "."),
    "1'234.56": ("'’", "."),
    "1234,56": ("", ",."),
}
#: A unit, which may stand after all numbers, also in the singular; no ordinal.
UNIT = re.compile(r"(?!(?:st|nd|rd|th)$)[^\d\s.,'’+\-−()][^\d,()]{0,15}", re.IGNORECASE)
#: Times of day and durations, which are read as seconds; days may stand before.
DURATIONS = {
    format: re.compile(
        rf"(?P<sign>[+-]?)(?:(?P<d>\d+) days?,? )?{parts}(?:\s?(?P<half>[ap])\.?m\.?)?",
        re.ASCII | re.IGNORECASE,
    )
    for format, parts in {
        "h:mm:ss": r"(?P<h>\d{1,6}):(?P<m>[0-5]\d):(?P<s>[0-5]\d(?:[.,]\d+)?)",
        "h:mm": r"(?P<h>\d{1,6}):(?P<m>[0-5]\d)",
        "m:ss.0": r"(?P<m>\d{1,6}):(?P<s>[0-5]\d[.,]\d+)",
    }.items()
}
#: Text that may stand before or after the numbers of a column.
AFFIX = re.compile(
    r"[$€£¥₹₩₽₺₪%‰]|[RC]\$|kr\.?|zł|Kč|Fr\.?|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|"
    r"SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR"
)


def parse_number(text: str, format: str = "") -> float:
    """Return the finite number that a text is, in a format or plain.

    Raises ValueError for other text.
    """
    bare = text.strip()
    value = formatted_number(bare, format) if format else None
    if value is None:
        value = float(bare) if _NUMBER.fullmatch(bare) else math.nan
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


def formatted_number(text: str, format: str) -> float | None:
    """Return the number that a text is in a format itself, or None."""
    if format in DURATIONS:
        return _seconds(text, DURATIONS[format])
    pattern, groups = number_pattern(format)
    match = pattern.fullmatch(text)
    if match is None:
        return None
    opened, sign, inner, body, closed = match.groups()
    if bool(opened) != bool(closed):
        return None
    plain = body.translate({ord(mark): None for mark in groups}).replace(",", ".")
    negative = bool(opened) or sign in ("-", "−") or inner in ("-", "−")
    return -float(plain) if negative else float(plain)


def _seconds(text: str, pattern: re.Pattern[str]) -> float | None:
    match = pattern.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    days, hours = int(part["d"] or 0), int(part.get("h") or 0)
    if half := part["half"]:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + 12 * (half in "pP")
    second = float((part.get("s") or "0").replace(",", "."))
    value = days * 86_400 + hours * 3600 + int(part["m"]) * 60 + second
    return -value if part["sign"] == "-" else value


@lru_cache(256)
def number_pattern(format: str) -> tuple[re.Pattern[str], str]:
    """Return the pattern of a format and its thousands separators.

    Raises ValueError if it is not a format of `NUMBER_FORMATS`, with at most a currency
    before it, or a unit after it.
    """
    for example in sorted(NUMBER_FORMATS, key=len, reverse=True):
        before, found, after = format.partition(example)
        before, after = before.strip(), after.strip()
        fits = not after or UNIT.fullmatch(after)
        if found and (AFFIX.fullmatch(before) and not after if before else fits):
            break
    else:
        raise ValueError(f"expected a number format, found '{format}'")
    groups, decimal = NUMBER_FORMATS[example]
    whole = r"\d+"
    if groups:
        whole = rf"[1-9]\d{{0,2}}(?:[{groups}]\d{{3}})+|\d+"
    if groups == ",":  # 12,34,567.00 is usual in India
        whole = rf"[1-9]\d?(?:,\d\d)+,\d{{3}}|{whole}"
    mark = f"[{decimal}]"
    body = rf"(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    prefix = f"(?:{re.escape(before)})?" if before else ""
    suffix = f"(?:{re.escape(after.removesuffix('s'))}s?)" if after else ""
    if AFFIX.fullmatch(after):  # 12 beside 12 % is 12 %, but beside 12 M it may not be
        suffix += "?"
    gap = "[\\s\u00a0\u202f]*"
    pattern = rf"(\(?)([+\-−]?){prefix}{gap}([+\-−]?)({body}){gap}{suffix}(\)?)"
    return re.compile(pattern, re.ASCII), groups

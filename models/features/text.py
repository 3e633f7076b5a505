"""What fields of text mean: missing values, numbers, truth values.

Training and serving both read text with these functions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from functools import lru_cache
from unicodedata import decimal, normalize

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


#: Separators and minus signs of numbers with other digits, as ASCII has them.
_FOREIGN = str.maketrans({"٫": ".", "٬": ",", "．": ".", "，": ",", "－": "-"})


def plain_digits(text: str) -> str:
    """Return a text with Arabic, full-width and other decimal digits as ASCII's."""
    if text.isascii():
        return text
    digits = (str(decimal(c)) if c.isdecimal() else c for c in text)
    return "".join(digits).translate(_FOREIGN)


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
_CLOCKS = {
    "h:mm:ss": r"(?P<h>\d{1,6}):(?P<m>[0-5]\d):(?P<s>[0-5]\d(?:[.,]\d+)?)",
    "h:mm": r"(?P<h>\d{1,6}):(?P<m>[0-5]\d)",
    "m:ss.0": r"(?P<m>\d{1,6}):(?P<s>[0-5]\d[.,]\d+)",
}
_PART = r"\d+(?:[.,]\d+)?"
#: Times of day and durations, which are read as seconds. Days may stand before, with a
#: sign of their own: `-1 days +22:00:00` is -2 hours in pandas, Python and PostgreSQL.
#: The last is of ISO 8601; its years and months have no fixed length.
DURATIONS = {
    format: re.compile(pattern, re.ASCII | re.IGNORECASE)
    for format, pattern in {
        **{
            format: rf"(?:(?P<d>[+-]?\d+) days?,? )?(?P<sign>[+-]?){clock}"
            r"(?:\s?(?P<half>[ap])\.?m\.?)?"
            for format, clock in _CLOCKS.items()
        },
        "PT1H30M": rf"(?P<sign>[+-]?)P(?=T?\d)(?:(?P<w>{_PART})W)?(?:(?P<d>{_PART})D)?"
        rf"(?:T(?=\d)(?:(?P<h>{_PART})H)?(?:(?P<m>{_PART})M)?(?:(?P<s>{_PART})S)?)?",
    }.items()
}
#: The seconds of each part.
_LENGTHS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
#: Text that may stand before or after the numbers of a column.
AFFIX = re.compile(
    r"[$€£¥₹₩₽₺₪%‰￥％]|(?:[RCA]|US|AU|CA|HK|S)\$|Rs\.?|kr\.?|zł|Kč|Fr\.?|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|"
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
    text = plain_digits(text)
    if format in DURATIONS:
        return _seconds(text, DURATIONS[format])
    pattern, groups = number_pattern(format)
    match = pattern.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    if part["zero"]:
        return 0.0
    if bool(part["opened"]) != bool(part["closed"]):
        return None
    body = part["body"].translate({ord(mark): None for mark in groups})
    number = float(body.replace(",", "."))
    minus = part["opened"] or (part["sign"] + part["inner"] + part["last"]).strip("+")
    return -number if minus else number


def _seconds(text: str, pattern: re.Pattern[str]) -> float | None:
    match = pattern.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    amount = {
        name: float((part.get(name) or "0").replace(",", ".")) for name in _LENGTHS
    }
    if half := part.get("half"):
        if not 1 <= amount["h"] <= 12:
            return None
        amount["h"] = amount["h"] % 12 + 12 * (half in "pP")
    seconds = {name: amount[name] * length for name, length in _LENGTHS.items()}
    before = 0.0 if "w" in part else seconds.pop("d")
    value = sum(seconds.values())
    return before + (-value if part["sign"] == "-" else value)


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
    # No thousands separator stands in 1,159E+05.
    plain = rf"(?:\d+(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
    body = rf"(?:{whole})(?:{mark}\d*)?|{plain}"
    prefix = f"(?:{re.escape(before)})?" if before else ""
    suffix = f"(?:{re.escape(after.removesuffix('s'))}s?)" if after else ""
    # Excel writes 0 as `$ -` where it writes 1 as `$ 1.00`, with a sign of a currency.
    zero = "(?!)"
    if AFFIX.fullmatch(before):
        zero = rf"{re.escape(before)}\s*[-–]"
    elif AFFIX.fullmatch(after) and after not in "%‰％":
        zero = rf"[-–]\s*{re.escape(after)}"
    if AFFIX.fullmatch(after):  # 12 beside 12 % is 12 %, but beside 12 M it may not be
        suffix += "?"
    gap = "[\\s\u00a0\u202f]*"
    minus = "[+\\-−–]?"
    pattern = (
        rf"(?P<zero>{zero})|(?P<sign>{minus}){prefix}{gap}(?P<opened>\(?){prefix}{gap}"
        rf"(?P<inner>{minus}){gap}(?P<body>{body})"
        rf"(?P<last>-?){gap}{suffix}(?P<closed>\)?)"
    )
    return re.compile(pattern, re.ASCII), groups

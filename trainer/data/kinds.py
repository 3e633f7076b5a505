"""The kind of a column of text, by the majority of its values.

A column is of the kind that at least 95% of its values have, missing ones aside: plain
numbers, numbers as people write them, truth values, or dates. The rest of its values
are missing. 80% are enough if there are many different numbers, which would make no
useful categories, and 50% if only a few different words are among them, such as `T` for
a trace of rain. All other columns are text.

Digits are text too if they are codes (leading zeros), or have more digits than float64.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.features.dates import DATE_FORMATS, ISO, date_pattern
from models.features.text import (
    AFFIX,
    DURATIONS,
    EXACT,
    NUMBER_FORMATS,
    UNIT,
    is_missing,
    number_pattern,
    plain_digits,
)
from trainer.data.spelling import (
    SINGLE,
    TEXT,
    Spelling,
    conflict,
    fits,
    fitting_share,
    strictly,
)

if TYPE_CHECKING:
    import polars as pl

#: The share of its values that decides what a column is.
NEARLY_ALL = 0.95
#: With more than MANY different numbers, which make no useful categories, MOST of the
#: values decide, or HALF of them if the others are at most FEW different marks.
MOST, HALF = 0.8, 0.5
MANY, FEW = 20, 3
#: Numbers with signs and units have at most this many forms: 12, 12*, 12†.
FORMS = 5
#: The most frequent texts that show which formats are worth a look at all of them.
SAMPLE = 300
#: The share of whole numbers that begin with zero, or exceed float64, in a column of
#: codes.
CODES = 0.01
#: Why a column of numbers is text: they have several units, or one that is unknown.
SCATTERED = "signs"

_PADDED = re.compile(r"[+-]?0\d+", re.ASCII)
_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
_MONTH = re.compile(r"(?:0[1-9]|1[0-2])\.(?:19|20)\d\d", re.ASCII)
_POINTS = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+", re.ASCII)
_LEADING = re.compile(rf"[+\-−(<>~≈]*(?:{AFFIX.pattern})?\s?\d", re.ASCII)
_AFFIXES = re.compile(
    r"\(?[+\-−–]?(\D*?)\(?[+\-−–]?[.,٫]?\d[\d.,٫٬'’ \u00a0\u202f]*(\D*?)-?\)?"
)


def plain_numbers(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return plain numbers as float64, and other text as null, of columns of text."""
    import polars as pl

    numbers = pl.col(pl.String).cast(pl.Float64, strict=False)
    finite = frame.lazy().select(pl.when(numbers.is_finite()).then(numbers)).collect()
    return {column.name: _stripped(frame[column.name], column) for column in finite}


def _stripped(text: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return numbers, also of texts with blanks around them."""
    import polars as pl

    if numbers.null_count() == text.null_count():
        return numbers
    rest = text.filter(numbers.is_null() & text.is_not_null())
    bare = rest.str.strip_chars()
    if not (bare != rest).any():
        return numbers
    again = text.str.strip_chars().cast(pl.Float64, strict=False)
    return again.set(~again.is_finite(), None)


def infer(
    text: pl.Series, marks: tuple[str, ...] = (), numbers: pl.Series | None = None
) -> Spelling:
    """Return how a column of text is read; `numbers` are its plain numbers."""
    if numbers is None:
        numbers = plain_numbers(text.to_frame())[text.name]
    if numbers.null_count() == text.null_count():
        return _numeric(text, numbers, marks)
    others = count_texts(text.filter(numbers.is_null() & text.is_not_null()))
    marked = {other for other in others if is_missing(other, marks)}
    n_numbers = len(numbers) - numbers.null_count()
    if len(marked) == len(others) and (
        n_numbers or len({*map(str.lower, marked)} - {""}) < 2
    ):
        return _numeric(text, numbers, marks)
    counts = count_texts(text) if n_numbers else others
    present = {value: n for value, n in counts.items() if not is_missing(value, marks)}
    found = replace(_best(present), marks=marks)
    if found.kind == "numeric" and not found.format:
        return replace(_numeric(text, numbers, marks), share=found.share)
    return found


def count_texts(text: pl.Series) -> dict[str, int]:
    """Return how often each text occurs without blanks, the most frequent first."""
    counts = text.drop_nulls().str.strip_chars().value_counts(sort=True)
    return dict(zip(*counts.to_dict(as_series=False).values(), strict=True))


def _numeric(text: pl.Series, numbers: pl.Series, marks: tuple[str, ...]) -> Spelling:
    """Return plain numbers, or text if their digits are codes."""
    import polars as pl

    reason, largest = "", numbers.abs().max()
    if _is_padded(text, numbers):
        reason = "leading zeros"
    elif largest is not None and pl.Series([largest])[0] > EXACT:
        long = text.filter((numbers.abs() > EXACT).fill_null(False))
        whole = sum(bool(_DIGITS.fullmatch(value.strip())) for value in long)
        if whole >= CODES * (len(numbers) - numbers.null_count()):
            reason = "more digits than a number can hold"
    if reason:
        return Spelling("categorical", marks=marks, reason=reason)
    if _are_months(text):
        return Spelling("datetime", "%m.%Y", marks)
    if format := _thousands(text, numbers):
        return Spelling("numeric", format, marks, doubt="1234.567")
    return Spelling("numeric", marks=marks, doubt=_digits_of_dates(numbers))


def _digits_of_dates(numbers: pl.Series) -> str:
    """Return the format if all numbers are dates as 20240131, or months as 202401."""
    low, high = numbers.min(), numbers.max()
    if not isinstance(low, float) or not isinstance(high, float):
        return ""
    for format, tail in (
        *(("%Y%m%d%H%M%S", 10_000_000_000), ("%Y%m%d", 10_000), ("%Y%m", 100)),
    ):
        if not 1900 * tail <= low <= high < 2101 * tail:
            continue
        digits = numbers.drop_nulls().unique()
        if len(digits) > MANY:
            dated = Spelling("datetime", format)
            if all(strictly(dated, f"{number:.15g}") for number in digits):
                return format
    return ""


def _is_padded(text: pl.Series, numbers: pl.Series) -> bool:
    """Tell whether whole numbers begin with zero, as codes do."""
    whole = ((numbers == numbers.floor()) & (numbers.abs() < 1e15)).fill_null(False)
    if not whole.any():
        return False
    zeros = text.filter(whole).str.strip_chars()
    zeros = zeros.filter(zeros.str.contains(r"^[+-]?0[0-9]"))
    padded = sum(bool(_PADDED.fullmatch(value)) for value in zeros)
    if not padded:
        return False
    digits = text.drop_nulls().str.strip_chars()
    digits = digits.filter(digits.str.contains(r"^[+-]?[0-9]+$"))
    return padded >= CODES * len(digits) or digits.str.len_bytes().n_unique() == 1


def _are_months(text: pl.Series) -> bool:
    """Tell whether all numbers are months as 01.2024, in which zeros lead."""
    first = next((value for value in text if value), "")
    if not _MONTH.fullmatch(first):
        return False
    digits = text.drop_nulls().filter(text.drop_nulls().str.contains("[0-9]"))
    return all(_MONTH.fullmatch(value.strip()) for value in digits.unique())


def _thousands(text: pl.Series, numbers: pl.Series) -> str:
    """Return the format if points must be thousands separators: 999, 1.000, 12.500.

    Decimals would not all have three digits, unless whole numbers had them too.
    """
    first = [value for value in text.head(SAMPLE) if value and "." in value]
    if not all(_POINTS.fullmatch(value.strip()) for value in first):
        return ""
    pointed = text.filter(text.str.contains(".", literal=True).fill_null(False))
    if len(pointed) < MANY or not all(_POINTS.fullmatch(v.strip()) for v in pointed):
        return ""
    whole = numbers.filter(~text.str.contains(".", literal=True).fill_null(True))
    small = len(whole.drop_nulls()) > 0 and bool((whole.abs() < 1000).all())
    return "1.234,56" if small and pointed.n_unique() >= MANY else ""


def _best(counts: Mapping[str, int]) -> Spelling:
    """Return the spelling of most values, given how often each text occurs."""
    best, sample = TEXT, list(counts)[:SAMPLE]
    fitting: list[Spelling] = []
    for spelling in _candidates(sample):
        if fitting_share(spelling, sample, counts) >= HALF:
            share = fitting_share(spelling, list(counts), counts)
            fitting.append(replace(spelling, share=share))
    if not fitting:
        return replace(TEXT, reason=SCATTERED if _are_scattered(sample) else "")
    usual = [spelling for spelling in fitting if SINGLE not in spelling.format]
    best = max(usual or fitting, key=lambda spelling: spelling.share)
    if best.share < NEARLY_ALL:
        best = max([best, *fitting], key=lambda spelling: spelling.share)
    if best.kind == "datetime" and best.share < 1:
        best = _beside_iso(best, counts)
    odd = sum(not fits(best, text) for text in counts)
    enough = NEARLY_ALL
    if len(counts) - odd > MANY:
        enough = HALF if odd <= FEW else MOST
    if best.share < enough:
        return replace(TEXT, share=best.share, reason=best.kind)
    doubt = SINGLE if conflict(counts, best) else _doubt(best, usual, sample)
    return replace(best, doubt=doubt)


def _beside_iso(best: Spelling, counts: Mapping[str, int]) -> Spelling:
    """Return the one format of dates among others in ISO 8601, or `best` if unsure.

    ISO 8601 is read in every column.
    """
    rest = [text for text in counts if not fits(Spelling("datetime"), text)]
    others = [Spelling("datetime", format) for format in DATE_FORMATS if format != ISO]
    sample = rest[:SAMPLE]
    found = [s for s in others if fitting_share(s, sample, counts) >= NEARLY_ALL]
    if len(found) != 1:
        return best
    read = sum(n for text, n in counts.items() if fits(found[0], text))
    return replace(found[0], share=read / sum(counts.values()))


def _are_scattered(texts: Sequence[str]) -> bool:
    """Tell whether many texts begin with numbers, and the rest is of a few forms."""
    forms = Counter(re.sub(r"[\d.,]+", "0", text) for text in texts)
    usual = sum(n for _, n in forms.most_common(FORMS))
    numbers = sum(bool(_LEADING.match(text)) for text in texts)
    return len(texts) > MANY and min(usual, numbers) >= NEARLY_ALL * len(texts)


def _candidates(sample: Sequence[str]) -> Iterator[Spelling]:
    """Yield the spellings that texts may have, the plainest first."""
    yield Spelling("boolean")
    if sum(any(map(str.isdigit, text)) for text in sample) < HALF * len(sample):
        return
    yield Spelling("numeric")
    yield from (Spelling("numeric", format) for format in _number_formats(sample))
    for format in DATE_FORMATS:
        yield Spelling("datetime", "" if format == ISO else format)
    yield from (Spelling("numeric", format) for format in DURATIONS)


def _number_formats(sample: Sequence[str]) -> Iterator[str]:
    """Yield the formats of numbers, with the most frequent sign around them."""
    foreign = any(plain_digits(text) != text for text in sample)
    matches = filter(None, map(_AFFIXES.fullmatch, sample))
    pairs = Counter((match[1].strip(), match[2].strip()) for match in matches)
    affixes = [pair for pair, _ in pairs.most_common(2) if any(pair)]
    before, after = affixes[0] if affixes else ("", "")
    if (before and (after or not AFFIX.fullmatch(before))) or (
        after and not UNIT.fullmatch(after)
    ):
        before = after = ""
    for example in NUMBER_FORMATS:
        if example != "1234.56" or before or after or foreign:
            gap = " " if len(after) > 1 or (after in "€₽" and after) else ""
            yield f"{before}{example}{gap}{after}"


def _doubt(best: Spelling, fitting: Sequence[Spelling], sample: Sequence[str]) -> str:
    """Return another format that fits as well and gives other values."""
    if not best.format:
        return ""
    for other in fitting:
        if other.kind != best.kind or other.share < best.share or other == best:
            continue
        for text in sample:
            both = fits(best, text) and fits(other, text)
            if both and best.parse(text) != other.parse(text):
                return other.format or "1234.56"
    return ""


def check_format(kind: str, format: str) -> None:
    """Raise ValueError if a kind of column cannot have the format."""
    if kind == "numeric" and format not in DURATIONS:
        number_pattern(format)
    elif kind == "datetime":
        date_pattern(format)
    elif kind not in ("numeric", "datetime"):
        raise ValueError(f"a {kind} column has no format")


def as_kind(text: pl.Series, kind: str, marks: tuple[str, ...]) -> Spelling:
    """Return the best spelling of a column whose kind is given."""
    if kind in ("categorical", "boolean"):
        return Spelling(kind, marks=marks)
    found = {v: n for v, n in count_texts(text).items() if not is_missing(v, marks)}
    sample = list(found)[:SAMPLE]
    options = [Spelling(kind), *(s for s in _candidates(sample) if s.kind == kind)]
    return replace(
        max(options, key=lambda s: fitting_share(s, sample, found)), marks=marks
    )


def share_of(text: pl.Series, spelling: Spelling) -> float:
    """Return the share of the values that are in the spelling; 0 if there are none."""
    counts = count_texts(text)
    present = {v: n for v, n in counts.items() if not is_missing(v, spelling.marks)}
    fit = sum(n for value, n in present.items() if fits(spelling, value))
    return fit / max(sum(present.values()), 1)


def read_numbers(
    text: pl.Series, spelling: Spelling, numbers: pl.Series | None = None
) -> tuple[NDArray[np.float64], list[int]]:
    """Return raw values (n,) of a column of text, and the indices of odd texts.

    An odd text becomes NaN. `numbers` are the plain numbers of the column.
    """
    import polars as pl

    if spelling.kind != "numeric" or spelling.format:
        numbers = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(text))
    elif numbers is None:
        numbers = plain_numbers(text.to_frame())[text.name]
    odd: list[str] = []
    if numbers.null_count() > text.null_count():
        parsed: dict[str, float] = {}
        for value in text.filter(numbers.is_null()).unique().drop_nulls():
            try:
                parsed[value] = spelling.parse(value)
            except ValueError:
                odd.append(value)
        others = text.replace_strict(parsed, default=None, return_dtype=pl.Float64)
        numbers = numbers.fill_null(others) if parsed else numbers
    indices = text.is_in(odd).fill_null(False).arg_true().to_list() if odd else []
    return np.array(numbers.fill_null(np.nan).to_numpy()), indices

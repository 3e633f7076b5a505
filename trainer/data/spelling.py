"""How the texts of a column are spelled, and which texts fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from unicodedata import category, normalize

from models.features.columns import COLUMN_KINDS
from models.features.dates import ISO, date_pattern
from models.features.text import formatted_number, is_missing

#: Formats of thousands separators, and that of a column where they are decimal marks
#: as well: the files of a folder may be spelled by different rules.
GROUPED, SINGLE = ("1.234,56", "1,234.56"), "1234,56"


@dataclass(frozen=True)
class Spelling:
    """How the texts of a column are read: its kind, their format, its missing marks.

    `share` of the values are of that kind. `doubt` names a format that fits as well.
    """

    kind: str
    format: str = ""
    marks: tuple[str, ...] = ()
    share: float = 1.0
    doubt: str = ""
    reason: str = ""

    def parse(self, text: str) -> float:
        """Return the raw value of a text, NaN if missing; ValueError for another."""
        return COLUMN_KINDS[self.kind].read_text(text, self.format, self.marks)

    @property
    def is_text(self) -> bool:
        """Whether the values are categories."""
        return self.kind == "categorical"


TEXT = Spelling("categorical")


def alike(texts: Iterable[str]) -> list[list[str]]:
    """Return the groups of texts that differ in capitals or unseen characters only.

    These are blanks, also between words, and characters without a width.
    """
    groups: dict[str, list[str]] = {}
    for text in texts:
        folded = normalize("NFKC", text).casefold()
        if not folded.isalnum():
            seen = (c for c in folded if not c.isspace() and category(c) != "Cf")
            folded = "".join(seen)
        groups.setdefault(folded, []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def single_mark(spelling: Spelling) -> Spelling:
    """Return a spelling with thousands separators as one without."""
    format = spelling.format
    for grouped in GROUPED:
        format = format.replace(grouped, SINGLE)
    return replace(spelling, format=format)


def conflict(texts: Iterable[str], spelling: Spelling) -> tuple[str, str] | None:
    """Return two texts if a thousands separator seems to be a decimal mark as well.

    The first has it as its decimal mark for certain, as 0.5 has in a column that is
    read as 1.234,56; the second, such as 1.903, could be either.
    """
    single = single_mark(spelling)
    if single.format == spelling.format:
        return None
    mark = "." if "1.234,56" in spelling.format else ","
    decimal = either = ""
    for text in texts:
        if mark not in text or is_missing(text, spelling.marks):
            continue
        if not fits(single, text):
            continue
        if not strictly(spelling, text):
            decimal = decimal or text
        elif spelling.parse(text) != single.parse(text):
            either = either or text
        if decimal and either:
            return decimal, either
    return None


def fits(spelling: Spelling, text: str) -> bool:
    """Tell whether a text is in the spelling."""
    if spelling.is_text:
        return True
    try:
        spelling.parse(text)
    except ValueError:
        return False
    return True


def fitting_share(
    spelling: Spelling, texts: Sequence[str], counts: Mapping[str, int]
) -> float:
    """Return the share of texts that are of a spelling, by how often each occurs."""
    fit = sum(counts[text] for text in texts if strictly(spelling, text))
    return fit / max(sum(counts[text] for text in texts), 1)


def strictly(spelling: Spelling, text: str) -> bool:
    """Tell whether a text is of the format itself, and not only plain or ISO."""
    if spelling.kind == "numeric" and spelling.format:
        return formatted_number(text, spelling.format) is not None
    if spelling.kind == "datetime" and not _looks_like(spelling.format, text):
        return False
    return fits(spelling, text)


def _looks_like(format: str, text: str) -> bool:
    return bool(date_pattern(format or ISO).fullmatch(text)) or (
        not format and text[:8].isdigit() and text[8:9] == "T"
    )

"""Text for a terminal: names of columns and classes come from the data."""

from __future__ import annotations

import re

#: Control characters but line ends, and marks that turn the direction of text.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return text that cannot command a terminal; line ends stay."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return text that cannot command a terminal or pass for a second message."""
    return printable(text.replace("\n", "\\n"))

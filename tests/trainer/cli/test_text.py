"""What stands in data does not command a terminal."""

from __future__ import annotations

import pytest

from trainer.cli.text import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("colour \x1b[31mred\x1b[0m", "colour \\x1b[31mred\\x1b[0m"),
        ("title\x1b]0;mine\x07", "title\\x1b]0;mine\\x07"),
        ("back\x08\x7f\r", "back\\x08\\x7f\\r"),
        ("C1 \x9b2J", "C1 \\x9b2J"),
        ("turned \u202egpj", "turned \\u202egpj"),
        ("größe, 大きさ, two\nlines", "größe, 大きさ, two\nlines"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_message_has_one_line() -> None:
    assert one_line("no column 'a\nError: b'") == "no column 'a\\nError: b'"

"""Pieces of a page, and that no text gets out of its place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.report.markup import (
    bar,
    head,
    listed,
    number,
    pairs,
    plain,
    plots,
    section,
    text,
)


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


@settings(deadline=None)
@given(st.text())
def test_text_is_never_markup(value: str) -> None:
    parser = Elements()
    parser.feed(f'<p title="{text(value)}">{text(value)}</p>')
    assert parser.found == ["p"]
    assert len(parser.data) <= 200


def test_numbers_are_short() -> None:
    assert number(0.123456) == "0.1235"
    assert number(1234567) == "1,234,567"
    assert number(2024) == "2024" and number(2024.0) == "2024"  # a year
    assert number(2024.0, 3) == "2024" and number(-9999) == "-9999"
    assert number(23410.4) == "23,410" and number(1e30) == "1e+30"
    assert number(0.5, 3, "+") == "+0.5" and number(-2e4, 3, "+") == "-20,000"
    assert number(None) == "–"
    assert number(True) == "True"
    assert number("<b>") == "&lt;b&gt;"


def test_pieces_hold_what_they_are_given() -> None:
    assert (
        section("a", "A", "<p>1</p>", "")
        == '<section id="a"><h2>A</h2><p>1</p></section>'
    )
    assert plots(("", "no picture", "")) == ""
    assert "<figure><svg/>" in plots(("<svg/>", "one", "how to read it"))
    assert listed([]) == "" and listed(["a", "<b>"]).count("<li>") == 2
    assert re.search(r"--share:1\.000", bar(7.0)) and re.search(r"0\.000", bar(-1.0))
    assert head(["a", "b"]).count("<th") == 2
    assert "&lt;i&gt;" in pairs({"<i>": "<b>"}, "x") and "<b>" not in pairs(
        {"": "<b>"}, ""
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\x00c", "a b c"),
        ("x" * 70, "x" * 59 + "…"),
        (1.5, "1.5"),
        ("\u202eab", " ab"),
    ],
)
def test_plain_text_is_one_short_line(text: object, shown: str) -> None:
    assert plain(text) == shown

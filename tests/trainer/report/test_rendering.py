"""What templates print, and that no text gets out of its place."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from trainer.report.rendering import environment, number, plain, render


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
    template = environment().from_string('<p title="{{ x }}">{{ x }}</p>')
    parser = Elements()
    parser.feed(template.render(x=value))
    assert parser.found == ["p"]
    assert parser.data == plain(value)


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("page.html", name="m")


def test_numbers_are_short() -> None:
    assert number(0.123456) == "0.1235"
    assert number(1234567) == "1,234,567"
    assert number(2024) == "2024" and number(2024.0) == "2024"  # a year
    assert number(2024.0, 3) == "2024" and number(-9999) == "-9999"
    assert number(23410.4) == "23,410" and number(1e30) == "1e+30"
    assert number(0.5, 3, "+") == "+0.5" and number(-2e4, 3, "+") == "-20,000"
    assert number(None) == "–"
    assert number(True) == "True"


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
    assert plain(text, 60) == shown


def test_macros_hold_what_they_are_given() -> None:
    macros = environment().get_template("macros.html").module
    assert not macros.figure("", "no picture").strip()
    assert "<figure>&lt;svg" in macros.figure("<svg/>", "one", "how to read it")
    assert not macros.listed([]).strip()
    assert macros.listed(["a", "<b>"]).count("<li>") == 2
    assert re.search(r"--share:1\.000", macros.bar(7.0))
    assert re.search(r"--share:0\.000", macros.bar(-1.0))
    assert macros.head(["a", "b<"]).count("<th") == 2

"""Pictures: in the page's colours, named, small, and deaf to what names say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from matplotlib.axes import Axes

from trainer.report.drawing import COLOURS, INK, LINES, legend, picture

HOSTILE = '<script>alert("1")</script> $\\frac{1}{0}$ \x07 & ]]> ' + "漢" * 5


def line(axes: Axes) -> None:
    axes.plot([0, 1, 2], [0.1234, 1, 0.5], color=LINES[0], label=HOSTILE)
    axes.text(1, 0.5, "0.12345", color=INK)
    legend(axes)


def test_a_picture_is_one_named_element_in_the_colours_of_its_page() -> None:
    svg = picture(line, "a line", x="epoch", y="loss")
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", "a line")
    assert not any(stand_in in svg for stand_in in COLOURS)
    assert "currentColor" in svg and "var(--line1)" in svg and "var(--grid)" in svg
    assert "DejaVu" not in svg and "font-family" not in svg
    texts = ["".join(t.itertext()) for t in root.iter("text")]
    assert "epoch" in texts and "loss" in texts
    assert "0.12345" in texts  # only places are rounded
    assert not re.search(r' [xy]="\d+\.\d{3}', svg)


def test_text_stays_text() -> None:
    svg = picture(line, HOSTILE, x=HOSTILE, y=HOSTILE)
    root = ET.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {
        "svg", "g", "path", "use", "text", "defs", "clipPath", "rect",
    }  # fmt: skip
    assert any(HOSTILE[:20] in "".join(t.itertext()) for t in root.iter("text"))


def test_names_in_one_picture_are_no_others() -> None:
    def ids(svg: str) -> set[str]:
        found = set(re.findall(r' id="([^"]*)"', svg))
        used = set(re.findall(r'(?:href="|url\()#([^")]*)', svg))
        assert found == used
        return found

    first, second = picture(line, "a"), picture(line, "b", height=300)
    assert ids(first) and not ids(first) & ids(second)
    assert picture(line, "a") == first

"""Pieces of a page. Whatever is not ours goes through `text`, which no tag survives."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def plain(text: object, most: int = 60) -> str:
    """Return text of one line without control characters, and not too long."""
    shown = "".join(
        " " if unicodedata.category(letter)[0] in "CZ" else letter
        for letter in str(text)
    )
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def text(value: object, most: int = 200) -> str:
    """Return anybody's text as HTML shows it: one line, and nothing but text."""
    return html.escape(plain(value, most), quote=True)


def number(value: object, digits: int = 4, sign: str = "") -> str:
    """Return a figure as people read it; other values as text.

    Of large numbers all places before the point are shown; `sign` may be `+`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text("–" if value is None else value)
    if isinstance(value, int):
        return f"{value:{sign},}"
    large = 10**digits <= abs(value) < 1e12
    return f"{value:{sign},.0f}" if large else f"{value:{sign}.{digits}g}"


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a part of the page with its heading."""
    return (
        f'<section id="{anchor}"><h2>{title}</h2>{"".join(p for p in parts if p)}'
        "</section>"
    )


def plots(*pairs: tuple[str, str, str]) -> str:
    """Return pictures side by side, each with a title and how to read it."""
    shown = [
        f"<figure>{svg}<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
        for svg, title, caption in pairs
        if svg
    ]
    return f'<div class="plots">{"".join(shown)}</div>' if shown else ""


def listed(sentences: Iterable[str]) -> str:
    """Return sentences, one a line."""
    items = "".join(f"<li>{text(s, 1000)}</li>" for s in sentences)
    return f'<ul class="plain">{items}</ul>' if items else ""


def bar(share: float, kind: str = "") -> str:
    """Return a bar; the number beside it is what a screen reader reads."""
    share = min(max(share, 0.0), 1.0)
    return f'<span class="bar {kind}" style="--share:{share:.3f}"></span>'


def scrolled(name: str, table: str) -> str:
    """Return a table that may be wider than a phone, reachable by keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(name)}">'
        f"{table}</div>"
    )


def pairs(values: Mapping[str, Any], name: str) -> str:
    """Return names and values as a table of two columns."""
    rows = "".join(
        f'<tr><th scope="row">{text(k)}</th>'
        f'<td class="text"><code>{text(v, 400)}</code></td></tr>'
        for k, v in values.items()
    )
    return scrolled(name, f"<table>{rows}</table>")


def head(names: Sequence[str]) -> str:
    """Return the first row of a table, whose first column is text."""
    first, *others = names
    cells = [f'<th scope="col" class="text">{first}</th>']
    cells += [f'<th scope="col">{name}</th>' for name in others]
    return f"<tr>{''.join(cells)}</tr>"

"""HTML fragments. All text from data or users is escaped by `text`."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Rows of a table of columns that are shown at once, and after a click.
VISIBLE_ROWS, MAX_ROWS = 15, 100


def plain(text: object, most: int = 60) -> str:
    """Return one line of at most `most` characters, without control characters."""
    line = "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character
        for character in str(text)
    )
    return line if len(line) <= most else line[: most - 1] + "…"


def text(value: object, most: int = 200) -> str:
    """Return any value as one escaped line of text."""
    return html.escape(plain(value, most), quote=True)


def number(value: object, digits: int = 4, sign: str = "") -> str:
    """Return a number of `digits` digits, or another value as text.

    Large numbers keep all digits before the point, in groups from five digits on, so
    that a year is written as one; `sign` may be `+`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text("–" if value is None else value)
    groups = "," if abs(value) >= 10_000 else ""
    if isinstance(value, int):
        return f"{value:{sign}{groups}}"
    large = 10**digits <= abs(value) < 1e12
    return f"{value:{sign}{groups}.0f}" if large else f"{value:{sign}.{digits}g}"


def section(anchor: str, title: str, *parts: str) -> str:
    """Return a section of the page with its heading."""
    return (
        f'<section id="{anchor}"><h2>{title}</h2>{"".join(p for p in parts if p)}'
        "</section>"
    )


def plots(*pairs: tuple[str, str, str]) -> str:
    """Return plots side by side, each with a title and a caption; skip empty ones."""
    figures = [
        f"<figure>{svg}<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
        for svg, title, caption in pairs
        if svg
    ]
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def listed(sentences: Iterable[str]) -> str:
    """Return sentences as a list, or nothing if there are none."""
    items = "".join(f"<li>{text(s, 1000)}</li>" for s in sentences)
    return f'<ul class="plain">{items}</ul>' if items else ""


def bar(share: float, kind: str = "") -> str:
    """Return a bar, which screen readers skip: they read the number beside it."""
    share = min(max(share, 0.0), 1.0)
    return f'<span class="bar {kind}" style="--share:{share:.3f}"></span>'


def folded(header: str, rows: Sequence[str]) -> str:
    """Return a table of the first rows, and of others after a click."""
    table = f'<table class="wide">{header}{"".join(rows[:VISIBLE_ROWS])}</table>'
    if rest := rows[VISIBLE_ROWS:MAX_ROWS]:
        table += (
            f"<details><summary>{len(rest)} more of {len(rows)} columns</summary>"
            f'<table class="wide">{header}{"".join(rest)}</table></details>'
        )
    return table


def scrolled(name: str, table: str) -> str:
    """Return a table that scrolls sideways on a phone, also by keyboard."""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(name)}">'
        f"{table}</div>"
    )


def pairs(values: Mapping[str, Any], name: str) -> str:
    """Return a table of names and values."""
    rows = "".join(
        f'<tr><th scope="row">{text(k)}</th>'
        f'<td class="text"><code>{text(v, 400)}</code></td></tr>'
        for k, v in values.items()
    )
    return scrolled(name, f"<table>{rows}</table>")


def head(names: Sequence[str]) -> str:
    """Return the header row of a table whose first column is text."""
    first, *others = names
    cells = [f'<th scope="col" class="text">{first}</th>']
    cells += [f'<th scope="col">{name}</th>' for name in others]
    return f"<tr>{''.join(cells)}</tr>"

"""Renders the templates of the report, which escape all text."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def plain(text: object, most: int | None = None) -> str:
    """Return one line of at most `most` characters, without control characters."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else " " for c in line)
    return line if most is None or len(line) <= most else line[: most - 1] + "…"


def number(value: object, digits: int = 4, sign: str = "") -> str:
    """Return a number of `digits` digits, or another value as text.

    Large numbers keep all digits before the point, in groups from five digits on, so
    that a year is written as one; `sign` may be `+`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain("–" if value is None else value)
    groups = "," if abs(value) >= 10_000 else ""
    if isinstance(value, int):
        return f"{value:{sign}{groups}}"
    large = 10**digits <= abs(value) < 1e12
    return f"{value:{sign}{groups}.0f}" if large else f"{value:{sign}.{digits}g}"


def _printed(value: Any) -> Any:
    """Return what a template prints: text from data on one line, markup as it is."""
    return value if isinstance(value, Markup) else plain(value)


@cache
def environment() -> Environment:
    """Return the templates, with the filters `plain`, `number` and `count`."""
    made = Environment(
        loader=PackageLoader("trainer.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    made.filters |= {"plain": plain, "number": number, "count": "{:,}".format}
    return made


def render(template: str, **values: Any) -> Markup:
    """Return a template filled with values; all their text is escaped."""
    return Markup(environment().get_template(template).render(values))

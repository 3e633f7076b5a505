"""Charts as SVG elements that use the colours and the font of the page.

A chart is a list of series on two axes; `templates/chart.svg` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from trainer.report.rendering import render

Floats = NDArray[np.float64]
INK, FAINT, GRID = "currentColor", "var(--faint)", "var(--grid)"
LINES = tuple(f"var(--line{number})" for number in range(1, 7))
#: Pixels: as wide as a phone, and the space around the plot.
WIDTH, HEIGHT, LEFT, RIGHT, LINE_HEIGHT = 360, 220, 44, 8, 16
MAX_TICKS = 7


@dataclass(frozen=True)
class Series:
    """Values y (n,) over x (n,), or bars of height y between x (n + 1,).

    A value that cannot be drawn is NaN, a gap in the line.
    """

    kind: Literal["line", "dotted", "dots", "bars"]
    x: Floats
    y: Floats
    colour: str
    label: str = ""
    width: float = 1.8
    opacity: float = 1.0

    def paths(self, x: Floats, y: Floats, base: float) -> Iterator[str]:
        """Yield the SVG paths through pixels x and y (n,)."""
        if self.kind == "bars":
            for left, right, top in zip(x, x[1:], y, strict=False):
                yield f"M{left:.2f} {base}V{top:.2f}H{right:.2f}V{base}"
        elif self.kind == "dots":
            for across, down in zip(x, y, strict=True):
                if np.isfinite(across) and np.isfinite(down):
                    yield f"M{across:.2f} {down:.2f}h0"
        else:
            path, command = "", "M"
            for across, down in zip(x, y, strict=True):
                drawn = np.isfinite(down)
                path += f"{command}{across:.2f} {down:.2f}" if drawn else ""
                command = "L" if drawn else "M"
            yield f"{path}h0"  # so that a line of one point is a dot


def line(
    x: ArrayLike,
    y: ArrayLike,
    colour: str = LINES[0],
    label: str = "",
    width: float = 1.8,
    opacity: float = 1.0,
) -> Series:
    """Return a line through values y (n,) over x (n,)."""
    return Series("line", _finite(x), _finite(y), colour, label, width, opacity)


def dotted(x: ArrayLike, y: ArrayLike) -> Series:
    """Return a faint dotted line through y (n,) over x (n,), to compare with."""
    return Series("dotted", _finite(x), _finite(y), FAINT, width=1.4)


def dots(
    x: ArrayLike,
    y: ArrayLike,
    size: float,
    colour: str = LINES[0],
    label: str = "",
    opacity: float = 1.0,
) -> Series:
    """Return dots at values y (n,) over x (n,), their size in pixels."""
    return Series("dots", _finite(x), _finite(y), colour, label, size, opacity)


def bars(edges: ArrayLike, heights: ArrayLike) -> Series:
    """Return the bars of a histogram with heights (n,) between edges (n + 1,)."""
    return Series("bars", _finite(edges), _finite(heights), LINES[0])


def _finite(values: ArrayLike) -> Floats:
    """Return values (n,) with NaN for all that cannot be drawn."""
    found = np.array(values, float)
    found[~np.isfinite(found) | (np.abs(found) > 1e30)] = np.nan
    return found


def short(value: float) -> str:
    """Return a number as short text: 12.5k, 3M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def percent(value: float) -> str:
    """Return a share as text: 0.5%, 20%."""
    return f"{100 * value:.3g}%"


@dataclass(frozen=True)
class Axis:
    """An axis around its values, unless it is given limits, or ticks with their text.

    An axis of whole numbers has no grid. Texts that are `inside` stand in the plot.
    """

    label: str = ""
    limits: tuple[float, float] | None = None
    text: Callable[[float], str] = short
    whole: bool = False
    log: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    inside: bool = False

    def around(self, values: Floats) -> Axis:
        """Return the axis with limits and ticks for values (n,)."""
        low, high = self.limits or _limits(values, self.log)
        ticks = self.ticks
        if ticks is None:
            places = _powers if self.log else _steps
            ticks = [(at, self.text(at)) for at in places(low, high, self.whole)]
        return replace(self, limits=(low, high), ticks=ticks)

    def place(self, values: ArrayLike, start: float, end: float) -> Floats:
        """Return where values (n,) lie between the pixels of both limits."""
        numbers, limits = np.asarray(values, float), np.array(self.limits)
        if self.log:
            numbers, limits = np.log10(numbers), np.log10(limits)
        share: Floats = (numbers - limits[0]) / (limits[1] - limits[0])
        return start + share * (end - start)

    def placed(self, start: float, end: float) -> list[tuple[str, str]]:
        """Return the pixel and the text of each tick."""
        ticks = self.ticks or ()
        places = self.place([at for at, _ in ticks], start, end)
        return [
            (f"{at:.2f}", text) for at, (_, text) in zip(places, ticks, strict=True)
        ]


def _limits(values: Floats, log: bool) -> tuple[float, float]:
    """Return limits a twentieth of their distance beyond the values (n,)."""
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    if log:
        margin = (high / low) ** 0.05
        return float(low / margin), float(high * margin)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def _steps(low: float, high: float, whole: bool) -> list[float]:
    """Return a few round numbers between the limits."""
    power = 10.0 ** np.floor(np.log10((high - low) / MAX_TICKS))
    steps = (power * factor for factor in (1, 2, 5, 10))
    step = next(s for s in steps if high - low <= MAX_TICKS * s * (1 + 1e-9))
    step = max(step, 1.0) if whole else step
    numbers = np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    return [float(number) for number in numbers * step + 0.0]  # no -0


def _powers(low: float, high: float, whole: bool) -> list[float]:
    """Return powers of ten between the limits, or numbers between if they are few."""
    exponents = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    if len(exponents) > 2:
        return [float(x) for x in 10.0 ** exponents[:: -(-len(exponents) // MAX_TICKS)]]
    between = np.arange(np.floor(np.log10(low)), np.log10(high))
    numbers = np.multiply.outer(10.0**between, [1, 2, 5]).ravel()
    return [float(x) for x in numbers if low <= x <= high]


def chart(
    series: Sequence[Series],
    alt: str,
    x: Axis | None = None,
    y: Axis | None = None,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    columns: int = 3,
) -> Markup:
    """Return series on two axes as an SVG element; `alt` describes it.

    The legend names the series that have a label, `columns` in a row.
    """
    across = (x or Axis()).around(np.concatenate([one.x for one in series]))
    up = (y or Axis()).around(np.concatenate([one.y for one in series]))
    named = [one for one in series if one.label]
    legend = [named[n : n + columns] for n in range(0, len(named), columns)]
    top = 10 + LINE_HEIGHT * max(len(legend), 1)
    base, right = height - (38 if across.label else 22), width - RIGHT
    return render(
        "chart.svg",
        width=width,
        height=height,
        alt=alt,
        legend=legend,
        left=LEFT,
        right=right,
        top=top,
        base=base,
        x=across,
        x_ticks=across.placed(LEFT, right),
        y=up,
        y_ticks=up.placed(base, top),
        drawn=[
            (s, s.paths(across.place(s.x, LEFT, right), up.place(s.y, base, top), base))
            for s in series
        ],
    )

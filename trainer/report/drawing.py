"""Plots as SVG elements that use the colours and font of the page.

Matplotlib draws with placeholder colours, which are replaced in the SVG by variables of
the style sheet, so that a plot follows the light or dark theme. Text stays text and is
never parsed as mathematics, since it may come from the data.
"""

from __future__ import annotations

import html
import io
import re
import warnings
import zlib
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from trainer.report.markup import plain

#: Placeholder colours, and what replaces them.
INK, FAINT, GRID = "#010203", "#010204", "#010205"
LINES = tuple(f"#0102{number:02x}" for number in range(0x10, 0x16))
COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    **{line: f"var(--line{n})" for n, line in enumerate(LINES, 1)},
}
#: Size in points, which become pixels: as wide as a phone.
WIDTH, HEIGHT = 360, 220
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "glassnet",
    **dict.fromkeys(("text.parse_math", "axes.formatter.useoffset"), False),
    **dict.fromkeys(("font.size", "axes.labelsize"), 10),
    **dict.fromkeys(("legend.fontsize", "legend.title_fontsize"), 10),
    **dict.fromkeys(
        ("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), GRID
    ),
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), FAINT),
    "text.color": INK,
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **{f"axes.spines.{side}": False for side in ("top", "right", "left")},
    **dict.fromkeys(("xtick.minor.size", "ytick.major.size", "ytick.minor.size"), 0),
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.handlelength": 1.1,
    "legend.borderpad": 0,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
}
_FONT = re.compile(r"font(?:-family)?: (?:([\d.]+px) )?'[^;\"]*;? ?")
_ID = re.compile(r' id="([^"]*)"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COORDINATES = re.compile(r' (?:d|x|y|transform)="[^"]*"')
_USED = re.compile(r'#([^")]+)[")]')


def picture(
    draw: Callable[[Axes], None],
    alt: str,
    *,
    x: str = "",
    y: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
    legend_rows: int = 1,
) -> str:
    """Return the plot that `draw` makes as an SVG element; `alt` describes it."""
    # Ignore glyphs missing in matplotlib's font: the page uses another.
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        left, right, bottom = 44.0, 8.0, 38.0 if x else 22.0
        top = 10.0 + 16.0 * legend_rows
        axes = figure.add_axes(
            (
                left / width,
                bottom / height,
                1 - (left + right) / width,
                1 - (bottom + top) / height,
            )
        )
        axes.patch.set_visible(False)
        axes.set_xlabel(plain(x))
        draw(axes)
        if y:  # above the axis, to leave the width to the plot
            axes.text(
                -left / (width - left - right) + 0.01,
                1.0 + 16.0 / (height - bottom - top),
                plain(y),
                color=FAINT,
                transform=axes.transAxes,
                va="center",
            )
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return page_svg(stream.getvalue(), alt)


def legend(axes: Axes, columns: int = 3) -> None:
    """Add a legend above the plot, on the right."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.005), ncols=columns, borderaxespad=0.2
    )


def page_svg(svg: str, alt: str) -> str:
    """Return matplotlib's SVG reduced to one element in the colours of the page."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    body = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    body = _CONTROL.sub("", re.sub(r"\s*\n\s*", " ", body)).replace("> <", "><")
    body = body.replace("xlink:href", "href").replace(" rotate(-0 ", " rotate(0 ")
    body = _FONT.sub(lambda m: f"font-size: {m[1]}; " if m[1] else "", body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", body)
    for placeholder, colour in COLOURS.items():
        body = body.replace(placeholder, colour)
    used = set(_USED.findall(body))
    # Make the ids unique within the page.
    prefix = f"{zlib.crc32(alt.encode()):08x}-"
    body = _ID.sub(lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="|url\()#', rf"\g<1>#{prefix}", body)
    # Coordinates are pixels: two decimals are enough.
    body = _COORDINATES.sub(lambda m: re.sub(r"(\.\d{2})\d+", r"\1", m[0]), body)
    label = html.escape(plain(alt, 400), quote=True)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{label}">{body}</svg>'

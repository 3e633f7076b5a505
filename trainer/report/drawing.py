"""Small pictures in the colours of the page they stand in.

Matplotlib draws with colours that nobody would choose; in the SVG each of them becomes
a variable of the page's style sheet, so one picture does for light and dark. Text stays
text, in the page's own font, and is never read as mathematics: it may be anybody's.
"""

from __future__ import annotations

import html
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from trainer.report.markup import plain

#: Stand-ins, and what the page makes of them.
INK, FAINT, GRID = "#010203", "#010204", "#010205"
LINES = tuple(f"#0102{number:02x}" for number in range(0x10, 0x16))
COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    GRID: "var(--grid)",
    **{line: f"var(--line{n})" for n, line in enumerate(LINES, 1)},
}
#: Points, which are a page's pixels: a picture fills a phone and is read there.
WIDTH, HEIGHT = 360, 220
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "glassnet",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.title_fontsize": 10,
    "legend.handlelength": 1.1,
    "legend.borderpad": 0,
    "legend.columnspacing": 1.2,
    "legend.handletextpad": 0.5,
}
_FONT = re.compile(r"font(?:-family)?: (?:([\d.]+px) )?'[^;\"]*;? ?")
_ID = re.compile(r' id="([^"]*)"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PLACES = re.compile(r' (?:d|x|y|transform)="[^"]*"')
_USED = re.compile(r'#([^")]+)[")]')


def picture(
    draw: Callable[[Axes], None],
    alt: str,
    *,
    x: str = "",
    y: str = "",
    width: float = WIDTH,
    height: float = HEIGHT,
) -> str:
    """Return what `draw` puts on the axes as an SVG element, named `alt`."""
    # A letter that the measuring font lacks is the reader's font to find.
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        left, right, bottom, top = 44.0, 8.0, 38.0 if x else 22.0, 26.0
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
        if y:  # above the axis, where it takes no room from the picture
            axes.text(
                -left / (width - left - right) + 0.01,
                1.09,
                plain(y),
                color=FAINT,
                transform=axes.transAxes,
                va="center",
            )
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return cleaned(stream.getvalue(), alt)


def legend(axes: Axes, columns: int = 3) -> None:
    """Name the lines above the picture, on the right."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.005), ncols=columns, borderaxespad=0.2
    )


def cleaned(svg: str, alt: str) -> str:
    """Return matplotlib's SVG as an element of a page: small, and in its colours."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    body = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    body = _CONTROL.sub("", re.sub(r"\s*\n\s*", " ", body)).replace("> <", "><")
    body = body.replace("xlink:href", "href").replace(" rotate(-0 ", " rotate(0 ")
    body = _FONT.sub(lambda m: f"font-size: {m[1]}; " if m[1] else "", body)
    body = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", body)
    for stand_in, colour in COLOURS.items():
        body = body.replace(stand_in, colour)
    used = set(_USED.findall(body))
    # One picture's names are no other's.
    own = f"{zlib.crc32(alt.encode()):08x}-"
    body = _ID.sub(lambda m: f' id="{own}{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="|url\()#', rf"\g<1>#{own}", body)
    # The numbers of a picture of pixels: a hundredth is more than anyone sees.
    body = _PLACES.sub(lambda m: re.sub(r"(\.\d{2})\d+", r"\1", m[0]), body)
    label = html.escape(plain(alt, 400), quote=True)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{label}">{body}</svg>'


def chosen(layers: Iterable[str]) -> list[str]:
    """Return as many names as there are colours, from the first to the last."""
    names = list(layers)
    if len(names) <= len(LINES):
        return names
    step = (len(names) - 1) / (len(LINES) - 1)
    return [names[round(place * step)] for place in range(len(LINES))]

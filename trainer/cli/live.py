"""The numbers dance: loss, answers and weights of a network while it learns.

For whoever wants to see it happen. A small network learns faster than anyone can look,
so each picture stays a moment, and a run takes some seconds more.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from models.nn.layers import Linear
from models.types import Array
from trainer.cli.progress import progress, say
from trainer.training.loop import TrainingRun
from trainer.training.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

#: Pictures in a run at most, and how long each stays.
PICTURES, MOMENT = 120, 0.05
#: What is shown of rows, of a layer's inputs and units, and of the loss: all of it fits
#: into a terminal of 24 lines.
ROWS, INPUTS, UNITS = 8, 8, 16
WIDTH, HEIGHT = 44, 8
BLOCKS = " ▁▂▃▄▅▆▇█"
NEGATIVE, POSITIVE = (208, 92, 42), (58, 124, 196)


@contextmanager
def live_view() -> Iterator[ProgressCallback]:
    """Give a watcher that draws the first network; a line now and then elsewhere."""
    if not sys.stderr.isatty():
        say(
            "--watch draws on a terminal, and this is none: a line now and then instead"
        )
        with progress() as watch:
            yield watch
        return
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(stderr=True), auto_refresh=False)

    def draw(standing: Progress) -> None:
        run, epochs = standing.run, standing.history.epochs
        if run is None or standing.number > 1:
            return
        if epochs % -(-run.history.planned // PICTURES) and not run.over:
            return
        if not live.is_started:
            live.start()
        live.update(picture(run), refresh=True)
        time.sleep(MOMENT)
        if run.over:
            live.stop()  # the last picture stays; sentences come below it

    try:
        yield draw
    finally:
        live.stop()


def picture(run: TrainingRun) -> RenderableType:
    """Return loss, answers and weights as they are after the latest epoch."""
    from rich.columns import Columns
    from rich.panel import Panel

    history = run.history
    title = f"epoch {history.epochs} of {history.planned}"
    parts = [
        Panel(_loss(history.loss, history.validation_loss), title=title),
        Panel(_answers(run), title="answers"),
        Panel(_weights(run), title="weights"),
    ]
    return Columns(parts, padding=(0, 1))


def _loss(loss: Sequence[float], held_out: Sequence[float]) -> Text:
    """Return the course of the loss as a hill that is walked down."""
    from rich.text import Text

    text = Text(hill(loss), style="rgb(58,124,196)")
    text.append(f"\nloss       {loss[-1]:.6f}", style="default")
    if held_out:
        text.append(f"\nvalidation {held_out[-1]:.6f}", style="default")
    return text


def hill(values: Sequence[float], width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return values as columns of blocks, the latest on the right, from 0 up."""
    places = (
        np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)
    )
    shown = np.nan_to_num(np.array(values, float)[places], posinf=0.0)
    eighths = np.ceil(shown / max(shown.max(), 1e-12) * 8 * height).astype(int)
    lines = []
    for row in range(height - 1, -1, -1):
        filled = np.clip(eighths - 8 * row, 0, 8)
        lines.append("".join(BLOCKS[n] for n in filled).ljust(width))
    return "\n".join(lines)


def _answers(run: TrainingRun) -> Table:
    """Return some rows with their truth and what the network says of them."""
    from rich.table import Table
    from rich.text import Text

    X, T, _ = run.rows
    some = min(ROWS, len(X))
    said = run.network.predict(X[:some])
    shown = Table("inputs", "truth", "answer", "", box=None, pad_edge=False)
    for x, truth, z in zip(X[:some], T[:some], said, strict=True):
        inputs = " ".join(f"{v:+.1f}" for v in x.ravel()[:4])
        more = " …" if x.size > 4 else ""
        answer, share, right = _answer(z, truth)
        colour = POSITIVE if right else NEGATIVE
        bar = Text("█" * round(12 * share), style=_rgb(colour, 1.0))
        shown.add_row(f"{inputs}{more}", _truth(truth), answer, bar)
    return shown


def _answer(z: Array, truth: float) -> tuple[str, float, bool]:
    """Return an answer, how sure it is of the truth, and whether it is right."""
    if isinstance(truth, np.floating):  # in standard units
        near = math.exp(-abs(float(z[0] - truth)))
        return f"{z[0]:+.2f}", near, near > 0.5
    if len(z) == 1:
        p = 1.0 / (1.0 + math.exp(-max(min(float(z[0]), 500.0), -500.0)))
        return f"{p:.3f}", p if truth else 1.0 - p, (p > 0.5) == bool(truth)
    P = np.exp(z - z.max())
    P /= P.sum()
    chosen = int(P.argmax())
    return f"{chosen} ({P[chosen]:.0%})", float(P[truth]), chosen == truth


def _truth(truth: float) -> str:
    return f"{truth:+.2f}" if isinstance(truth, np.floating) else str(truth)


def _weights(run: TrainingRun) -> Text:
    """Return the weights as squares: orange below zero, blue above, strong if large."""
    from rich.text import Text

    text = Text()
    linear = [x for x in run.network.layers if isinstance(x, Linear)]
    ends = linear if len(linear) < 3 else [linear[0], linear[-1]]
    for number, layer in enumerate(ends):
        W = layer.W[:INPUTS, :UNITS]
        largest = max(float(np.abs(W).max()), 1e-12)
        n_in, n_out = layer.W.shape
        text.append(f"{'' if number == 0 else chr(10)}{n_in} → {n_out}\n")
        for row in W:
            for w in row:
                colour = NEGATIVE if w < 0 else POSITIVE
                text.append("██", style=_rgb(colour, abs(float(w)) / largest))
            text.append("\n")
    text.rstrip()
    return text


def _rgb(colour: tuple[int, int, int], strength: float) -> str:
    """Return a colour of a strength from 0, which is dark, to 1."""
    r, g, b = (round(28 + (c - 28) * strength) for c in colour)
    return f"rgb({r},{g},{b})"

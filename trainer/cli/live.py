"""The live view of `fit --watch`: loss, predictions and weights during training.

Small networks train faster than the eye can follow, so each frame stays for a moment
and a run takes a few seconds longer.
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

#: Frames drawn in a run, and the seconds that each stays.
MAX_FRAMES, FRAME_SECONDS = 120, 0.05
#: Rows, and inputs and units of a layer that are drawn: they fit into 24 lines.
ROWS, INPUTS, UNITS = 8, 8, 16
#: Size of the loss curve in characters.
WIDTH, HEIGHT = 40, 8
#: Characters of the columns of predictions: inputs, truth, prediction, bar. Widths that
#: follow the values would move everything from frame to frame.
COLUMNS = (23, 6, 10, 10)
BLOCKS = " ▁▂▃▄▅▆▇█"
NEGATIVE, POSITIVE = (208, 92, 42), (58, 124, 196)


@contextmanager
def live_view() -> Iterator[ProgressCallback]:
    """Yield a callback that draws the first network on a terminal, else `progress`."""
    if not sys.stderr.isatty():
        say("--watch needs a terminal: printing a line every 10 s instead")
        with progress() as on_epoch:
            yield on_epoch
        return
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(stderr=True), auto_refresh=False)

    def draw(progress: Progress) -> None:
        run, epochs = progress.run, progress.history.epochs
        if run is None or progress.number > 1:
            return
        if epochs % -(-run.history.planned // MAX_FRAMES) and not run.over:
            return
        if not live.is_started:
            live.start()
        live.update(frame(run), refresh=True)
        time.sleep(FRAME_SECONDS)
        if run.over:
            live.stop()  # the last frame stays, messages follow below

    try:
        yield draw
    finally:
        live.stop()


def frame(run: TrainingRun) -> RenderableType:
    """Return loss, predictions and weights after the latest epoch."""
    from rich.columns import Columns
    from rich.panel import Panel

    history = run.history
    title = f"epoch {history.epochs} of {history.planned}"
    parts = [
        Panel(
            _loss(history.loss, history.validation_loss), title=title, width=WIDTH + 4
        ),
        Panel(_predictions(run), title="predictions", width=sum(COLUMNS) + 7),
        Panel(_weights(run), title="weights", width=2 * UNITS + 4),
    ]
    return Columns(parts, padding=(0, 1))


def _loss(loss: Sequence[float], validation: Sequence[float]) -> Text:
    """Return the loss over the epochs, with the latest values."""
    from rich.text import Text

    text = Text(area_chart(loss), style="rgb(58,124,196)")
    text.append(f"\nloss       {loss[-1]:.6f}", style="default")
    if validation:
        text.append(f"\nvalidation {validation[-1]:.6f}", style="default")
    return text


def area_chart(
    values: Sequence[float], width: int = WIDTH, height: int = HEIGHT
) -> str:
    """Return values as columns of block characters, the latest on the right."""
    index = np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)
    chosen = np.nan_to_num(np.array(values, float)[index], posinf=0.0)
    eighths = np.ceil(chosen / max(chosen.max(), 1e-12) * 8 * height).astype(int)
    lines = []
    for row in range(height - 1, -1, -1):
        filled = np.clip(eighths - 8 * row, 0, 8)
        lines.append("".join(BLOCKS[n] for n in filled).ljust(width))
    return "\n".join(lines)


def _predictions(run: TrainingRun) -> Table:
    """Return some rows with their true and predicted values."""
    from rich.table import Table
    from rich.text import Text

    X, T, _ = run.rows
    Z = run.network.predict(X[:ROWS])
    # A number is shown in standard units, and how near it is as exp(-distance).
    bar = "nearness" if isinstance(T[0], np.floating) else "p of true"
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name, width in zip(("inputs", "true", "predicted", bar), COLUMNS, strict=True):
        table.add_column(name, width=width, no_wrap=True)
    for x, truth, z in zip(X[:ROWS], T[:ROWS], Z, strict=True):
        inputs = " ".join(f"{v:+.1f}" for v in x.ravel()[:4])
        more = " …" if x.size > 4 else ""
        predicted, share, right = _prediction(z, truth)
        colour = POSITIVE if right else NEGATIVE
        length = round(COLUMNS[-1] * share)
        table.add_row(
            f"{inputs}{more}",
            _truth(truth),
            predicted,
            Text("█" * length, style=_rgb(colour, 1.0)),
        )
    return table


def _prediction(z: Array, truth: float) -> tuple[str, float, bool]:
    """Return a prediction, its probability of the truth, and whether it is right."""
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
    """Return the weights as squares, orange if negative, blue if positive."""
    from rich.text import Text

    text = Text.assemble(
        ("██", _rgb(NEGATIVE, 1.0)), " below 0  ", ("██", _rgb(POSITIVE, 1.0)), " above"
    )
    linear = [x for x in run.network.layers if isinstance(x, Linear)]
    shown = linear if len(linear) < 3 else [linear[0], linear[-1]]
    for layer in shown:
        W = layer.W[:INPUTS, :UNITS]
        largest = max(float(np.abs(W).max()), 1e-12)
        n_in, n_out = layer.W.shape
        shown_of = (
            ""
            if W.shape == layer.W.shape
            else f", of which {W.shape[0]} → {W.shape[1]}"
        )
        text.append(f"\n{n_in} → {n_out}{shown_of}\n")
        for row in W:
            for w in row:
                colour = NEGATIVE if w < 0 else POSITIVE
                text.append("██", style=_rgb(colour, abs(float(w)) / largest))
            text.append("\n")
    text.rstrip()
    return text


def _rgb(colour: tuple[int, int, int], strength: float) -> str:
    """Return a colour with a strength from 0 (dark) to 1."""
    r, g, b = (round(28 + (c - 28) * strength) for c in colour)
    return f"rgb({r},{g},{b})"

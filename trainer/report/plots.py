"""The pictures of a report, each from plain numbers."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from models.features.table import TableInput
from models.nn.layers import Embeddings
from models.nn.network import Network
from trainer.report.drawing import (
    FAINT,
    INK,
    LINES,
    chosen,
    legend,
    picture,
)
from trainer.report.markup import plain
from trainer.report.record import Bin, Curve, Points
from trainer.training.history import LayerSnapshot, LayerStats

Floats = NDArray[np.float64]
#: From this ratio of the largest to the smallest on, powers of ten tell more.
WIDE = 30.0
#: With fewer rows than this a bin is a dot and no part of the line.
FEW = 10


def losses(history: Sequence[dict[str, list[float]]]) -> str:
    """Training and validation loss of every network, with the epochs that are kept."""
    best = [int(each["best_epoch"][0]) for each in history]
    first = history[0]
    kept_by = "validation_loss" if "validation_loss" in first else "loss"

    def draw(axes: Axes) -> None:
        for number, each in enumerate(history):
            look: dict[str, Any] = {
                "alpha": 1.0 if number == 0 else 0.3,
                "lw": 1.8 if number == 0 else 1,
            }
            for name, key, colour in (
                ("training", "loss", LINES[0]),
                ("validation", "validation_loss", LINES[1]),
            ):
                if key in each:
                    line = _finite(each[key])
                    label = name if number == 0 else None
                    axes.plot(_epochs(line), line, color=colour, label=label, **look)
            kept = _finite(each[kept_by])
            axes.plot(
                best[number],
                kept[best[number] - 1],
                "o",
                color=INK,
                ms=5,
                alpha=look["alpha"],
                label="kept" if number == 0 else None,
                zorder=5,
            )
        _scale(axes, [each["loss"] for each in history])
        _whole(axes)
        legend(axes)

    alt = (
        f"Loss over {len(first['loss'])} epochs: training from {first['loss'][0]:.3g} "
        f"to {first['loss'][-1]:.3g}, kept {first[kept_by][best[0] - 1]:.3g} in "
        f"epoch {best[0]}."
    )
    return picture(draw, alt, x="epoch", y="loss")


def rates(history: Sequence[dict[str, list[float]]]) -> str:
    """The learning rate at the end of each epoch."""
    rate = _finite(history[0]["learning_rate"])

    def draw(axes: Axes) -> None:
        axes.plot(_epochs(rate), rate, color=LINES[2])
        axes.set_ylim(bottom=0)
        _whole(axes)

    alt = (
        f"Learning rate from {rate[0]:.3g} to {rate[-1]:.3g}, at most {rate.max():.3g}."
    )
    return picture(draw, alt, x="epoch", y="learning rate")


def layers(
    looks: Sequence[LayerSnapshot],
    kind: str,
    value: Callable[[LayerStats], float | None],
    y: str,
    *,
    log: bool = False,
    share: bool = False,
) -> str:
    """One number of each layer of a kind over the epochs; empty where none has it."""
    names = [x.name for x in looks[0].layers if kind in x.name and value(x) is not None]
    if not names:
        return ""
    shown = chosen(names)
    epochs = [look.epoch for look in looks]
    lines = {
        name: _finite(
            [value(x) for look in looks for x in look.layers if x.name == name]
        )
        for name in shown
    }

    def draw(axes: Axes) -> None:
        for colour, (name, line) in zip(LINES, lines.items(), strict=False):
            number = name.split()[1]
            marker = "o" if len(epochs) == 1 else ""
            axes.plot(epochs, line, color=colour, label=number, marker=marker, ms=4)
        if log:
            _scale(axes, list(lines.values()))
        if share:
            axes.set_ylim(-0.03, 1.03)
            axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        _whole(axes)
        legend(axes, len(shown))

    ends = "; ".join(f"{name}: {line[-1]:.3g}" for name, line in lines.items())
    return picture(draw, f"{y} over the epochs, at the end {ends}.", x="epoch", y=y)


def roc(curves: Sequence[Curve]) -> str:
    """Share of positives found against the share of false alarms."""
    return _squares(curves, "ROC", "AUC", "false alarms", "found", diagonal=True)


def precision_recall(curves: Sequence[Curve]) -> str:
    """How many of those named are right, against how many are found."""
    return _squares(
        curves, "Precision and recall", "AP", "found (recall)", "right (precision)"
    )


def _squares(
    curves: Sequence[Curve],
    name: str,
    area: str,
    x: str,
    y: str,
    diagonal: bool = False,
) -> str:
    def draw(axes: Axes) -> None:
        if diagonal:
            axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (2, 3)))
        for colour, curve in zip(LINES, curves, strict=False):
            label = f"{plain(curve.name, 18)}  {curve.area:.3f}"
            axes.plot(curve.x, curve.y, color=colour, label=label)
        _shares(axes)
        axes.legend(loc="lower right" if diagonal else "lower left", title=f"{area} of")

    areas = ", ".join(f"{c.name} {c.area:.3f}" for c in curves)
    return picture(draw, f"{name} curves; {area}: {areas}.", x=x, y=y, height=260)


def reliability(bins: Sequence[Bin]) -> str:
    """How often answers are right, against how sure they are."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (2, 3)))
        x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
        rows = np.array([b.rows for b in bins], float)
        many = [b for b in bins if b.rows >= FEW]  # of a few rows it would be chance
        line = [b.confidence for b in many], [b.accuracy for b in many]
        axes.plot(*line, color=LINES[0], lw=1.2)
        axes.scatter(x, y, s=14 + 170 * rows / rows.sum(), color=LINES[0], zorder=4)
        _shares(axes)
        low = max(0.0, min(x) - 0.06)
        axes.set_xlim(low, 1.02)

    off = max(bins, key=lambda b: abs(b.confidence - b.accuracy) * b.rows)
    alt = (
        f"Reliability: answers of confidence {off.confidence:.0%}, the bin that is off "
        f"most, are right in {off.accuracy:.0%} of {off.rows} rows."
    )
    return picture(
        draw, alt, x="how sure the answer is", y="how often it is right", height=260
    )


def against_truth(points: Points) -> str:
    """Answers against true values."""
    truth, answer = np.array(points.truth), np.array(points.answer)
    low, high = min(truth.min(), answer.min()), max(truth.max(), answer.max())

    def draw(axes: Axes) -> None:
        axes.plot([low, high], [low, high], color=FAINT, lw=1, ls=(0, (2, 3)))
        axes.scatter(truth, answer, s=9, color=LINES[0], alpha=0.45, lw=0)
        _numbers(axes)

    r = float(np.corrcoef(truth, answer)[0, 1]) if answer.std() * truth.std() else 0.0
    alt = f"Answers against true values of {len(truth)} rows, correlation {r:.3f}."
    return picture(draw, alt, x="true value", y="answer", height=260)


def residuals(points: Points) -> str:
    """How far answers are off, and how often."""
    error = np.array(points.answer) - np.array(points.truth)

    def draw(axes: Axes) -> None:
        axes.hist(error, bins=31, color=LINES[0], alpha=0.85)
        axes.axvline(0, color=INK, lw=1)
        _numbers(axes)

    q10, q50, q90 = np.quantile(error, [0.1, 0.5, 0.9])
    alt = (
        f"Histogram of answer minus truth: eight in ten lie between {q10:.3g} and "
        f"{q90:.3g}, half below {q50:.3g}."
    )
    return picture(draw, alt, x="answer − true value", y="rows", height=260)


def embedding(
    network: Network, inputs: TableInput, name: str, typical: dict[str, object]
) -> str:
    """What the first layer makes of one number; empty where that has no curves."""
    front = network.layers[0]
    limits = inputs.by_name[name].value_range
    if not isinstance(front, Embeddings) or limits is None:
        return ""
    low, high = limits
    place = inputs.feature_names().index(name)
    if place >= front.spec.numbers:
        return ""
    x = np.linspace(low, high, 160)
    rows = {
        other: x
        if other == name
        else np.repeat(value, len(x))
        if isinstance(value, np.ndarray)
        else list(value) * len(x)  # type: ignore[call-overload]
        for other, value in typical.items()
    }
    W = front.spec.number_width
    Y = front.predict(inputs.encode(rows))[:, place * W : (place + 1) * W]

    def draw(axes: Axes) -> None:
        axes.plot(x, Y[:, 0], color=FAINT, lw=1, ls=(0, (2, 3)))
        for colour, wave in zip(LINES, Y[:, 1:].T, strict=False):
            axes.plot(x, wave, color=colour, lw=1.4)
        axes.set_ylim(*np.quantile(Y[:, 1:], [0, 1]) + np.array([-0.2, 0.2]))
        _numbers(axes)

    alt = f"Learned curves of column {name} from {low:.4g} to {high:.4g}."
    return picture(draw, alt, x=plain(name, 40), height=170)


def saliency(values: Sequence[Sequence[float]]) -> str:
    """Which pixels count, as squares of one colour, the stronger the more."""
    grid = np.array(values)
    rows, columns = grid.shape
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" opacity="{grid[y, x]:.2f}"/>'
        for y in range(rows)
        for x in range(columns)
        if grid[y, x] >= 0.02
    )
    y, x = np.unravel_index(grid.argmax(), grid.shape)
    alt = f"Which of {rows} by {columns} pixels count; most of all row {y}, column {x}."
    return (
        f'<svg class="pixels" viewBox="0 0 {columns} {rows}" role="img" '
        f'aria-label="{alt}"><g style="fill: var(--line1)">{squares}</g></svg>'
    )


def image(values: object, alt: str) -> str:
    """A picture as it was given, dark on light or light on dark as the page is."""
    grid = np.asarray(values, float)
    if grid.ndim == 3:
        grid = grid.mean(axis=int(np.argmin(grid.shape)))
    spread = float(np.ptp(grid)) or 1.0
    grid = (grid - grid.min()) / spread
    rows, columns = grid.shape
    squares = "".join(
        f'<path d="M{x} {y}h1v1h-1z" opacity="{grid[y, x]:.1f}"/>'
        for y in range(rows)
        for x in range(columns)
        if grid[y, x] >= 0.1
    )
    return (
        f'<svg class="pixels" viewBox="0 0 {columns} {rows}" role="img" '
        f'aria-label="{html.escape(alt)}"><g fill="currentColor">{squares}</g></svg>'
    )


def _finite(values: object) -> Floats:
    """Return numbers that can be drawn: what is none of them leaves a gap."""
    found = np.array(values, float)
    found[~np.isfinite(found) | (np.abs(found) > 1e30)] = np.nan
    return found


def _epochs(line: Floats) -> NDArray[np.intp]:
    return np.arange(1, len(line) + 1)


def _whole(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="x", visible=False)


def _scale(axes: Axes, lines: Sequence[Sequence[float] | Floats]) -> None:
    """Take powers of ten where the values are far apart."""
    values = _finite(np.concatenate([np.asarray(line, float) for line in lines]))
    positive = values[values > 0]
    every = len(positive) and len(positive) == np.isfinite(values).sum()
    if every and positive.max() > WIDE * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:.4g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        return


def _shares(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda v, _: f"{v:.0%}")
        axis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.03)


def _numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda v, _: _short(v))


def _short(value: float) -> str:
    """Return a number in few letters: 12.5k, 3M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"

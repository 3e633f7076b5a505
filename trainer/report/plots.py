"""The plots of a report, each an SVG element drawn from plain numbers."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from models.features.predictions import label_text
from trainer.report.drawing import (
    FAINT,
    HEIGHT,
    INK,
    LINES,
    legend,
    picture,
)
from trainer.report.markup import plain
from trainer.report.record import Bin, Curve, Dependence, Points, evenly_spaced
from trainer.training.history import LayerSnapshot, LayerStats

Floats = NDArray[np.float64]
#: Use a logarithmic axis if the largest value exceeds the smallest by this factor.
LOG_RATIO = 30.0
#: Draw smaller bins as dots only: their accuracy is mostly chance.
MIN_BIN_ROWS = 10


def losses(history: Sequence[dict[str, list[float]]]) -> str:
    """Draw training and validation loss of all networks, with their best epochs."""
    best = [int(member["best_epoch"][0]) for member in history]
    first = history[0]
    selected_by = "validation_loss" if "validation_loss" in first else "loss"

    def draw(axes: Axes) -> None:
        for number, member in enumerate(history):
            style: dict[str, Any] = {
                "alpha": 1.0 if number == 0 else 0.3,
                "lw": 1.8 if number == 0 else 1,
            }
            for name, key, colour in (
                ("training", "loss", LINES[0]),
                ("validation", "validation_loss", LINES[1]),
            ):
                if key in member:
                    line = _finite(member[key])
                    label = name if number == 0 else None
                    axes.plot(_epochs(line), line, color=colour, label=label, **style)
            selected = _finite(member[selected_by])
            axes.plot(
                best[number],
                selected[best[number] - 1],
                "o",
                color=INK,
                ms=5,
                alpha=style["alpha"],
                label="best" if number == 0 else None,
                zorder=5,
            )
        _scale(axes, [member["loss"] for member in history])
        _integer_x(axes)
        legend(axes)

    alt = (
        f"Loss over {len(first['loss'])} epochs: training from {first['loss'][0]:.3g} "
        f"to {first['loss'][-1]:.3g}, best {first[selected_by][best[0] - 1]:.3g} in "
        f"epoch {best[0]}."
    )
    return picture(draw, alt, x="epoch", y="loss")


def rates(history: Sequence[dict[str, list[float]]]) -> str:
    """Draw the learning rate at the end of each epoch."""
    rate = _finite(history[0]["learning_rate"])

    def draw(axes: Axes) -> None:
        axes.plot(_epochs(rate), rate, color=LINES[2])
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:.3g}")
        _integer_x(axes)

    alt = (
        f"Learning rate from {rate[0]:.3g} to {rate[-1]:.3g}, at most {rate.max():.3g}."
    )
    return picture(draw, alt, x="epoch", y="learning rate")


def layers(
    snapshots: Sequence[LayerSnapshot],
    titles: Sequence[str],
    kind: str,
    value: Callable[[LayerStats], float | None],
    y: str,
    *,
    log: bool = False,
    share: bool = False,
) -> str:
    """Draw a statistic of all layers of a kind; return "" if no layer has it."""
    places = [
        place
        for place, layer in enumerate(snapshots[0].layers)
        if kind in layer.name and value(layer) is not None
    ]
    if not places:
        return ""
    epochs = [snapshot.epoch for snapshot in snapshots]
    lines = {
        titles[place].partition(" (")[0]: _finite(
            [value(snapshot.layers[place]) for snapshot in snapshots]
        )
        for place in np.array(places)[evenly_spaced(len(places), len(LINES))]
    }

    def draw(axes: Axes) -> None:
        for colour, (name, line) in zip(LINES, lines.items(), strict=False):
            marker = "o" if len(epochs) == 1 else ""
            axes.plot(epochs, line, color=colour, label=name, marker=marker, ms=4)
        if log:
            _scale(axes, list(lines.values()))
        if share:
            axes.set_ylim(-0.03, 1.03)
            axes.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        _integer_x(axes)
        legend(axes)

    ends = "; ".join(f"{name}: {line[-1]:.3g}" for name, line in lines.items())
    alt = f"{y} over the epochs; in the last epoch {ends}."
    return picture(draw, alt, x="epoch", y=y, legend_rows=-(-len(lines) // 3))


def roc(curves: Sequence[Curve]) -> str:
    """Draw true positive rate against false positive rate."""
    return _class_curves(
        *(curves, "ROC", "AUC", "false positive rate", "true positive rate"),
        diagonal=True,
    )


def precision_recall(curves: Sequence[Curve]) -> str:
    """Draw precision against recall."""
    return _class_curves(curves, "Precision and recall", "AP", "recall", "precision")


def _class_curves(
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
    """Draw the accuracy of predictions against their confidence."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=(0, (2, 3)))
        x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
        rows = np.array([b.rows for b in bins], float)
        large = [b for b in bins if b.rows >= MIN_BIN_ROWS]
        line = [b.confidence for b in large], [b.accuracy for b in large]
        axes.plot(*line, color=LINES[0], lw=1.2)
        axes.scatter(x, y, s=14 + 170 * rows / rows.sum(), color=LINES[0], zorder=4)
        _shares(axes)
        low = max(0.0, min(x) - 0.06)
        axes.set_xlim(low, 1.02)

    worst = max(bins, key=lambda b: abs(b.confidence - b.accuracy) * b.rows)
    alt = (
        f"Reliability: in the worst bin, confidence {worst.confidence:.0%}, "
        f"{worst.accuracy:.0%} of {worst.rows} predictions are right."
    )
    return picture(draw, alt, x="confidence", y="accuracy", height=260)


def predicted_against_true(points: Points) -> str:
    """Draw predicted against true values."""
    truth, predicted = np.array(points.truth), np.array(points.answer)
    both = np.concatenate([truth, predicted])
    low, high = both.min(), both.max()

    def draw(axes: Axes) -> None:
        axes.plot([low, high], [low, high], color=FAINT, lw=1, ls=(0, (2, 3)))
        axes.scatter(truth, predicted, s=9, color=LINES[0], alpha=0.45, lw=0)
        _numbers(axes)

    varies = predicted.std() * truth.std() > 0
    r = float(np.corrcoef(truth, predicted)[0, 1]) if varies else 0.0
    alt = f"Predicted against true values of {len(truth)} rows, correlation {r:.3f}."
    return picture(draw, alt, x="true value", y="predicted value", height=260)


def residuals(points: Points) -> str:
    """Draw a histogram of the errors."""
    error = np.array(points.answer) - np.array(points.truth)

    def draw(axes: Axes) -> None:
        axes.hist(error, bins=31, color=LINES[0], alpha=0.85)
        axes.axvline(0, color=INK, lw=1)
        _numbers(axes)

    q10, q50, q90 = np.quantile(error, [0.1, 0.5, 0.9])
    alt = (
        f"Histogram of predicted minus true value: 80% lie between {q10:.3g} and "
        f"{q90:.3g}, the median is {q50:.3g}."
    )
    return picture(draw, alt, x="predicted − true value", y="rows", height=260)


def dependence(found: Dependence, limits: tuple[float, float], share: bool) -> str:
    """Draw the mean prediction by the value of a column, between shared limits."""
    numeric = not any(isinstance(value, str) for value in found.values)
    x = found.values if found.ordered and numeric else range(len(found.values))
    names = [plain(label_text(value), 24) for value in found.values]

    def draw(axes: Axes) -> None:
        for colour, (name, line) in zip(LINES, found.lines.items(), strict=False):
            style: dict[str, Any] = {"color": colour, "label": plain(name, 14)}
            if found.ordered:
                axes.plot(x, line, **style)
            else:
                axes.plot(line, x, "o", **style)
        _numbers(axes)
        values, places = (
            (axes.yaxis, axes.xaxis) if found.ordered else (axes.xaxis, axes.yaxis)
        )
        if share:
            values.set_major_formatter(lambda v, _: f"{v:.0%}")
        if not found.ordered:
            axes.set_xlim(*limits)
            axes.set_ylim(len(names) - 0.5, -0.7)
            places.set_ticks(x, [""] * len(names))
            for row, name in enumerate(names):  # above its line, where there is room
                axes.text(limits[0], row - 0.2, name, color=INK, va="bottom")
        else:
            axes.set_ylim(*limits)
            if not numeric:
                ends = [0, len(names) // 2, len(names) - 1]
                places.set_ticks(ends, [names[end][:10] for end in ends])
        if len(found.lines) > 1:
            legend(axes)

    first = next(iter(found.lines.values()))
    low, high = (f"{v:.0%}" if share else f"{v:.4g}" for v in (min(first), max(first)))
    alt = f"Mean prediction by {found.column}, from {low} to {high}."
    height = HEIGHT if found.ordered else 64 + 30 * len(names)
    rows = -(-len(found.lines) // 3)
    return picture(draw, alt, height=height, legend_rows=rows)


def lift(curve: Curve) -> str:
    """Draw the lift of the rows with the highest scores by their share."""

    def draw(axes: Axes) -> None:
        axes.axhline(1, color=FAINT, lw=1, ls=(0, (2, 3)))
        axes.plot(curve.x, curve.y, color=LINES[0])
        _numbers(axes)
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(0, 1.08 * max(curve.y))

    alt = f"Lift: the highest tenth of the rows has {curve.area:.2g} times its share."
    return picture(draw, alt, x="share of the rows", y="lift", height=260)


def saliency(values: Sequence[Sequence[float]]) -> str:
    """Draw the importance of pixels (H, W) as the opacity of squares."""
    grid = np.array(values)
    rows, columns = grid.shape
    y, x = np.unravel_index(grid.argmax(), grid.shape)
    alt = (
        f"Importance of {rows} by {columns} pixels; the most important is in row {y}, "
        f"column {x}."
    )
    return _pixels(grid, alt, "var(--line1)", 0.02)


def image(values: object, alt: str) -> str:
    """Draw an image (H, W), or (C, H, W) or (H, W, C) averaged over its channels."""
    grid = np.asarray(values, float)
    if grid.ndim == 3:
        grid = grid.mean(axis=int(np.argmin(grid.shape)))
    spread = float(np.ptp(grid)) or 1.0
    return _pixels((grid - grid.min()) / spread, alt, "currentColor", 0.1)


def _pixels(grid: Floats, alt: str, colour: str, threshold: float) -> str:
    """Draw values of 0 to 1 (H, W) as the opacity of squares; skip those below."""
    rows, columns = grid.shape
    squares = "".join(
        f'<path d="M{x} {y}h1v1h-1z" opacity="{grid[y, x]:.2f}"/>'
        for y, x in zip(*np.nonzero(grid >= threshold), strict=True)
    )
    return (
        f'<svg class="pixels" viewBox="0 0 {columns} {rows}" role="img" '
        f'aria-label="{html.escape(alt)}"><g style="fill: {colour}">{squares}</g></svg>'
    )


def _finite(values: object) -> Floats:
    """Return values (n,) with NaN, a gap in the line, for all that cannot be drawn."""
    line = np.array(values, float)
    line[~np.isfinite(line) | (np.abs(line) > 1e30)] = np.nan
    return line


def _epochs(line: Floats) -> NDArray[np.intp]:
    return np.arange(1, len(line) + 1)


def _integer_x(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="x", visible=False)


def _scale(axes: Axes, lines: Sequence[Sequence[float] | Floats]) -> None:
    """Use a logarithmic axis if the values are positive and far apart."""
    values = _finite(np.concatenate([np.asarray(line, float) for line in lines]))
    positive = values[values > 0]
    all_positive = len(positive) and len(positive) == np.isfinite(values).sum()
    if all_positive and positive.max() > LOG_RATIO * positive.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:.4g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


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
    """Return a number as short text: 12.5k, 3M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 10 * size or (size > 1e3 and abs(value) >= size):
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"

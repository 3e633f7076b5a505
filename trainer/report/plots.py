"""The plots of a report, each an SVG element drawn from plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from models.features.predictions import label_text
from trainer.data.dataset import evenly_spaced
from trainer.report import charts
from trainer.report.charts import (
    INK,
    LINES,
    Axis,
    Floats,
    Series,
    chart,
    percent,
    short,
)
from trainer.report.record import Bin, Curve, Dependence, Points
from trainer.report.rendering import plain, render
from trainer.training.history import LayerSnapshot

#: Use a logarithmic axis if the largest value exceeds the smallest by this factor.
LOG_RATIO = 30.0
#: Draw smaller bins as dots only: their accuracy is mostly chance.
MIN_BIN_ROWS = 10
#: Plots of curves and points are higher than lines over the epochs.
HIGH = 260
SHARES = (-0.02, 1.03)
EPOCHS = Axis("epoch", whole=True)


def losses(history: Sequence[dict[str, list[float]]]) -> Markup:
    """Draw training and validation loss of all networks, with their best epochs."""
    best = [int(member["best_epoch"][0]) for member in history]
    first = history[0]
    selected_by = "validation_loss" if "validation_loss" in first else "loss"
    lines, dots = [], []
    for number, member in enumerate(history):
        width, opacity = (1.8, 1.0) if number == 0 else (1.0, 0.3)
        for name, key, colour in (
            ("training", "loss", LINES[0]),
            ("validation", "validation_loss", LINES[1]),
        ):
            if key in member:
                label = name if number == 0 else ""
                epochs = range(1, len(member[key]) + 1)
                line = charts.line(epochs, member[key], colour, label, width, opacity)
                lines.append(line)
        value = member[selected_by][best[number] - 1]
        label = "best" if number == 0 else ""
        dots.append(charts.dots([best[number]], [value], 5, INK, label, opacity))
    alt = (
        f"Loss over {len(first['loss'])} epochs: training from {first['loss'][0]:.3g} "
        f"to {first['loss'][-1]:.3g}, best {first[selected_by][best[0] - 1]:.3g} in "
        f"epoch {best[0]}."
    )
    log = _far_apart(lines)
    return chart([*lines, *dots], alt, EPOCHS, Axis("loss", log=log))


def rates(history: Sequence[dict[str, list[float]]]) -> Markup:
    """Draw the learning rate at the end of each epoch."""
    rate = history[0]["learning_rate"]
    highest = max(rate)
    alt = f"Learning rate from {rate[0]:.3g} to {rate[-1]:.3g}, at most {highest:.3g}."
    y = Axis("learning rate", (0.0, 1.05 * highest or 1.0))
    return chart([charts.line(range(1, len(rate) + 1), rate, LINES[2])], alt, EPOCHS, y)


def layers(
    snapshots: Sequence[LayerSnapshot], names: Sequence[str], statistic: str
) -> Markup:
    """Draw a statistic of all layers; return "" if no layer has it.

    Mean, spread and what comes of them are those of activations, others those of
    linear layers.
    """
    kind = "(linear)" if statistic in ("gradient", "moved") else "(activation)"
    values = np.array(
        [[getattr(x, statistic) for x in snapshot.layers] for snapshot in snapshots],
        float,
    )
    places = [
        place
        for place, layer in enumerate(snapshots[0].layers)
        if kind in layer.name and not np.isnan(values[0, place])
    ]
    if not places:
        return Markup()
    shown = np.array(places)[evenly_spaced(len(places), len(LINES))]
    epochs = [snapshot.epoch for snapshot in snapshots]
    lines = [
        charts.line(epochs, values[:, place], colour, names[place].partition(" (")[0])
        for colour, place in zip(LINES, shown, strict=False)
    ]
    y = "update" if statistic == "moved" else statistic
    ends = "; ".join(f"{line.label}: {line.y[-1]:.3g}" for line in lines)
    if statistic in ("dead", "saturated"):
        axis = Axis(y, SHARES, percent)
    else:
        axis = Axis(y, log=kind == "(linear)" and _far_apart(lines))
    return chart(lines, f"{y} over the epochs; in the last epoch {ends}.", EPOCHS, axis)


def roc(curves: Sequence[Curve]) -> Markup:
    """Draw true positive rate against false positive rate."""
    diagonal = charts.dotted([0, 1], [0, 1])
    x, y = "false positive rate", "true positive rate"
    return _class_curves(curves, "ROC", "AUC", x, y, diagonal)


def precision_recall(curves: Sequence[Curve]) -> Markup:
    """Draw precision against recall."""
    names = "Precision and recall", "AP", "recall", "precision"
    return _class_curves(curves, *names)


def _class_curves(
    curves: Sequence[Curve], name: str, area: str, x: str, y: str, *others: Series
) -> Markup:
    lines = [
        charts.line(c.x, c.y, colour, f"{plain(c.name, 12)} {area} {c.area:.3f}")
        for colour, c in zip(LINES, curves, strict=False)
    ]
    areas = ", ".join(f"{c.name} {c.area:.3f}" for c in curves)
    return chart(
        [*others, *lines],
        f"{name} curves; {area}: {areas}.",
        Axis(x, SHARES, percent),
        Axis(y, SHARES, percent),
        height=HIGH,
        columns=2,
    )


def reliability(bins: Sequence[Bin]) -> Markup:
    """Draw the accuracy of predictions against their confidence."""
    total = sum(b.rows for b in bins)
    large = [b for b in bins if b.rows >= MIN_BIN_ROWS]
    worst = max(bins, key=lambda b: abs(b.confidence - b.accuracy) * b.rows)
    alt = (
        f"Reliability: in the worst bin, confidence {worst.confidence:.0%}, "
        f"{worst.accuracy:.0%} of {worst.rows} predictions are right."
    )
    low = max(0.0, min(b.confidence for b in bins) - 0.06)
    return chart(
        [
            charts.dotted([low, 1], [low, 1]),
            charts.line([b.confidence for b in large], [b.accuracy for b in large]),
            *(
                charts.dots(
                    [b.confidence], [b.accuracy], (14 + 170 * b.rows / total) ** 0.5
                )
                for b in bins
            ),
        ],
        alt,
        Axis("confidence", (low, 1.02), percent),
        Axis("accuracy", SHARES, percent),
        height=HIGH,
    )


def predicted_against_true(points: Points) -> Markup:
    """Draw predicted against true values."""
    truth, predicted = np.array(points.truth), np.array(points.answer)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    varies = predicted.std() * truth.std() > 0
    r = float(np.corrcoef(truth, predicted)[0, 1]) if varies else 0.0
    alt = f"Predicted against true values of {len(truth)} rows, correlation {r:.3f}."
    series = [charts.dotted(ends, ends), charts.dots(truth, predicted, 3, opacity=0.45)]
    return chart(series, alt, Axis("true value"), Axis("predicted value"), height=HIGH)


def residuals(points: Points) -> Markup:
    """Draw a histogram of the errors."""
    error = np.array(points.answer) - np.array(points.truth)
    rows, edges = np.histogram(error, bins=31)
    top = 1.05 * rows.max()
    q10, q50, q90 = np.quantile(error, [0.1, 0.5, 0.9])
    alt = (
        f"Histogram of predicted minus true value: 80% lie between {q10:.3g} and "
        f"{q90:.3g}, the median is {q50:.3g}."
    )
    zero = charts.line([0, 0], [0, top], INK, width=1)
    series = [charts.bars(edges, rows), zero]
    x, y = Axis("predicted − true value"), Axis("rows", (0, top))
    return chart(series, alt, x, y, height=HIGH)


def dependence(found: Dependence, limits: tuple[float, float], share: bool) -> Markup:
    """Draw the mean prediction by the value of a column, between shared limits."""
    names = [plain(label_text(value), 24) for value in found.values]
    first = next(iter(found.lines.values()))
    low, high = (f"{v:.0%}" if share else f"{v:.4g}" for v in (min(first), max(first)))
    alt = f"Mean prediction by {found.column}, from {low} to {high}."
    lines = [
        (plain(name, 14) if len(found.lines) > 1 else "", line, colour)
        for colour, (name, line) in zip(LINES, found.lines.items(), strict=False)
    ]
    predicted = Axis(limits=limits, text=percent if share else short)
    places: Sequence[float] = range(len(names))
    if not found.ordered:
        limits, ticks = (len(names) - 0.5, -0.7), list(enumerate(names))
        within = Axis(limits=limits, ticks=ticks, inside=True)
        dots = [
            charts.dots(line, places, 6, colour, name) for name, line, colour in lines
        ]
        height = 64 + 30 * len(names)
        return chart(dots, alt, predicted, within, height=height)
    if any(isinstance(value, str) for value in found.values):
        ends = [0, len(names) // 2, len(names) - 1]
        x = Axis(ticks=[(end, names[end][:10]) for end in ends])
    else:
        places, x = found.values, Axis()
    drawn = [charts.line(places, line, colour, name) for name, line, colour in lines]
    return chart(drawn, alt, x, predicted)


def lift(curve: Curve) -> Markup:
    """Draw the lift of the rows with the highest scores by their share."""
    alt = f"Lift: the highest tenth of the rows has {curve.area:.2g} times its share."
    series = [charts.dotted([0, 1], [1, 1]), charts.line(curve.x, curve.y)]
    x = Axis("share of the rows", SHARES, percent)
    y = Axis("lift", (0.0, 1.08 * max(curve.y)))
    return chart(series, alt, x, y, height=HIGH)


def saliency(values: Sequence[Sequence[float]]) -> Markup:
    """Draw the importance of pixels (H, W) as the opacity of squares."""
    grid = np.array(values)
    rows, columns = grid.shape
    y, x = np.unravel_index(grid.argmax(), grid.shape)
    alt = (
        f"Importance of {rows} by {columns} pixels; the most important is in row {y}, "
        f"column {x}."
    )
    return _pixels(grid, alt, "var(--line1)", 0.02)


def image(values: object, alt: str) -> Markup:
    """Draw an image (H, W), or (C, H, W) or (H, W, C) averaged over its channels."""
    grid = np.asarray(values, float)
    if grid.ndim == 3:
        grid = grid.mean(axis=int(np.argmin(grid.shape)))
    spread = float(np.ptp(grid)) or 1.0
    return _pixels((grid - grid.min()) / spread, alt, "currentColor", 0.1)


def _pixels(grid: Floats, alt: str, colour: str, threshold: float) -> Markup:
    """Draw values of 0 to 1 (H, W) as the opacity of squares; skip those below."""
    squares = [
        (x, y, f"{grid[y, x]:.2f}")
        for y, x in zip(*np.nonzero(grid >= threshold), strict=True)
    ]
    values = {"shape": grid.shape, "alt": alt, "colour": colour, "squares": squares}
    return render("pixels.svg", **values)


def _far_apart(lines: Sequence[Series]) -> bool:
    """Return whether all values are positive and far apart, for a logarithmic axis."""
    values = np.concatenate([line.y for line in lines])
    values = values[np.isfinite(values)]
    positive = bool(len(values)) and values.min() > 0
    return positive and bool(values.max() > LOG_RATIO * values.min())

"""The figures of docs/how-it-works.md, each drawn from a run of the code it shows.

`make docs` draws them. Processors round differently, so the check asks whether two
figures look alike and not whether they are equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import numpy as np
from markupsafe import Markup

from models.nn.architectures import mlp
from models.nn.layers import Linear
from models.nn.layers.activations import Function
from models.nn.network import Network, NetworkSpec
from trainer.config.schema import ResolvedTrainConfig
from trainer.data import read
from trainer.optimization.optimizers import GradientDescent, Momentum, Optimizer
from trainer.report import charts
from trainer.report.charts import GRID, INK, LINES, Axis, chart
from trainer.training.loop import TrainingRun, train
from trainer.training.losses import binary_cross_entropy, softmax_cross_entropy
from trainer.types import Rows

WIDE = 640
#: Figures look alike if no coordinate differs by more pixels.
ALIKE = 1.0
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def figures() -> Iterator[tuple[str, str]]:
    """Yield the file name and the SVG of every figure."""
    yield "xor.svg", standalone(xor())
    yield "vanishing.svg", standalone(vanishing())
    yield "ravine.svg", standalone(ravine())
    yield "batch-norm.svg", standalone(batch_norm())
    yield "dropout.svg", standalone(dropout())


def standalone(svg: str) -> str:
    """Return a picture as an SVG file that contains the colours of the report."""
    style = files("trainer.report").joinpath("templates/style.css").read_text("utf-8")
    light, dark = re.findall(r":root \{([^}]*)\}", style)
    css = (
        f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        "svg{color:var(--ink);background:var(--paper);font-family:system-ui,sans-serif}"
    )
    css = re.sub(r"\s+", " ", css)
    head, _, body = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{css}</style>{body}\n'


def alike(one: str, other: str) -> bool:
    """Return whether two figures look the same."""
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(a == b or abs(float(a) - float(b)) <= ALIKE for a, b in pairs)


def xor() -> str:
    """Four moments of a textbook network that learns XOR."""
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
    T = np.array([0, 1, 1, 0])
    network = Network(mlp([2, 4, 1], "tanh"), np.float64)
    network.initialize(np.random.default_rng(42))
    rule = descent(GradientDescent, network.parameters.size)
    snapshots: dict[int, Any] = dict.fromkeys((0, 50, 150, 5000))
    axis = np.linspace(-0.3, 1.3, 65)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for epoch in range(5001):
        if epoch in snapshots:
            P = 1 / (1 + np.exp(-network.predict(grid)))
            snapshots[epoch] = P.reshape(65, 65)
        _, dZ = binary_cross_entropy(network.forward(X, training=True), T, None)
        network.backward(dZ)
        rule.step(network.parameters, network.gradients, 0.5)

    alt = (
        "The answer to XOR over the plane of its two inputs, before training and after "
        "50, 150 and 5,000 epochs: from a tilted plane to a band that holds the two "
        "ones and leaves out the two zeros."
    )
    panels = "".join(
        f'<g transform="translate({WIDE / 4 * column:.0f} 22)">'
        f'<text x="75" y="-8" text-anchor="middle">epoch {epoch:,}</text>'
        f"{surface(P)}{corners(X, T)}</g>"
        for column, (epoch, P) in enumerate(snapshots.items())
        if P is not None
    )
    return Markup(
        f'<svg viewBox="0 0 {WIDE} 174" role="img" aria-label="{alt}" font-size="10" '
        f'fill="currentColor">{panels}</svg>'
    )


def surface(P: Any) -> str:
    """Colour the cells of probabilities P (n, n): the surer, the stronger."""
    size = 150 / len(P)
    paths = ""
    for colour, likely in ((LINES[0], P), (LINES[1], 1 - P)):
        for low, strength in ((0.5, 0.18), (0.7, 0.27), (0.9, 0.43)):
            inside = np.pad(likely > low, ((0, 0), (1, 1))).astype(int)
            edges = [np.flatnonzero(np.diff(row)).reshape(-1, 2) for row in inside]
            path = "".join(
                f"M{left} {y}H{right}v-1H{left}z"
                for y, row in zip(range(len(P), 0, -1), edges, strict=True)
                for left, right in row
            )
            paths += f'<path d="{path}" fill-opacity="{strength}" fill="{colour}"/>'
    return f'<g transform="scale({size:.4f})" shape-rendering="crispEdges">{paths}</g>'


def corners(X: Any, T: Any) -> str:
    """Draw the four rows of XOR, each in the colour of its answer."""
    return "".join(
        f'<circle cx="{150 * (x + 0.3) / 1.6:.0f}" cy="{150 * (1.3 - y) / 1.6:.0f}" '
        f'r="4" style="fill:{LINES[0] if t else LINES[1]}" stroke="currentColor"/>'
        for (x, y), t in zip(X, T, strict=True)
    )


def vanishing() -> str:
    """The size of the gradient at each of ten layers, before any training."""
    functions: tuple[Function, ...] = ("sigmoid", "tanh", "relu")
    lengths = {name: gradients(name) for name in functions}

    series = [
        shown
        for colour, (name, values) in zip(LINES[1:], lengths.items(), strict=False)
        for shown in (
            charts.line(range(1, 11), values, colour, name),
            charts.dots(range(1, 11), values, 5, colour),
        )
    ]
    alt = (
        "Size of the gradient at each of ten layers: with ReLU and tanh about the same "
        "at all of them; with sigmoid the first layer gets a millionth of the last "
        "one's."
    )
    x = Axis("layer, from the front", whole=True, ticks=numbered(10))
    return chart(series, alt, x, Axis("gradient", log=True), width=WIDE)


def numbered(n: int) -> list[tuple[float, str]]:
    """Return the ticks of n layers."""
    return [(number, f"{number}") for number in range(1, n + 1)]


def gradients(activation: Function) -> list[float]:
    """Return the root mean square of the gradient of each layer's weights."""
    rng = np.random.default_rng(42)
    network = Network(mlp([32] * 11 + [1], activation), np.float64)
    network.initialize(rng)
    X, T = rng.standard_normal((256, 32)), rng.integers(0, 2, 256)
    _, dZ = binary_cross_entropy(network.forward(X, training=True), T, None)
    network.backward(dZ)
    layers = [x for x in network.layers if isinstance(x, Linear)][:10]
    return [float(np.sqrt((x.dW**2).mean())) for x in layers]


def ravine() -> str:
    """Forty steps of two rules down the same ravine."""
    steep = np.array([1.0, 24.0])

    def path(kind: type[Optimizer], rate: float) -> Any:
        p, rule = np.array([-9.0, 1.4]), descent(kind, 2)
        points = [p.copy()]
        for _ in range(40):
            rule.step(p, steep * p, rate)
            points.append(p.copy())
        return np.array(points).T

    paths = {
        "plain descent": path(GradientDescent, 0.075),
        "momentum": path(Momentum, 0.02),
    }

    turn = np.linspace(0, 2 * np.pi, 121)
    levels = [
        charts.line(x, np.where(x < 4, np.sin(turn) * size / 24**0.5, np.nan), GRID)
        for size in np.sqrt([1, 6, 20, 50, 96])
        for x in [np.cos(turn) * size]
    ]
    series = [
        shown
        for colour, (name, steps) in zip(LINES[1::-1], paths.items(), strict=True)
        for shown in (
            charts.line(*steps, colour, name, width=1.2),
            charts.dots(*steps, 3.5, colour),
        )
    ]
    least = charts.dots([0], [0], 6, INK)
    alt = (
        "Two ways down a long ravine in forty steps: plain descent jumps from wall to "
        "wall and creeps along, momentum gathers speed, overshoots once and arrives."
    )
    x, y = Axis(limits=(-10.3, 4), ticks=()), Axis(limits=(-2.1, 2.1), ticks=())
    return chart([*levels, *series, least], alt, x, y, width=WIDE)


def batch_norm() -> str:
    """The training loss of a deep network, with and without batch normalisation."""
    rows, _ = digits(1000)
    deep = mlp_of([32] * 6, "sigmoid")
    normed = mlp_of([32] * 6, "sigmoid", batch_norm=True)
    runs = {
        name: learn(rows, None, spec, 12).history.loss
        for name, spec in (("plain", deep), ("batch norm", normed))
    }
    alt = (
        "Training loss of six hidden layers of sigmoids over twelve epochs of plain "
        "descent: with batch normalisation it falls, without it stays where it was."
    )
    return curves(runs, alt, "training loss")


def dropout() -> str:
    """The validation loss of a wide network on few rows, with and without dropout."""
    rows, others = digits(300)
    rows.T[::5] = np.random.default_rng(0).integers(0, 10, 60)  # wrong labels
    runs = {
        name: learn(rows, others, mlp_of([128], dropout=rate), 50).history
        for name, rate in (("plain", 0.0), ("dropout", 0.5))
    }
    losses = {name: history.validation_loss for name, history in runs.items()}
    alt = (
        "Validation loss over fifty epochs of 300 digits, a fifth of them with a wrong "
        "label: without dropout it rises again when the wrong ones are learnt by heart."
    )
    return curves(losses, alt, "validation loss")


def curves(runs: dict[str, list[float]], alt: str, y: str) -> str:
    """Return losses over epochs, one line per run."""
    lines = [
        charts.line(range(1, len(loss) + 1), loss, colour, name)
        for colour, (name, loss) in zip(LINES[1::-1], runs.items(), strict=True)
    ]
    highest = max(max(loss) for loss in runs.values())
    axes = Axis("epoch", whole=True), Axis(y, (0.0, 1.05 * highest))
    return chart(lines, alt, *axes, width=WIDE)


def digits(n: int) -> tuple[Rows, Rows]:
    """Return the first n built-in digits, and 500 others."""
    data = read("builtin:digits", None)
    assert isinstance(data.inputs, np.ndarray) and data.target is not None
    X = data.inputs.reshape(len(data), -1).astype(np.float64) / 8.0 - 1.0
    T = np.array(data.target, int)
    return Rows(X[:n], T[:n]), Rows(X[-500:], T[-500:])


def mlp_of(
    hidden: list[int], activation: Function = "relu", **others: Any
) -> NetworkSpec:
    """Describe a network from the pixels of a digit to its ten classes."""
    return mlp([64, *hidden, 10], activation, **others)


def learn(
    rows: Rows, validation: Rows | None, spec: NetworkSpec, epochs: int
) -> TrainingRun:
    """Fit a network by plain descent with the trainer's own loop."""
    network = Network(spec, np.float64)
    rng = np.random.default_rng(42)
    network.initialize(rng)
    config = ResolvedTrainConfig(
        optimizer="gradient_descent",
        learning_rate=0.2,
        epochs=epochs,
        batch_size=50,
        schedule="constant",
        regularization="constant",
        weight_decay=0.0,
        augmentation=0.0,
        averaging=0.0,
        beta2=0.999,
        choose_epoch="alone",
        patience=epochs,
    )
    run = TrainingRun(network, softmax_cross_entropy, rows, validation, config, rng)
    train(run)
    return run


def descent(kind: type[Optimizer], n: int) -> Optimizer:
    """Return an optimizer of n parameters without decay."""
    return kind(n, np.zeros(n))

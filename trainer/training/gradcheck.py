"""Compare every derivative with its definition, in float64.

Each parameter and each input is moved a little to both sides, and the change of the
loss is compared with what `backward` says. The difference quotient

    (8 (L(p + h) − L(p − h)) − (L(p + 2h) − L(p − 2h))) / 12h

is the central difference without its error in h², which fast waves would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import msgspec
import numpy as np

from models.features.predictions import Task
from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers import LAYER_SPECS, AnyLayerSpec, LinearSpec
from models.nn.layers.base import LayerSpec
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.training.losses import LOSSES, softmax_cross_entropy, training_loss
from trainer.types import Loss, Targets, Weights

STEP = 1e-5
TOLERANCE = 1e-6
#: The batch that is checked: rows, inputs and classes.
ROWS, INPUTS, CLASSES = 12, 5, 3


class GradientCheck(NamedTuple):
    """The largest |a − n| / max(1, |a|, |n|) of analytic and numeric derivatives."""

    name: str
    error: float


def check_gradients(
    spec: NetworkSpec,
    loss: Loss,
    X: Array,
    T: Targets,
    *,
    weights: Weights = None,
    training: bool = True,
    seed: int = 0,
    samples: int = 40,
) -> list[GradientCheck]:
    """Return the largest relative error of each parameter block and of the input.

    The rows X (B, I) have targets T (B,). The network is made in float64 with random
    parameters. While `training`, batch norm uses the batch, and dropout the same mask
    for every pass. At most `samples` numbers of each block are checked.
    """
    network = Network(spec, np.float64)
    rng = np.random.default_rng(seed)
    network.initialize(rng)
    network.parameters += 0.1 * rng.standard_normal(len(network.parameters))
    X = X.astype(np.float64)
    state = network.state.copy()

    def outputs() -> Array:
        network.state[...] = state
        return network.forward(X, training, np.random.default_rng(seed))

    def value() -> float:
        return loss(outputs(), T, weights)[0]

    dX = network.backward(loss(outputs(), T, weights)[1], input_gradient=True).copy()
    dP = network.gradients.copy()

    def check(name: str, vector: Array, gradient: Array) -> GradientCheck:
        chosen = rng.permutation(len(vector))[:samples]
        numeric = np.array([_slope(value, vector, i) for i in chosen.tolist()])
        return GradientCheck(name, _error(gradient[chosen], numeric))

    blocks = [
        check(block.name, network.parameters[block.slice], dP[block.slice])
        for block in network.blocks
    ]
    return [*blocks, check("input", X.reshape(-1), dX.reshape(-1))]


def _slope(value: Callable[[], float], vector: Array, i: int) -> float:
    """Return the derivative of `value()` by vector[i]."""
    middle = vector[i]

    def at(steps: int) -> float:
        vector[i] = middle + steps * STEP
        return value()

    near, far = at(1) - at(-1), at(2) - at(-2)
    vector[i] = middle
    return (8.0 * near - far) / (12.0 * STEP)


def _error(analytic: Array, numeric: Array) -> float:
    scale = np.maximum(1.0, np.maximum(np.abs(analytic), np.abs(numeric)))
    error = float(np.max(np.abs(analytic - numeric) / scale, initial=0.0))
    return error if np.isfinite(error) else np.inf


def check_everything() -> Iterator[GradientCheck]:
    """Yield the largest error of each layer, activation, architecture and loss.

    Raises NotImplementedError if a layer has no examples, and KeyError if a task has
    no targets here.
    """
    yield from check_layers()
    yield from check_architectures()
    yield from check_losses()


def check_layers() -> Iterator[GradientCheck]:
    """Yield the largest error of each layer's examples.

    A layer stands in front, before a linear one: its parameters and inputs are checked
    while training and while answering, and `predict` against `forward`. Raises
    NotImplementedError if a layer has no examples.
    """
    for layer in LAYER_SPECS:
        for example in layer.examples(INPUTS):
            linear = LinearSpec(example.width(INPUTS), CLASSES)
            layers = cast("tuple[AnyLayerSpec, ...]", (example, linear))
            yield _check_network(_name(example), NetworkSpec(INPUTS, layers))


def check_architectures() -> Iterator[GradientCheck]:
    """Yield the largest error of each architecture, with every layer it may have."""
    spec = mlp([INPUTS, 6, 4, CLASSES], "tanh", batch_norm=True, dropout=0.4)
    yield _check_network("architecture mlp", spec)
    spec = realmlp(Layout(INPUTS - 2, 1, (2,)), [6, 4], CLASSES, dropout=0.4)
    yield _check_network("architecture realmlp", spec)


def _check_network(name: str, spec: NetworkSpec) -> GradientCheck:
    X, _, targets = _batch()
    T, loss = targets["multiclass"], softmax_cross_entropy
    return _worst(
        name,
        *check_gradients(spec, loss, X, T),
        *check_gradients(spec, loss, X, T, training=False),
        _check_predict(spec, X),
    )


def check_losses() -> Iterator[GradientCheck]:
    """Yield the largest error of each task's loss, smoothed and with row weights.

    Raises KeyError if a task has no targets here.
    """
    X, weights, targets = _batch()
    for task, plain in LOSSES.items():
        T, losses = targets[task], {f"loss {task}": plain}
        if task != "regression":
            losses[f"loss {task}, smoothed"] = training_loss(task, 0.1)
        spec = mlp([INPUTS, 6, CLASSES if task == "multiclass" else 1], "tanh")
        for name, loss in losses.items():
            yield _worst(name, *check_gradients(spec, loss, X, T))
            checks = check_gradients(spec, loss, X, T, weights=weights)
            yield _worst(f"{name}, weighted rows", *checks)


def _batch() -> tuple[Array, Array, dict[Task, Targets]]:
    """Return rows (B, I), their weights (B,), and targets (B,) of each task."""
    rng = np.random.default_rng(7)
    targets: dict[Task, Targets] = {
        "binary": rng.integers(0, 2, ROWS),
        "multiclass": rng.integers(0, CLASSES, ROWS),
        "regression": rng.standard_normal(ROWS),
    }
    X = 2.0 * rng.standard_normal((ROWS, INPUTS))
    return X, rng.uniform(0.5, 2.0, ROWS), targets


def _name(spec: LayerSpec) -> str:
    """Return a layer's tag and the fields that differ from their defaults."""
    values = [
        f"{field.name}={getattr(spec, field.name)}"
        for field in msgspec.structs.fields(spec)
        if getattr(spec, field.name) != field.default
    ]
    return " ".join([f"layer {spec.__struct_config__.tag}", *values])


def _check_predict(spec: NetworkSpec, X: Array) -> GradientCheck:
    """Compare the two passes over X (B, I), after a training pass moved the state."""
    network = Network(spec, np.float64)
    rng = np.random.default_rng(0)
    network.initialize(rng)
    network.forward(X, True, rng)
    return GradientCheck("predict", _error(network.predict(X), network.forward(X)))


def _worst(name: str, *checks: GradientCheck) -> GradientCheck:
    return GradientCheck(name, max(check.error for check in checks))

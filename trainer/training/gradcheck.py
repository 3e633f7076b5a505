"""Is backward the derivative of forward? Ask the definition, in float64.

Each parameter is moved a little to both sides and the change of the loss is compared
with what backward says: (8 (L(p + h) − L(p − h)) − (L(p + 2h) − L(p − 2h))) / 12h,
the central difference without its error in h², which fast waves would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from models.nn.architectures import mlp
from models.nn.layers.activations import FUNCTIONS
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.training.losses import (
    binary_cross_entropy,
    label_smoothing,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.types import Loss, Targets, Weights

STEP = 1e-5
TOLERANCE = 1e-6


class GradientCheck(NamedTuple):
    """How far a layer's gradient is from the definition: |a − n| / max(1, |a|, |n|)."""

    name: str
    error: float


def check_gradients(
    spec: NetworkSpec,
    loss: Loss,
    X: Array,
    T: Targets,
    *,
    weights: Weights = None,
    seed: int = 0,
    samples: int = 40,
) -> list[GradientCheck]:
    """Return the largest relative error of every parameter block and of the input.

    The network is made anew in float64 with random parameters, and runs as in
    training: batch norm uses the batch, dropout the same mask for every pass. Of a
    large block `samples` numbers are checked.
    """
    network = Network(spec, np.float64)
    rng = np.random.default_rng(seed)
    network.initialize(rng)
    network.parameters += 0.1 * rng.standard_normal(len(network.parameters))
    X = X.astype(np.float64)
    state = network.state.copy()

    def value() -> float:
        network.state[...] = state
        Z = network.forward(X, training=True, rng=np.random.default_rng(seed))
        return loss(Z, T, weights)[0]

    network.state[...] = state
    Z = network.forward(X, training=True, rng=np.random.default_rng(seed))
    dX = network.backward(loss(Z, T, weights)[1], input_gradient=True).copy()
    analytic = network.gradients.copy()

    def error(vector: Array, gradient: Array) -> float:
        chosen = rng.permutation(len(vector))[:samples]
        numeric = [_slope(value, vector, i) for i in chosen.tolist()]
        found = gradient[chosen]
        scale = np.maximum(1.0, np.maximum(np.abs(found), np.abs(numeric)))
        return float(np.max(np.abs(found - numeric) / scale, initial=0.0))

    findings = [
        GradientCheck(b.name, error(network.parameters[b.slice], analytic[b.slice]))
        for b in network.blocks
    ]
    return [*findings, GradientCheck("input", error(X.reshape(-1), dX.reshape(-1)))]


def _slope(value: Callable[[], float], vector: Array, i: int) -> float:
    """Return the central difference of `value()` at vector[i]."""
    held = vector[i]

    def at(steps: int) -> float:
        vector[i] = held + steps * STEP
        return value()

    near, far = at(1) - at(-1), at(2) - at(-2)
    vector[i] = held
    return (8.0 * near - far) / (12.0 * STEP)


def check_everything() -> Iterator[GradientCheck]:
    """Yield every activation, layer and loss with its largest error."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((12, 5))
    classes, values = rng.integers(0, 3, 12), rng.standard_normal(12)
    weights = rng.uniform(0.5, 2.0, 12)
    for function in FUNCTIONS:
        spec = mlp([5, 6, 3], function)
        yield _worst(f"activation {function}", spec, softmax_cross_entropy, X, classes)
    normed = mlp([5, 6, 4, 3], "tanh", batch_norm=True)
    yield _worst("batch norm while training", normed, softmax_cross_entropy, X, classes)
    dropped = mlp([5, 6, 4, 3], "tanh", dropout=0.4)
    yield _worst("dropout, mask held", dropped, softmax_cross_entropy, X, classes)
    one = mlp([5, 6, 1], "tanh")
    losses: list[tuple[str, NetworkSpec, Loss, Targets]] = [
        ("binary cross-entropy", one, binary_cross_entropy, classes > 0),
        ("mean squared error", one, mean_squared_error, values),
        ("softmax cross-entropy", mlp([5, 6, 3]), softmax_cross_entropy, classes),
        (
            "binary, smoothed",
            one,
            label_smoothing(binary_cross_entropy, 0.1),
            classes > 0,
        ),
        (
            "softmax, smoothed",
            mlp([5, 6, 3]),
            label_smoothing(softmax_cross_entropy, 0.1),
            classes,
        ),
    ]
    for name, spec, loss, T in losses:
        yield _worst(name, spec, loss, X, T)
        yield _worst(f"{name}, weighted rows", spec, loss, X, T, weights)


def _worst(
    name: str,
    spec: NetworkSpec,
    loss: Loss,
    X: Array,
    T: Targets,
    weights: Weights = None,
) -> GradientCheck:
    found = check_gradients(spec, loss, X, T, weights=weights)
    return GradientCheck(name, max(finding.error for finding in found))

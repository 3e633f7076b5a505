"""A linear model as a network of the ensemble's own shape.

Units whose slope is 0 pass their input on unchanged (see `Activation`), so the first
O units of each hidden layer can carry O outputs of a linear model to the last layer.
All other parameters are 0. Nothing else of the product has to know of linear models.
"""

from __future__ import annotations

import numpy as np

from models.features.predictions import Output, Regression
from models.nn.layers import Activation, Embeddings, Linear, Scaling
from models.nn.network import Network, NetworkSpec
from models.types import Array
from trainer.evaluation.linear_model import LinearModel, fit_linear
from trainer.types import MonotoneInputs, Rows


def fits_linear(spec: NetworkSpec) -> bool:
    """Tell whether a network of this spec can be a linear model."""
    front, *layers = Network(spec).layers
    if not isinstance(front, Embeddings):
        return False
    wide = [layer.spec.n_out for layer in layers if isinstance(layer, Linear)]
    bent = [layer for layer in layers if isinstance(layer, Activation)]
    room = [*wide, *([front.spec.category_width] if front.spec.categories else [])]
    return min(room) >= spec.n_out and all(layer.parametric for layer in bent)


def fit_linear_network(
    spec: NetworkSpec,
    output: Output,
    rows: Rows,
    monotone: MonotoneInputs | None = None,
) -> Network | None:
    """Return a network that is the linear model of training rows.

    It leaves `monotone` inputs out whose weight would have the other sign. Returns None
    if the spec has no room for it, or the rows too many inputs.
    """
    if not fits_linear(spec):
        return None
    front, X = spec.layers[0], rows.X
    categories = getattr(front, "categories", ())
    wrong: list[int] = []
    while True:
        if wrong:
            X = X.copy()
            X[:, wrong] = 0.0  # the weight of what does not vary is 0
        model = fit_linear(output, X, categories, rows.T, rows.weights)
        if model is None or monotone is None:
            break
        # Of the second class beside the first; a number has one output.
        slopes = model.W[:, -1] - (model.W[:, 0] if model.W.shape[1] > 1 else 0.0)
        wrong = [i for i in monotone.up if slopes[i] < 0.0]
        wrong += [i for i in monotone.down if slopes[i] > 0.0]
        if not wrong:
            break
    return None if model is None else linear_network(spec, output, model)


def linear_network(spec: NetworkSpec, output: Output, model: LinearModel) -> Network:
    """Return the linear model as a network of a spec that has room for it."""
    W, b = model
    if not isinstance(output, Regression) and output.width == 1:
        W, b = W[:, 1:] - W[:, :1], b[1:] - b[:1]
    network = Network(spec)
    front, *layers = network.layers
    assert isinstance(front, Embeddings)
    entry = _enter(front, W)
    for layer in layers:
        if isinstance(layer, Scaling):
            layer.s[...] = 1.0
        elif isinstance(layer, Linear):
            layer.W[: len(entry), : spec.n_out] = entry
            entry = np.eye(spec.n_out, dtype=layer.W.dtype)
            last = layer
    last.b[...] = b
    return network


def _enter(front: Embeddings, W: Array) -> Array:
    """Return the first linear layer's weights (D, O) for those of inputs, W (I, O).

    The weights of wide categories go to their vectors, which it passes on.
    """
    spec, n_out = front.spec, W.shape[1]
    numbers, plain, D = spec.numbers, spec.plain, spec.category_width
    entry = np.zeros((front.n_out, n_out), np.float32)
    at = numbers * spec.number_width
    entry[: at : spec.number_width] = W[:numbers]
    entry[at : at + plain] = W[numbers : numbers + plain]
    at, row = at + plain, numbers + plain
    for E in front.E:
        E[:, :n_out] = W[row : row + len(E)]
        entry[at : at + n_out] = np.eye(n_out)
        at, row = at + D, row + len(E)
    return entry

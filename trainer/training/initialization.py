"""Starting weights that are fitted to a sample of the training rows.

RealMLP's initialization (arXiv 2407.04491, appendix A): layer by layer, each unit's
weights are scaled so that its input to the activation has variance 1 over the sample,
and its bias is minus a random convex combination of that input.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.nn.layers import Embeddings, Linear
from models.nn.layers.embeddings import FASTEST
from models.nn.network import Network
from models.types import Array

#: Rows of the sample, and rows combined in each bias.
SAMPLE = 10_000
MIXED = 5


def initialize_from_data(
    network: Network, X: Array, rng: np.random.Generator, fastest: float = FASTEST
) -> None:
    """Draw the network's starting weights, in place, for training rows X (n, I).

    `fastest` is the spread of the fastest waves of its embeddings.
    """
    network.initialize(rng)
    front = network.layers[0]
    if isinstance(front, Embeddings):
        front.slow_down(fastest)
    some: slice | NDArray[np.intp] = slice(None)
    if len(X) > SAMPLE:
        some = rng.choice(len(X), SAMPLE, replace=False)
    X = X[some]  # an array, also of rows in a file
    for layer in network.layers:
        if isinstance(layer, Linear):
            _initialize(layer, X, rng)
        X = layer.predict(X)


def _initialize(layer: Linear, X: Array, rng: np.random.Generator) -> None:
    fan_in, fan_out = layer.W.shape
    layer.W[...] = rng.standard_normal(layer.W.shape) / math.sqrt(fan_in)
    Z = X @ layer.W
    spread = Z.std(axis=0)
    spread[spread == 0] = 1.0
    layer.W /= spread
    Z /= spread
    shares = rng.exponential(size=(MIXED, fan_out))
    shares /= shares.sum(axis=0)
    rows = rng.integers(0, len(Z), (MIXED, fan_out))
    layer.b[...] = -(shares * Z[rows, np.arange(fan_out)]).sum(axis=0)

"""Starting weights: large enough that signals live, small enough that none explode.

Both rules keep the variance of a signal about constant from layer to layer; each
takes the `Generator` to draw from and fills W of shape (I, O) in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from models.types import Array

Initializer: TypeAlias = Literal["he", "glorot", "zeros"]


def he(W: Array, rng: np.random.Generator) -> None:
    """Fill with N(0, 2 / I), for units that pass half their inputs (ReLU).

    He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    fan_in = W.shape[0]
    W[...] = rng.standard_normal(W.shape) * math.sqrt(2.0 / fan_in)


def glorot(W: Array, rng: np.random.Generator) -> None:
    """Fill with U(-a, a), a = sqrt(6 / (I + O)), for symmetric units (tanh, sigmoid).

    Glorot and Bengio 2010, "Understanding the difficulty of training deep
    feedforward neural networks", equation 16.
    """
    limit = math.sqrt(6.0 / sum(W.shape))
    W[...] = rng.uniform(-limit, limit, W.shape)


def zeros(W: Array, rng: np.random.Generator) -> None:
    """Fill with 0, for a last layer that is to start without an opinion."""
    W[...] = 0.0


INITIALIZERS: dict[Initializer, Callable[[Array, np.random.Generator], None]] = {
    "he": he,
    "glorot": glorot,
    "zeros": zeros,
}

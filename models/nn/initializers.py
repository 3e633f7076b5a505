"""Rules for starting weights W (I, O).

He's and Glorot's rule keep the variance of a signal about constant from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from models.types import Array

Initializer: TypeAlias = Literal["he", "glorot", "zeros"]


def he(W: Array, rng: np.random.Generator) -> None:
    """Fill W (I, O) with N(0, 2 / I), for units that pass half their inputs (ReLU).

    He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    fan_in = W.shape[0]
    W[...] = rng.standard_normal(W.shape) * math.sqrt(2.0 / fan_in)


def glorot(W: Array, rng: np.random.Generator) -> None:
    """Fill W (I, O) with U(-a, a), a = sqrt(6 / (I + O)), for symmetric units.

    Glorot and Bengio 2010, "Understanding the difficulty of training deep
    feedforward neural networks", equation 16.
    """
    limit = math.sqrt(6.0 / sum(W.shape))
    W[...] = rng.uniform(-limit, limit, W.shape)


def zeros(W: Array, rng: np.random.Generator) -> None:
    """Fill W (I, O) with 0, for a last layer that starts with equal outputs."""
    W[...] = 0.0


INITIALIZERS: dict[Initializer, Callable[[Array, np.random.Generator], None]] = {
    "he": he,
    "glorot": glorot,
    "zeros": zeros,
}

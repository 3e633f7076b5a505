"""Rates and decay by kind of parameter: what each recipe lets move how fast."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.nn.layers import Scaling
from models.nn.layers.base import Kind
from models.nn.network import Network, ParameterBlock
from models.types import Array

#: RealMLP's factors of the learning rate (arXiv 2407.04491, table A.1). A weight has
#: that of its NTK form, W / sqrt(fan_in) with W of size one: `1 / sqrt(fan_in)`.
_FACTORS: dict[Kind, float] = {
    "weight": 1.0,
    "bias": 0.1,
    "gain": 1.0,
    "scale": 6.0,
    "slope": 0.1,
    "wave": 0.1,
    "embedding": 1.0,
}


def is_realmlp(network: Network) -> bool:
    """Whether it is RealMLP, which has a scaling layer in front."""
    return any(isinstance(layer, Scaling) for layer in network.layers)


def rates(network: Network) -> Array | None:
    """Return a factor of the learning rate for each parameter; None where all are 1."""
    if not is_realmlp(network):
        return None
    return _vector(network, _rate)


def decay(network: Network) -> Array:
    """Return a factor of the weight decay for each parameter."""
    if not is_realmlp(network):
        return _vector(network, lambda block: float(block.kind == "weight"))
    # The factor of the rate counts twice, as in the reference code of RealMLP.
    return _vector(
        network,
        lambda block: 0.0 if block.kind == "bias" else _FACTORS[block.kind] ** 2,
    )


def _rate(block: ParameterBlock) -> float:
    factor = _FACTORS[block.kind]
    return factor / math.sqrt(block.shape[0]) if block.kind == "weight" else factor


def _vector(network: Network, value: Callable[[ParameterBlock], float]) -> Array:
    vector = np.empty_like(network.parameters)
    for block in network.blocks:
        vector[block.slice] = value(block)
    return vector

"""Learning rates and weight decay for each kind of parameter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.nn.layers import Scaling
from models.nn.layers.base import Kind
from models.nn.network import Network, ParameterBlock
from models.types import Array

#: RealMLP's factors of the learning rate (arXiv 2407.04491, table A.1). Weights are
#: in NTK form there, W / sqrt(fan_in), so theirs is divided by sqrt(fan_in) here.
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
    """Return whether the network is RealMLP, the one with a scaling layer."""
    return any(isinstance(layer, Scaling) for layer in network.layers)


def rates(network: Network) -> Array | None:
    """Return a factor of the learning rate per parameter (P,); None if all are 1."""
    if not is_realmlp(network):
        return None
    return _vector(network, _rate)


def decay(network: Network) -> Array:
    """Return a factor of the weight decay for each parameter (P,)."""
    if not is_realmlp(network):
        return _vector(network, lambda block: float(block.kind == "weight"))
    # The rate's factor applies twice, as in RealMLP's reference code.
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

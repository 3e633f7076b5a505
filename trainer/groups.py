"""Rates and decay by kind of parameter: what each recipe lets move how fast."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np

from models.layers.base import Kind
from models.network import Block, Network
from models.types import Array

Grouping: TypeAlias = Literal["uniform", "realmlp"]

#: RealMLP's factors of the learning rate (arXiv 2407.04491, table A.1). A weight has the
#: rate of its NTK form, W / sqrt(fan_in) with W of size one, which is `1 / sqrt(fan_in)`.
_FACTORS: dict[Kind, float] = {
    "weight": 1.0,
    "bias": 0.1,
    "gain": 1.0,
    "scale": 6.0,
    "slope": 0.1,
    "wave": 0.1,
    "embedding": 1.0,
}


def rates(network: Network, grouping: Grouping) -> Array | None:
    """Return a factor of the learning rate for each parameter; None where all are 1."""
    if grouping == "uniform":
        return None
    return _vector(network, _rate)


def decay(network: Network, grouping: Grouping) -> Array:
    """Return a factor of the weight decay for each parameter."""
    if grouping == "uniform":
        return _vector(network, lambda block: float(block.kind == "weight"))
    # The factor of the rate counts twice, as in the reference code of RealMLP.
    return _vector(
        network,
        lambda block: 0.0 if block.kind == "bias" else _FACTORS[block.kind] ** 2,
    )


def _rate(block: Block) -> float:
    factor = _FACTORS[block.kind]
    return factor / math.sqrt(block.shape[0]) if block.kind == "weight" else factor


def _vector(network: Network, value: object) -> Array:
    vector = np.empty_like(network.parameters)
    for block in network.blocks:
        vector[block.slice] = value(block)  # type: ignore[operator]
    return vector

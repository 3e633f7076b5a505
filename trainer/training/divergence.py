"""Explain a run that diverged: the step, the layer and the likely cause."""

from __future__ import annotations

import numpy as np

from models.errors import TrainingDiverged
from models.nn.network import Network
from models.types import Array


def diverged(network: Network, X: Array, step: int, rate: float) -> TrainingDiverged:
    """Return the error that names the first broken layer on the rows X (B, I)."""
    return TrainingDiverged(
        f"training diverged at step {step}: {_broken_layer(network, X)}; the learning "
        f"rate ({rate:.3g}) is likely too high: lower train.learning_rate or set "
        "train.clip_norm=1"
    )


def _broken_layer(network: Network, X: Array) -> str:
    for block in network.blocks:
        if not np.isfinite(network.parameters[block.slice]).all():
            return f"the weights of {block.name} are no longer finite"
    with np.errstate(over="ignore", invalid="ignore"):
        for number, layer in enumerate(network.layers, 1):
            X = layer.predict(X)
            if not np.isfinite(X).all():
                return f"the outputs of layer {number} ({layer.display_name}) overflow"
    last = f"layer {number} ({layer.display_name})"
    return f"the outputs of {last} are too large for the loss"

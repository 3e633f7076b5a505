"""What to tell when the numbers run away: the step, the layer, the likely cause."""

from __future__ import annotations

import numpy as np

from models.errors import TrainingDiverged
from models.nn.network import Network
from models.types import Array


def diverged(network: Network, X: Array, step: int, rate: float) -> TrainingDiverged:
    """Name the first layer whose numbers are gone on the rows X of this step."""
    return TrainingDiverged(
        f"training diverged at step {step}: {_where(network, X)}; the learning rate "
        f"({rate:.3g}) is likely too high: lower train.learning_rate or set "
        "train.clip_norm=1"
    )


def _where(network: Network, X: Array) -> str:
    for block in network.blocks:
        if not np.isfinite(network.parameters[block.slice]).all():
            return f"the weights of {block.name} are no longer numbers"
    with np.errstate(over="ignore", invalid="ignore"):
        for number, layer in enumerate(network.layers, 1):
            X = layer.predict(X)
            if not np.isfinite(X).all():
                name = f"layer {number} ({layer.display_name})"
                return f"{name} gives more than a number holds"
    return f"layer {number} ({layer.display_name}) gives outputs too large for the loss"

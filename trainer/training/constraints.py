"""Limits for the weights, applied after a step."""

from __future__ import annotations

import numpy as np

from models.nn.layers import Linear
from models.nn.network import Network


def limit_norms(network: Network, limit: float) -> None:
    """Scale the weights into each hidden unit, in place, to a norm of at most `limit`.

    Max-norm (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
    from overfitting", section 5.1): the learning rate can then be large without weights
    that grow without bound. The output layer is not limited.
    """
    *hidden, _ = [layer for layer in network.layers if isinstance(layer, Linear)]
    for layer in hidden:
        norms = np.sqrt(np.einsum("io,io->o", layer.W, layer.W))  # (O,)
        if norms.max() > limit:
            layer.W *= limit / np.maximum(norms, limit)

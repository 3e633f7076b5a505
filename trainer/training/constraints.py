"""What the weights may not do, however the gradient pulls."""

from __future__ import annotations

import numpy as np

from models.nn.layers import Linear
from models.nn.network import Network


def limit_norms(network: Network, limit: float) -> None:
    """Shorten what enters a hidden unit, in place, to a length of at most `limit`.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", section 5.1: max-norm. A large rate can then search far and wide
    without the weights blowing up. The output layer is free.
    """
    *hidden, _ = [layer for layer in network.layers if isinstance(layer, Linear)]
    for layer in hidden:
        norms = np.sqrt(np.einsum("io,io->o", layer.W, layer.W))  # (O,)
        if norms.max() > limit:
            layer.W *= limit / np.maximum(norms, limit)

"""Networks of one kind that answer together: one pass over all of them.

Each layer's numbers lie one network behind the other, W (E, I, O) in place of W (I, O),
and `Layer.predict` says the same of E networks as of one. A row takes as many calls of
NumPy as it takes of a single network, which is most of its time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.nn.layers import build
from models.nn.network import CHUNK, Network, split_views
from models.types import Array


class StackedNetworks:
    """E networks over copies of their numbers; for answering, and threads may share it.

    `networks` are the single ones, over the same memory.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        spec = networks[0].spec
        if any(network.spec != spec for network in networks):
            raise ValueError("networks that answer together are of one kind")
        parameters = np.stack([network.parameters for network in networks])
        state = np.stack([network.state for network in networks])
        self.networks = tuple(
            Network.from_arrays(spec, *numbers)
            for numbers in zip(parameters, state, strict=True)
        )
        self.n_out = spec.n_out
        self.layers = [build(layer) for layer in spec.layers]
        at = at_state = 0
        for layer in self.layers:
            trained = split_views(parameters, at, layer.parameter_shapes)
            measured = split_views(state, at_state, layer.state_shapes)
            at += sum(view[0].size for view in trained)
            at_state += sum(view[0].size for view in measured)
            if trained:
                layer.bind(trained, trained, measured)

    def predict(self, X: Array) -> Array:
        """Return the outputs (E, n, O) of every network for X (n, I); keeps nothing."""
        count = len(self.networks)
        Z = np.empty((count, len(X), self.n_out), X.dtype)
        rows = max(1, CHUNK // count)
        for start in range(0, len(X), rows):
            A = X[start : start + rows]
            for layer in self.layers:
                A = layer.predict(A)
            Z[:, start : start + rows] = A
        return Z

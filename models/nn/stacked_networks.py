"""The networks of an ensemble, evaluated in one pass.

Parameters are stacked, W (E, I, O) in place of W (I, O), and `Layer.predict` works on
both. A request of one row then makes as many NumPy calls as for a single network, and
these calls are most of its time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from models.nn.network import CHUNK, Network, split_views
from models.types import Array


class StackedNetworks:
    """E networks of one spec, over their parameters in one array (E, N).

    For prediction only; threads may share it. `networks` are the single networks, over
    the same memory. Raises ValueError if the specs differ.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        spec = networks[0].spec
        if any(network.spec != spec for network in networks):
            raise ValueError("stacked networks must have the same spec")
        parameters = _stack([network.parameters for network in networks])
        state = _stack([network.state for network in networks])
        self.networks = tuple(
            Network.from_arrays(spec, *numbers)
            for numbers in zip(parameters, state, strict=True)
        )
        self.n_out = spec.n_out
        self.layers = [layer.build() for layer in spec.layers]
        at = at_state = 0
        for layer in self.layers:
            trained = split_views(parameters, at, layer.parameter_shapes)
            measured = split_views(state, at_state, layer.state_shapes)
            at += sum(view[0].size for view in trained)
            at_state += sum(view[0].size for view in measured)
            if trained:
                layer.bind(trained, trained, measured)

    def predict(self, X: Array) -> Array:
        """Return the outputs (E, n, O) of every network for X (n, I); saves nothing."""
        count = len(self.networks)
        Z = np.empty((count, len(X), self.n_out), X.dtype)
        rows = max(1, CHUNK // count)
        for start in range(0, len(X), rows):
            A = X[start : start + rows]
            for layer in self.layers:
                A = layer.predict(A)
            Z[:, start : start + rows] = A
        return Z


def _stack(rows: Sequence[Array]) -> Array:
    """Return vectors (N,) as one array (E, N).

    Those of a loaded artefact lie one after the other and cannot change: no copy.
    """
    first = rows[0]
    begin, size = first.ctypes.data, first.nbytes
    if all(
        row.base is first.base is not None
        and not row.flags.writeable
        and row.ctypes.data == begin + number * size
        for number, row in enumerate(rows)
    ):
        return as_strided(first, (len(rows), first.size), (size, first.itemsize))
    return np.stack(rows)

"""A penalty that teaches networks to rise, or fall, with some of their inputs.

Each step takes pairs of rows that differ in such an input alone, and adds to the loss
the mean slope by which the answer changes the wrong way between the two. Where no pair
does, it adds nothing. (Sill and Abu-Mostafa 1996, "Monotonicity hints", with pairs.)
"""

from __future__ import annotations

import numpy as np

from models.nn.network import Network
from models.types import Array
from trainer.data.dataset import evenly_spaced
from trainer.types import MonotoneInputs

#: What a wrong slope of 1 adds to the loss, in standard units or logits by inputs.
STRENGTH = 2.0
#: The smallest and the largest distance of a pair, as shares of the range.
NEAREST, FARTHEST = 0.02, 0.5
#: Rows that the range of an input is measured on.
SAMPLE = 10_000


class MonotonePenalty:
    """The penalty of one network, whose training rows are X (n, I)."""

    def __init__(self, network: Network, inputs: MonotoneInputs, X: Array) -> None:
        self._network = network
        self._columns = [(i, 1.0) for i in inputs.up] + [(i, -1.0) for i in inputs.down]
        self._missing = [*inputs.missing]
        sample = X[evenly_spaced(len(X), SAMPLE)]
        self._low, self._high = sample.min(axis=0), sample.max(axis=0)

    def add_gradient(self, X: Array, rng: np.random.Generator) -> None:
        """Add the penalty's gradient for rows like those of a batch X (B, I)."""
        network = self._network
        learnt = network.gradients.copy()
        for column, sign in self._columns:
            low, high = self._low[column], self._high[column]
            n, extent = len(X), high - low
            if not extent:
                continue  # the rows of this network do not vary in it
            logs = rng.uniform(np.log(NEAREST), np.log(FARTHEST), n)
            steps = (np.exp(logs) * extent).astype(X.dtype)
            pairs = np.concatenate([X, X])
            pairs[:, self._missing] = 0.0
            pairs[:n, column] = rng.uniform(low, high - steps)
            pairs[n:, column] = pairs[:n, column] + steps
            Z = network.forward(pairs)
            rises = sign * (Z[n:, 0] - Z[:n, 0])
            slopes = np.where(rises < 0.0, sign * STRENGTH / (steps * n), 0.0)
            dZ = np.concatenate([slopes, -slopes]).astype(Z.dtype)
            network.backward(dZ[:, None])
            learnt += network.gradients
        network.gradients[...] = learnt

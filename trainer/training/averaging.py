"""The mean of the latest weights: it lies lower in the valley than any one of them."""

from __future__ import annotations

import numpy as np

from models.nn.network import Network
from trainer.optimization.optimizers import BLOCK


class Average:
    """w̄ ← w̄ + (w − w̄) / min(t, horizon) after step t, of parameters and state alike.

    The plain mean of all steps so far until there are `horizon` of them, from then on
    an exponential average (Polyak and Juditsky 1992; as in Kingma and Ba 2015, "Adam",
    section 7.2, with its start corrected for).
    """

    def __init__(self, network: Network, horizon: float) -> None:
        self.network = network
        self.horizon = horizon
        self.steps = 0
        self.parameters = network.parameters.copy()
        self.state = network.state.copy()
        starts = range(0, len(self.parameters), BLOCK)
        self._blocks = [slice(start, start + BLOCK) for start in starts]
        self._scratch = np.empty_like(self.parameters[:BLOCK])

    def update(self) -> None:
        """Take the weights of another step into the mean."""
        self.steps += 1
        share = 1.0 / min(self.steps, self.horizon)
        now, mean = self.network.parameters, self.parameters
        for here in self._blocks:
            moved = self._scratch[: len(mean[here])]
            np.subtract(now[here], mean[here], out=moved)
            moved *= share
            mean[here] += moved
        if len(self.state):
            self.state += share * (self.network.state - self.state)

    def swap(self) -> None:
        """Put the mean into the network and keep what was there; again: back."""
        for here, mean in (
            (self.network.parameters, self.parameters),
            (self.network.state, self.state),
        ):
            kept = here.copy()
            here[...] = mean
            mean[...] = kept

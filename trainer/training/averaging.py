"""Average the weights of the latest steps: the loss at their mean is often lower."""

from __future__ import annotations

import numpy as np

from models.nn.network import Network
from trainer.optimization.optimizers import BLOCK


class Average:
    """The running mean w̄ ← w̄ + (w − w̄) / min(t, horizon) of parameters and state.

    For the first `horizon` steps it is their plain mean, then an exponential average
    (Polyak and Juditsky 1992; Kingma and Ba 2015, "Adam", section 7.2, with the start
    corrected).
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
        """Add the current weights to the mean."""
        self.steps += 1
        share = 1.0 / min(self.steps, self.horizon)
        for block in self._blocks:
            mean = self.parameters[block]
            change = self._scratch[: len(mean)]
            np.subtract(self.network.parameters[block], mean, out=change)
            change *= share
            mean += change
        if len(self.state):
            self.state += share * (self.network.state - self.state)

    def swap(self) -> None:
        """Exchange the network's numbers and the mean; a second call undoes it."""
        for current, mean in (
            (self.network.parameters, self.parameters),
            (self.network.state, self.state),
        ):
            copy = current.copy()
            current[...] = mean
            mean[...] = copy

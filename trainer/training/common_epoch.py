"""Choose one epoch for all networks of an ensemble, by the validation rows of several.

With few rows a network's own validation rows say little about the best epoch: if they
happen to be easy, the network trains until it is certain of everything. The networks
take the same steps, and together they have many validation rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.nn.network import Network
from trainer.training.history import History

#: Epochs of a run whose weights are kept beside the first, at most.
MOST = 32


class Snapshots:
    """The weights after every epoch, or after every second, third, …, and the last.

    `parameters` (K, N) and `state` (K, S) hold K epochs.
    """

    def __init__(self, network: Network, planned: int) -> None:
        self.epochs = kept_epochs(planned)
        count = len(self.epochs)
        self.parameters = np.zeros((count, *network.parameters.shape), np.float32)
        self.state = np.zeros((count, *network.state.shape), np.float32)

    def keep(self, network: Network, epoch: int) -> None:
        """Keep the weights after an epoch, counted from 1, if it is one of those."""
        if epoch in self.epochs:
            index = self.epochs.index(epoch)
            self.parameters[index] = network.parameters
            self.state[index] = network.state


def kept_epochs(planned: int) -> list[int]:
    """Return the epochs of a run whose weights are kept, in order.

    The first is one of them, so that all runs have reached one.
    """
    if not planned:
        return []
    stride = max(1, -(-planned // MOST))
    return sorted({1, *range(planned, 0, -stride)})


def common_epoch(histories: Sequence[History], first: int) -> int:
    """Return the epoch at which the mean validation loss of the first ones is lowest.

    Epochs after the end of the shortest run do not count, even if that run is not one
    of the first.
    """
    reached = min(history.epochs for history in histories)
    losses = [history.validation_loss[:reached] for history in histories[:first]]
    mean = np.mean(losses, axis=0)
    kept = [e for e in kept_epochs(histories[0].planned) if e <= reached]
    return min(kept, key=lambda epoch: float(mean[epoch - 1]))

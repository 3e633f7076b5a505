"""A network that learns from a part of every batch, beside others of the same weights.

A batch is divided by its rows, and the gradient of a mean is a mean of gradients. In
how many parts depends on the network and the batch alone, and what a part gives does
not depend on who computes it when: the number of processes changes no number.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from models.layers import BatchNorm, Linear
from models.network import Network
from models.types import Array
from trainer.augmentation import Augmentation
from trainer.losses import Loss
from trainer.rows import Rows

#: Products of a forward pass from which on two halves of a batch on two cores are done
#: sooner than the whole on one, by more than their meeting costs.
WORTH_DIVIDING = 1 << 24
#: Steps of an epoch from which on a process for the other halves is worth its start,
#: which takes as long as five to ten of them.
WORTH_A_PROCESS = 16


class Replica:
    """Learns from `rows` by a network of its own; for one process at a time."""

    #: What is drawn while it learns; set before each epoch.
    rng: np.random.Generator

    def __init__(
        self, network: Network, rows: Rows, augment: Augmentation | None
    ) -> None:
        self.network, self.rows, self.augment = network, rows, augment

    def learn(
        self, loss: Loss, chosen: NDArray[np.intp], X: Array, share: float
    ) -> float:
        """Fill the network's gradients from the chosen rows, which are put into X.

        Returns their mean loss. Both it and the gradients are times `share`.
        """
        rows = self.rows
        # mode='clip' lets take write straight into `out`, without a copy.
        rows.X.take(chosen, 0, X, "clip")
        if self.augment is not None:
            self.augment(X, self.rng)
        Z = self.network.forward(X, True, self.rng)
        weights = None if rows.weights is None else rows.weights.take(chosen)
        value, dZ = loss(Z, rows.T.take(chosen), weights)
        if share != 1.0:
            dZ *= share
        self.network.backward(dZ)
        return value * share


def parts(network: Network, size: int) -> int:
    """Return in how many parts a lone network's batches of `size` rows are learnt.

    Batch normalisation asks for the whole batch.
    """
    linear = [layer.spec for layer in network.layers if isinstance(layer, Linear)]
    products = size * sum(spec.n_in * spec.n_out for spec in linear)
    normed = any(isinstance(layer, BatchNorm) for layer in network.layers)
    return 1 if normed or products < WORTH_DIVIDING else 2


def replicas(
    network: Network, rows: Rows, augment: Augmentation | None, parts: int
) -> list[Replica]:
    """Return one for each part of a batch, the network's own first."""
    return [
        Replica(
            network.twin() if number else network,
            rows,
            copy.deepcopy(augment),  # it keeps what it computes with
        )
        for number in range(parts)
    ]

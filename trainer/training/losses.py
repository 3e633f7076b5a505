"""What is minimised, straight from the network's outputs.

Each loss takes logits (or standardised values) Z (B, O), targets T and row weights
(B,) or None, and gives the weighted mean of the rows' losses with its gradient dZ
(B, O). From logits both are exact everywhere: there is no log(0) to guard against, so
no small number biases the loss. The gradient is prediction − target in all three.
"""

from __future__ import annotations

import numpy as np

from models.features.predictions import Task
from models.types import Array
from trainer.types import Loss, Targets, Weights


def binary_cross_entropy(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
    """Cross-entropy of sigmoid(Z) (B, 1) with T (B,) of 0 and 1.

    −t log s(z) − (1 − t) log(1 − s(z)) = log(1 + e^z) − t z
    """
    z = Z[:, 0]
    t = T.astype(z.dtype)
    losses = np.logaddexp(z.dtype.type(0), z) - t * z
    # s(z) = e^(−log(1 + e^−z)), stable on both sides
    dz = np.exp(-np.logaddexp(z.dtype.type(0), -z)) - t
    return _weighted(losses, dz[:, None], weights)


def softmax_cross_entropy(
    Z: Array, T: Targets, weights: Weights
) -> tuple[float, Array]:
    """Cross-entropy of softmax(Z) (B, C) with class numbers T (B,).

    −log softmax(z)_t = log Σ_j e^z_j − z_t
    """
    # A class a row: NumPy reduces few rows of many faster than many of few.
    exp = Z.T.copy()
    exp -= np.maximum.reduce(exp, 0)
    places = T * len(Z) + np.arange(len(Z))  # of each target
    chosen = exp.take(places)
    np.exp(exp, out=exp)
    total = np.add.reduce(exp, 0)
    losses = np.log(total)
    losses -= chosen
    exp /= total
    exp.ravel()[places] -= 1.0
    return _weighted(losses, exp.T, weights)


def mean_squared_error(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
    """Half the squared error of Z (B, 1) from T (B,): (z − t)² / 2."""
    dz = Z[:, 0] - T.astype(Z.dtype)
    return _weighted(dz * dz * 0.5, dz[:, None], weights)


def label_smoothing(loss: Loss, epsilon: float) -> Loss:
    """Ask for 1 − ε of the target and ε / C of each class (Szegedy et al. 2016).

    Σ_c q_c (−log p_c) is −log p_t + ε (z_t − mean_c z_c), and its gradient follows; of
    two classes the logits are 0 and z.
    """

    def smoothed(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
        value, dZ = loss(Z, T, weights)
        if Z.shape[1] == 1:
            pull = T.astype(Z.dtype)[:, None] - 0.5
        else:
            pull = np.full(Z.shape, -1.0 / Z.shape[1], Z.dtype)
            pull[np.arange(len(T)), T] += 1.0
        more, dmore = _weighted((pull * Z).sum(axis=1), pull, weights)
        dZ += epsilon * dmore
        return value + epsilon * more, dZ

    return smoothed


def error_rate(Z: Array, T: Targets, weights: Weights) -> float:
    """Return the weighted share of rows whose largest logit is not the target's."""
    chosen = Z[:, 0] > 0.0 if Z.shape[1] == 1 else Z.argmax(axis=1)
    return float(np.average(chosen != T, weights=weights))


def _weighted(losses: Array, dZ: Array, weights: Weights) -> tuple[float, Array]:
    """Average the rows, Σ w l / Σ w, and scale the gradient alike."""
    if weights is None:
        dZ /= len(losses)
        return float(np.add.reduce(losses, dtype=np.float64)) / len(losses), dZ
    share = weights / weights.sum()
    dZ *= share[:, None]
    return float((losses * share).sum(dtype=np.float64)), dZ


def over_batches(loss: Loss) -> Loss:
    """Return a loss that batches of a part may be given, its weights 1 on average.

    Σ w l / B: over all batches it adds up to the weighted mean. Were each batch divided
    by its own weights, Σ w l / Σ w, a heavy row would count the less the more it
    outweighs the others of its batch: with classes of 99 to 1 balanced, batches of 64
    would give the rare one not half of the gradient but about a third.
    """

    def weighted(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
        value, dZ = loss(Z, T, weights)
        if weights is None:
            return value, dZ
        share = float(weights.mean(dtype=np.float64))
        dZ *= share
        return value * share, dZ

    return weighted


LOSSES: dict[Task, Loss] = {
    "binary": binary_cross_entropy,
    "multiclass": softmax_cross_entropy,
    "regression": mean_squared_error,
}


def training_loss(task: Task, epsilon: float = 0.0) -> Loss:
    """Return the loss of a task for the batches of `Prepared.rows`.

    `epsilon` is the label smoothing of a classification.
    """
    loss = LOSSES[task]
    if epsilon and task != "regression":
        loss = label_smoothing(loss, epsilon)
    return over_batches(loss)

"""The losses that training minimises, each with its gradient.

A loss takes logits (or standardised values) Z (B, O), targets T (B,) and row weights
(B,) or None, and returns the weighted mean of the rows' losses and its gradient dZ
(B, O). From logits both are exact: no log(0) has to be avoided by a small constant that
would bias the loss. The gradient of a row is prediction − target in all three.
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
    # One row per class: NumPy reduces few long rows faster than many short ones.
    exp = Z.T.copy()
    exp -= np.maximum.reduce(exp, 0)
    index = T * len(Z) + np.arange(len(Z))  # of the targets' classes
    chosen = exp.take(index)
    np.exp(exp, out=exp)
    total = np.add.reduce(exp, 0)
    losses = np.log(total)
    losses -= chosen
    exp /= total
    exp.ravel()[index] -= 1.0
    return _weighted(losses, exp.T, weights)


def mean_squared_error(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
    """Half the squared error of Z (B, 1) from T (B,): (z − t)² / 2."""
    dz = Z[:, 0] - T.astype(Z.dtype)
    return _weighted(dz * dz * 0.5, dz[:, None], weights)


def label_smoothing(loss: Loss, epsilon: float) -> Loss:
    """Return the loss for targets q = (1 − ε) one-hot + ε / C (Szegedy et al. 2016).

    Σ_c q_c (−log p_c) = −log p_t + ε (z_t − mean_c z_c). With one output, the logits of
    the two classes are 0 and z.
    """

    def smoothed(Z: Array, T: Targets, weights: Weights) -> tuple[float, Array]:
        value, dZ = loss(Z, T, weights)
        if Z.shape[1] == 1:
            gradient = T.astype(Z.dtype)[:, None] - 0.5
        else:
            gradient = np.full(Z.shape, -1.0 / Z.shape[1], Z.dtype)
            gradient[np.arange(len(T)), T] += 1.0
        smoothing, dsmoothing = _weighted((gradient * Z).sum(axis=1), gradient, weights)
        dZ += epsilon * dsmoothing
        return value + epsilon * smoothing, dZ

    return smoothed


def error_rate(Z: Array, T: Targets, weights: Weights) -> float:
    """Return the weighted share of rows whose class by Z (B, O) is not T (B,)."""
    chosen = Z[:, 0] > 0.0 if Z.shape[1] == 1 else Z.argmax(axis=1)
    return float(np.average(chosen != T, weights=weights))


def _weighted(losses: Array, dZ: Array, weights: Weights) -> tuple[float, Array]:
    """Return the mean loss Σ w l / Σ w and the gradient dZ, scaled in place."""
    if weights is None:
        dZ /= len(losses)
        return float(np.add.reduce(losses, dtype=np.float64)) / len(losses), dZ
    share = weights / weights.sum()
    dZ *= share[:, None]
    return float((losses * share).sum(dtype=np.float64)), dZ


def over_batches(loss: Loss) -> Loss:
    """Return the loss Σ w l / B of a batch, for weights whose mean over all rows is 1.

    Over all batches it adds up to the weighted mean. If each batch were divided by the
    sum of its own weights, a heavy row would lose influence: with balanced classes of
    99 to 1 and batches of 64, the rare class would get a third of the gradient instead
    of half.
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
    """Return the loss of a task for batches of `Prepared.rows`.

    `epsilon` is the label smoothing, for classification only.
    """
    loss = LOSSES[task]
    if epsilon and task != "regression":
        loss = label_smoothing(loss, epsilon)
    return over_batches(loss)

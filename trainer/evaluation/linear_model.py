"""A linear model of encoded rows: the baseline, and a member of ensembles.

Ridge regression in closed form (Hoerl and Kennard 1970), or multinomial logistic
regression with the same penalty, by accelerated gradient descent (Nesterov 1983).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Output, Regression
from models.types import Array
from trainer.data.dataset import evenly_spaced

#: Most values of the training rows that the linear model is fitted to.
MAX_VALUES = 2_000_000
#: Most inputs of the linear model, with an input for each category.
MAX_INPUTS = 1_500
STEPS = 200
#: Strength of the penalty, in rows: as if each input had been seen in this many rows
#: without an effect.
PENALTY = 1.0


class LinearModel(NamedTuple):
    """Z = A W + b for rows A (n, D) of `one_hot`, with W (D, O) and b (O,).

    O is 1 for a number, otherwise there is a logit for each class.
    """

    W: Floats
    b: Floats

    def predict(self, A: Floats) -> Floats:
        """Return the outputs (n, O) for rows A (n, D)."""
        return np.asarray(A @ self.W + self.b)


def one_hot(X: Array, categories: tuple[int, ...]) -> Floats:
    """Return encoded rows (n, I) with an input for each category instead of codes."""
    first = X.shape[1] - len(categories)
    parts = [X[:, :first].astype(np.float64)]
    for column, size in enumerate(categories, first):
        parts.append((X[:, column : column + 1] == np.arange(size)).astype(np.float64))
    return np.concatenate(parts, axis=1)


def sampled(output: Output, width: int, n: int) -> NDArray[np.intp]:
    """Return which of n rows (m,) of `width` inputs are enough to fit: evenly many."""
    most = max(MAX_VALUES // width // max(len(output.classes) // 4, 1), 100)
    return evenly_spaced(n, most)


def one_hot_width(width: int, categories: tuple[int, ...]) -> int:
    """Return the inputs D of `one_hot` for encoded rows (n, width)."""
    return width - len(categories) + sum(categories)


def fit_linear(
    output: Output,
    X: Array,
    categories: tuple[int, ...],
    target: NDArray[Any],
    weights: Array | None,
) -> LinearModel | None:
    """Fit a linear model to encoded rows X (n, I), targets (n,) and weights (n,).

    Many rows are thinned out (`sampled`). Returns None if there are too many inputs.
    """
    width = one_hot_width(X.shape[1], categories)
    if width > MAX_INPUTS:
        return None
    rows = sampled(output, width, len(X))
    A = one_hot(X[rows], categories)
    mean, scale = A.mean(axis=0), np.maximum(A.std(axis=0), 1e-6)
    A = (A - mean) / scale
    counts = np.ones(len(rows))
    if weights is not None:
        counts = weights[rows] / weights[rows].mean(dtype=np.float64)
    if isinstance(output, Regression):
        W, b = _ridge(A, target[rows], counts)
    else:
        W, b = _logistic(A, target[rows], counts, len(output.classes))
    W = W / scale[:, None]
    return LinearModel(W, b - mean @ W)


def _ridge(A: Floats, target: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Return W (D, 1) and b (1,), fitted to A (m, D) and targets (m,)."""
    mean = float(np.average(target, weights=counts))
    center = np.average(A, axis=0, weights=counts)
    A = A - center
    gram = (A * counts[:, None]).T @ A + PENALTY * np.eye(A.shape[1])
    moments = A.T @ (counts * (target - mean))
    W: Floats = np.linalg.solve(gram, moments)[:, None].astype(np.float64)
    b: Floats = mean - center @ W
    return W, b


def _logistic(
    A: Floats, target: NDArray[Any], counts: Floats, classes: int
) -> tuple[Floats, Floats]:
    """Return W (D, C) and b (C,), fitted to A (m, D) and classes (m,)."""
    m = len(A)
    A = np.column_stack([A, np.ones(m)])
    truth = np.eye(classes)[target]
    penalty = np.append(np.full(A.shape[1] - 1, PENALTY / m), 0.0)[:, None]
    # The curvature of the loss is at most half of that of the squares of the inputs.
    step = 1.0 / (0.5 * _largest_eigenvalue(A, counts) / m + PENALTY / m)
    W = np.zeros((A.shape[1], classes))
    ahead, momentum = W, 1.0
    for _ in range(STEPS):
        errors = (softmax(A @ ahead) - truth) * counts[:, None]
        after = ahead - step * (A.T @ errors / m + penalty * ahead)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = after + (momentum - 1.0) / faster * (after - W)
        W, momentum = after, faster
    return W[:-1], W[-1]


def _largest_eigenvalue(A: Floats, counts: Floats) -> float:
    """Return the largest eigenvalue of AᵀA with weights, by power iteration."""
    v = np.ones(A.shape[1])
    for _ in range(30):
        v = A.T @ (counts * (A @ (v / np.linalg.norm(v))))
    return 1.1 * float(np.linalg.norm(v))


def softmax(Z: Floats) -> Floats:
    """Return probabilities (n, C) from logits (n, C)."""
    P: Floats = np.exp(Z - Z.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    return P

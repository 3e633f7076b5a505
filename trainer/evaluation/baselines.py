"""Two simple models to compare with: a constant, and a linear model.

The constant is the mean of the training target, or the shares of its classes. The
linear model is fitted to the encoded columns: ridge regression in closed form (Hoerl
and Kennard 1970), or multinomial logistic regression with the same penalty, by
accelerated gradient descent (Nesterov 1983).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.inputs import Inputs
from models.features.predictions import Output, Predictions, Regression
from models.types import Array

#: Most values of the training rows that the linear model is fitted to.
MAX_VALUES = 2_000_000
#: Most inputs of the linear model, with an input for each category.
MAX_INPUTS = 1_500
STEPS = 200
#: Strength of the penalty, in rows: as if each input had been seen in this many rows
#: without an effect.
PENALTY = 1.0


def constant(
    output: Output, target: NDArray[Any], weights: Floats | None, n: int
) -> Predictions:
    """Return n equal predictions, from training targets (m,) and weights (m,)."""
    if isinstance(output, Regression):
        return {"value": np.full(n, np.average(target, weights=weights))}
    counts = np.bincount(target, weights, len(output.classes)) + 1.0 / len(target)
    return {"probabilities": np.tile(counts / counts.sum(), (n, 1))}


def sampled(inputs: Inputs, output: Output, n: int) -> NDArray[np.intp]:
    """Return which of n training rows (m,) the linear model is fitted to."""
    width = _width(inputs)
    most = max(MAX_VALUES // width // max(len(output.classes) // 4, 1), 100)
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.intp))


def _width(inputs: Inputs) -> int:
    return inputs.width + sum(inputs.layout.categories)


def linear(
    inputs: Inputs,
    output: Output,
    train: tuple[Array, NDArray[Any], Floats | None],
    X: Array,
) -> Predictions | None:
    """Fit a linear model and return its predictions for encoded rows X (n, I).

    `train` has encoded rows (m, I), targets (m,) and weights (m,). Returns None if
    there are too many inputs.
    """
    Z, target, weights = train
    if _width(inputs) > MAX_INPUTS:
        return None
    rows = sampled(inputs, output, len(Z))
    A, B = (_one_hot(part, inputs.layout.categories) for part in (Z[rows], X))
    mean = A.mean(axis=0)
    scale = np.maximum(A.std(axis=0), 1e-6)
    A, B = ((part - mean) / scale for part in (A, B))
    counts = np.ones(len(rows)) if weights is None else weights[rows]
    counts = counts / counts.mean()
    if isinstance(output, Regression):
        return {"value": _ridge(A, target[rows], counts, B)}
    return {"probabilities": _logistic(A, target[rows], counts, len(output.classes), B)}


def _one_hot(X: Array, categories: tuple[int, ...]) -> Floats:
    """Return encoded rows with an input for each category instead of codes."""
    first = X.shape[1] - len(categories)
    parts = [X[:, :first].astype(np.float64)]
    for column, size in enumerate(categories, first):
        parts.append((X[:, column : column + 1] == np.arange(size)).astype(np.float64))
    return np.concatenate(parts, axis=1)


def _ridge(A: Floats, target: Floats, counts: Floats, B: Floats) -> Floats:
    """Return the predictions for B (n, D), fitted to A (m, D) and targets (m,)."""
    mean = np.average(target, weights=counts)
    center = np.average(A, axis=0, weights=counts)
    A, B = A - center, B - center
    gram = (A * counts[:, None]).T @ A + PENALTY * np.eye(A.shape[1])
    moments = A.T @ (counts * (target - mean))
    predictions: Floats = B @ np.linalg.solve(gram, moments) + mean
    # As the network: no further out than the training targets.
    low, high = target.min(), target.max()
    clipped: Floats = np.clip(predictions, low, high)
    return clipped


def _logistic(
    A: Floats, target: NDArray[Any], counts: Floats, classes: int, B: Floats
) -> Floats:
    """Return probabilities (n, C) for B (n, D), fitted to A (m, D) and classes (m,)."""
    m = len(A)
    A, B = (np.column_stack([part, np.ones(len(part))]) for part in (A, B))
    truth = np.eye(classes)[target]
    penalty = np.append(np.full(A.shape[1] - 1, PENALTY / m), 0.0)[:, None]
    # The curvature of the loss is at most half of that of the squares of the inputs.
    step = 1.0 / (0.5 * _largest_eigenvalue(A, counts) / m + PENALTY / m)
    W = np.zeros((A.shape[1], classes))
    ahead, momentum = W, 1.0
    for _ in range(STEPS):
        errors = (_softmax(A @ ahead) - truth) * counts[:, None]
        after = ahead - step * (A.T @ errors / m + penalty * ahead)
        faster = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = after + (momentum - 1.0) / faster * (after - W)
        W, momentum = after, faster
    return _softmax(B @ W)


def _largest_eigenvalue(A: Floats, counts: Floats) -> float:
    """Return the largest eigenvalue of AᵀA with weights, by power iteration."""
    v = np.ones(A.shape[1])
    for _ in range(30):
        v = A.T @ (counts * (A @ (v / np.linalg.norm(v))))
    return 1.1 * float(np.linalg.norm(v))


def _softmax(Z: Floats) -> Floats:
    P: Floats = np.exp(Z - Z.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    return P

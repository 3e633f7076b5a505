"""Two simple models to compare with: a constant, and a linear model.

The constant is the mean of the training target, or the shares of its classes. The
linear model is fitted to the encoded columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.inputs import Inputs
from models.features.predictions import Output, Predictions, Regression
from models.types import Array
from trainer.evaluation.linear_model import fit_linear, one_hot, softmax


def constant(
    output: Output, target: NDArray[Any], weights: Floats | None, n: int
) -> Predictions:
    """Return n equal predictions, from training targets (m,) and weights (m,)."""
    if isinstance(output, Regression):
        return {"value": np.full(n, np.average(target, weights=weights))}
    counts = np.bincount(target, weights, len(output.classes)) + 1.0 / len(target)
    return {"probabilities": np.tile(counts / counts.sum(), (n, 1))}


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
    encoded, target, weights = train
    categories = inputs.layout.categories
    model = fit_linear(output, encoded, categories, target, weights)
    if model is None:
        return None
    Z = model.predict(one_hot(X, categories))
    if isinstance(output, Regression):
        # As the network: no further out than the training targets.
        return {"value": np.clip(Z[:, 0], target.min(), target.max())}
    return {"probabilities": softmax(Z)}

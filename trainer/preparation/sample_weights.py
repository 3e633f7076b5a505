"""The weight of a row in the loss: its own weight times the weight of its class.

A row of weight 2 counts as two equal rows would. Both kinds of weight apply to the
training loss and to the validation loss, so that the chosen epoch is the best for what
is minimised. Metrics use the rows' own weights alone: those say how much of the world a
row stands for, while class weights only say which mistakes training should avoid, and
metrics under different class weights could not be compared.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, nearest
from models.features.columns import Floats
from models.features.predictions import Output
from models.types import Array
from trainer.types import Targets, Weights

ClassWeights = Literal["balanced"] | dict[str, float] | None


def resolve_class_weights(
    setting: ClassWeights, output: Output, target: NDArray[Any], weights: Floats | None
) -> Floats | None:
    """Return the weight of each class (C,), or None if classes are not weighted.

    `target` (n,) and `weights` (n,) are those of the training rows. Balanced weights
    are n / (C n_c) (King and Zeng 2001, "Logistic regression in rare events data"),
    with rows counted by their weights. A class without a row, or without an entry in
    the setting, has weight 1. Raises ConfigError for an unknown class, or if the target
    is a number.
    """
    if setting is None:
        return None
    if not output.classes:
        raise ConfigError(
            "train.class_weights needs a target of classes, and this one is a number"
        )
    if setting == "balanced":
        counts = np.bincount(target, weights, len(output.classes)).astype(float)
        balanced = np.ones(len(counts))
        np.divide(counts.sum() / len(counts), counts, out=balanced, where=counts > 0)
        return balanced
    names = output.class_names
    for name in setting:
        if name not in names:
            raise ConfigError(
                f"train.class_weights: there is no class '{name}'{nearest(name, names)}"
            )
    return np.array([setting.get(name, 1.0) for name in names])


def describe_class_weights(output: Output, class_weights: Floats) -> str:
    """Return a sentence with the weights (C,) of the first classes."""
    shown = [
        f"{name} {weight:.3g}"
        for name, weight in zip(output.class_names[:6], class_weights, strict=False)
    ]
    more = ", …" if len(class_weights) > len(shown) else ""
    return f"class weights {', '.join(shown)}{more}: as given"


def scaled_weights(
    target: Targets, class_weights: Floats | None, weights: Floats | None
) -> Array | None:
    """Return the weight of each row (n,), 1 on average, or None if all are equal."""
    combined = row_weights(target, class_weights, weights)
    if combined is None or not len(combined):
        return None
    # A weight that is too small for float32 is still above 0.
    tiny = np.finfo(np.float32).tiny
    scaled: Array = np.maximum(combined / combined.mean(), tiny).astype(np.float32)
    return scaled


def row_weights(
    T: Targets, class_weights: Array | None, sample_weights: Weights
) -> Weights:
    """Return each row's weight (n,): its own times that of its class (C,)."""
    if class_weights is None:
        return sample_weights
    of_class = class_weights[T]
    return of_class if sample_weights is None else of_class * sample_weights

"""What a row counts: its own weight, times the weight of its class.

A row of weight 2 counts as two equal rows would. Both kinds weigh the loss that is
minimised and, alike, the validation loss that chooses the epoch: the best epoch is the
best for what is minimised. Figures are weighted by the rows' own weights alone. Those
say how much of the world a row stands for, and without them figures would be about
another world; class weights only say which mistakes the training should mind, and
figures under them could not be compared with those of another choice.
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


def of_classes(
    asked: ClassWeights, output: Output, target: NDArray[Any], weights: Floats | None
) -> Floats | None:
    """Return the weight of each class, from the targets that train, or None.

    Balanced is n / (C n_c) (King and Zeng 2001, "Logistic regression in rare events
    data"), with rows counted by their weights. A class that a table does not name has
    weight 1, and so has one without a row. ConfigError for a class there is not.
    """
    if asked is None:
        return None
    if not output.classes:
        raise ConfigError("train.class_weights is for classes, this target is a number")
    if asked == "balanced":
        counts = np.bincount(target, weights, len(output.classes)).astype(float)
        found = np.ones(len(counts))
        np.divide(counts.sum() / len(counts), counts, out=found, where=counts > 0)
        return found
    names = output.class_names
    for name in asked:
        if name not in names:
            raise ConfigError(
                f"train.class_weights: there is no class '{name}'{nearest(name, names)}"
            )
    return np.array([asked.get(name, 1.0) for name in names])


def reason(output: Output, classes: Floats) -> str:
    """Say what each class weighs; of many the first."""
    shown = [
        f"{name} {weight:.3g}"
        for name, weight in zip(output.class_names[:6], classes, strict=False)
    ]
    more = ", …" if len(classes) > len(shown) else ""
    return f"class weights {', '.join(shown)}{more}: as asked"


def of_rows(
    target: Targets, classes: Floats | None, weights: Floats | None
) -> Array | None:
    """Return what each row counts (n,), 1 on average, or None where all count alike."""
    found = row_weights(target, classes, weights)
    if found is None or not len(found):
        return None
    # What float32 has no number for is still more than nothing.
    tiny = np.finfo(np.float32).tiny
    counts: Array = np.maximum(found / found.mean(), tiny).astype(np.float32)
    return counts


def row_weights(
    T: Targets, class_weights: Array | None, sample_weights: Weights
) -> Weights:
    """Return one weight a row: its sample weight times the weight of its class."""
    if class_weights is None:
        return sample_weights
    of_class = class_weights[T]
    return of_class if sample_weights is None else of_class * sample_weights

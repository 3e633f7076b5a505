"""Set random units to zero while training, so that no unit is relied on alone.

Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
overfitting"; scaled by 1 / (1 - rate) while training, so `predict` changes nothing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from models.nn.layers.base import Layer, LayerSpec
from models.types import Array


class DropoutSpec(LayerSpec, tag="dropout", frozen=True):
    """Each unit is zero with probability `rate`."""

    rate: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]

    @classmethod
    def examples(cls, n_in: int) -> list[DropoutSpec]:
        return [cls(0.4)]

    def build(self) -> Dropout:
        return Dropout(self)


class Dropout(Layer):
    """Y = X * mask / (1 - rate) with a new mask (B, I) for each forward pass."""

    display_name: ClassVar[str] = "dropout"

    def __init__(self, spec: DropoutSpec) -> None:
        super().__init__()
        self.rate = spec.rate

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        self.active = training and self.rate > 0.0
        if not self.active:
            return X
        if rng is None:
            raise ValueError("dropout needs an rng in a training pass, for its mask")
        # One random byte a unit: the rate is exact to 1/256.
        dropped = min(round(256 * self.rate), 255)
        drawn = rng.bit_generator.random_raw(-(-X.size // 8)).view(np.uint8)
        self.mask = self._reuse("mask", X.shape, X.dtype)
        np.copyto(self.mask, drawn[: X.size].reshape(X.shape) >= dropped)
        self.mask *= 256.0 / (256 - dropped)
        return np.multiply(X, self.mask, out=self._reuse("Y", X.shape, X.dtype))

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        if not self.active:
            return dY
        return np.multiply(dY, self.mask, out=self._reuse("dX", dY.shape, dY.dtype))

    def predict(self, X: Array) -> Array:
        return X

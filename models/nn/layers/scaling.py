"""The scaling layer: Y = X * s, with a learned factor for each input.

The first layer of RealMLP (Holzmüller et al. 2024, arXiv 2407.04491, section 3): with
its own learning rate it is a soft selection of features.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from models.nn.layers.base import Layer, LayerSpec
from models.nn.layers.linear import Width
from models.types import Array


class ScalingSpec(LayerSpec, tag="scaling", frozen=True):
    """`n` inputs, each with a factor that starts at 1."""

    n: Width

    def width(self, n_in: int) -> int:
        if n_in != self.n:
            raise ValueError(f"a scaling layer of {self.n} inputs got {n_in}")
        return n_in

    @classmethod
    def examples(cls, n_in: int) -> list[ScalingSpec]:
        return [cls(n_in)]

    def build(self) -> Scaling:
        return Scaling(self)


class Scaling(Layer):
    """Y = X * s for X (B, I) and s (I,)."""

    display_name: ClassVar[str] = "scaling"

    def __init__(self, spec: ScalingSpec) -> None:
        super().__init__()
        self.parameter_shapes = ((spec.n,),)
        self.kinds = ("scale",)

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        (self.s,), (self.ds,) = parameters, gradients

    def initialize(self, rng: np.random.Generator) -> None:
        self.s[...] = 1.0

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        self.X = X
        Y = self._reuse("Y", X.shape, X.dtype)
        return np.multiply(X, self.s, out=Y)

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        if self.trained:
            np.einsum("bi,bi->i", dY, self.X, out=self.ds)
        dX = self._reuse("dX", dY.shape, dY.dtype)
        return np.multiply(dY, self.s, out=dX)

    def predict(self, X: Array) -> Array:
        Y: Array = X * self.s
        return Y

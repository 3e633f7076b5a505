"""The linear layer: Y = X W + b."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from models.nn.initializers import INITIALIZERS, Initializer
from models.nn.layers.base import Layer, LayerSpec
from models.types import Array

Width = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class LinearSpec(LayerSpec, tag="linear", frozen=True):
    """`n_in` inputs, `n_out` outputs, and the rule for the starting weights."""

    n_in: Width
    n_out: Width
    initializer: Initializer = "he"

    def width(self, n_in: int) -> int:
        if n_in != self.n_in:
            raise ValueError(f"a linear layer of {self.n_in} inputs got {n_in}")
        return self.n_out

    @classmethod
    def examples(cls, n_in: int) -> list[LinearSpec]:
        return [cls(n_in, 4)]

    def build(self) -> Linear:
        return Linear(self)


class Linear(Layer):
    """Y = X W + b with W (I, O) and b (O,); biases start at 0."""

    display_name: ClassVar[str] = "linear"

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.spec = spec
        self.parameter_shapes = ((spec.n_in, spec.n_out), (spec.n_out,))
        self.kinds = ("weight", "bias")

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        self.W, self.b = parameters
        self.dW, self.db = gradients

    def initialize(self, rng: np.random.Generator) -> None:
        INITIALIZERS[self.spec.initializer](self.W, rng)
        self.b[...] = 0.0

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        self.X = X
        Y = self._reuse("Y", (len(X), self.spec.n_out), X.dtype)
        np.dot(X, self.W, out=Y)  # (B, I) @ (I, O)
        Y += self.b
        return Y

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        if self.trained:
            np.dot(self.X.T, dY, out=self.dW)  # (I, B) @ (B, O)
            np.dot(self._ones(dY), dY, out=self.db)  # (B,) @ (B, O)
        if not input_gradient:
            return dY
        dX = self._reuse("dX", self.X.shape, dY.dtype)
        return np.dot(dY, self.W.T, out=dX)  # (B, O) @ (O, I)

    def predict(self, X: Array) -> Array:
        Y: Array = X @ self.W
        Y += self.b
        return Y

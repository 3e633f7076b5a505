"""Batch normalization (Ioffe and Szegedy 2015, algorithms 1 and 2).

Every unit gets mean 0 and variance 1, then a learned gain and bias. The statistics are
those of the batch while training, and running averages, stored in the artefact, when
answering.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from models.nn.layers.base import Layer, LayerSpec
from models.nn.layers.linear import Width
from models.types import Array


class BatchNormSpec(LayerSpec, tag="batch_norm", frozen=True):
    """`n` units; each batch moves the running statistics by `momentum`."""

    n: Width
    momentum: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.1
    epsilon: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1e-5

    def width(self, n_in: int) -> int:
        if n_in != self.n:
            raise ValueError(f"batch normalization of {self.n} units got {n_in} inputs")
        return n_in

    @classmethod
    def examples(cls, n_in: int) -> list[BatchNormSpec]:
        return [cls(n_in)]

    def build(self) -> BatchNorm:
        return BatchNorm(self)


class BatchNorm(Layer):
    """Y = gamma * (X - mean) / sqrt(variance + epsilon) + beta with X, Y (B, O)."""

    display_name: ClassVar[str] = "batch norm"

    def __init__(self, spec: BatchNormSpec) -> None:
        super().__init__()
        self.spec = spec
        self.parameter_shapes = ((spec.n,), (spec.n,))
        self.kinds = ("gain", "bias")
        self.state_shapes = ((spec.n,), (spec.n,))

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        self.gamma, self.beta = parameters
        self.dgamma, self.dbeta = gradients
        self.running_mean, self.running_variance = state

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = 1.0
        self.beta[...] = 0.0
        self.running_mean[...] = 0.0
        self.running_variance[...] = 1.0

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        # A single row has no variance: use the running statistics.
        self.batch_statistics = training and len(X) > 1
        mean = X.mean(axis=0) if self.batch_statistics else self.running_mean
        self.Xhat = np.subtract(X, mean, out=self._reuse("Xhat", X.shape, X.dtype))
        variance = self.running_variance
        if self.batch_statistics:
            variance = np.einsum("bi,bi->i", self.Xhat, self.Xhat) / len(X)
            self._update_running(mean, variance * (len(X) / (len(X) - 1)))
        self.scale = 1.0 / np.sqrt(variance + X.dtype.type(self.spec.epsilon))
        self.Xhat *= self.scale
        Y = self._reuse("Y", X.shape, X.dtype)
        np.multiply(self.Xhat, self.gamma, out=Y)
        Y += self.beta
        return Y

    def _update_running(self, mean: Array, unbiased_variance: Array) -> None:
        momentum = self.gamma.dtype.type(self.spec.momentum)
        self.running_mean += momentum * (mean - self.running_mean)
        self.running_variance += momentum * (unbiased_variance - self.running_variance)

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        if self.trained:
            np.einsum("bi,bi->i", dY, self.Xhat, out=self.dgamma)
            np.sum(dY, axis=0, out=self.dbeta)
        dX = self._reuse("dX", dY.shape, dY.dtype)
        if self.batch_statistics:
            # Mean and variance depend on X too: subtract their part.
            np.multiply(self.Xhat, self.dgamma / -len(dY), out=dX)
            dX -= self.dbeta / len(dY)
            dX += dY
            dX *= self.gamma * self.scale
        else:
            np.multiply(dY, self.gamma * self.scale, out=dX)
        return dX

    def predict(self, X: Array) -> Array:
        scale = self.gamma / np.sqrt(
            self.running_variance + X.dtype.type(self.spec.epsilon)
        )
        Y: Array = (X - self.running_mean) * scale
        Y += self.beta
        return Y

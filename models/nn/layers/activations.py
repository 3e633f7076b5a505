"""Activation functions, and the layer that applies one to every unit.

To add a function, add a class below, its name to `Function`, and both to `FUNCTIONS`.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
import numpy as np

from models.nn.layers.base import Layer, LayerSpec
from models.types import Array

Function: TypeAlias = Literal[
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
    "gelu",
    "mish",
    "softmax",
]

# Klambauer et al. 2017, "Self-normalizing neural networks", section 2: the fixed
# point of zero mean and unit variance.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
LEAK = 0.01
#: Above it mish(z) equals z in float32, and e^2z does not overflow yet.
MISH_LIMIT = 20.0
# Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2: the tanh form,
# since NumPy has no error function.
GELU_SLOPE = math.sqrt(2.0 / math.pi)
GELU_CUBIC = 0.044715


class ActivationFunction:
    """A function of each unit, and its derivative.

    All arrays are (B, O), or (E, B, O) for E networks. Every function is stable for any
    finite Z.
    """

    #: Points of a path at which the derivative is needed to integrate it: more of one
    #: that jumps, as at the kink of ReLU, and the more the further it jumps.
    path_points: ClassVar[int] = 32

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        """Fill A (B, O) with a(Z), and `cache` (B, O) with what `backward` needs."""
        raise NotImplementedError

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        """Fill dZ (B, O) with dA (B, O) times the derivative.

        It reads the derivative from Z, A or `cache`, whichever is cheapest.
        """
        raise NotImplementedError


class Identity(ActivationFunction):
    """a = z"""

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        A[...] = Z

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        dZ[...] = dA


class Sigmoid(ActivationFunction):
    """a = 1 / (1 + e^-z), without overflow"""

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        # sigmoid(z) = (1 + tanh(z / 2)) / 2, and tanh saturates instead of overflowing.
        np.multiply(Z, 0.5, out=A)
        np.tanh(A, out=A)
        A += 1.0
        A *= 0.5

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        np.subtract(1.0, A, out=dZ)
        dZ *= A
        dZ *= dA


class Tanh(ActivationFunction):
    """a = tanh z"""

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        np.tanh(Z, out=A)

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        np.multiply(A, A, out=dZ)
        np.subtract(1.0, dZ, out=dZ)
        dZ *= dA


class ReLU(ActivationFunction):
    """a = max(0, z)"""

    path_points = 256

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        np.maximum(Z, 0.0, out=A)

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        np.multiply(dA, Z > 0.0, out=dZ)


class LeakyReLU(ActivationFunction):
    """a = z where z > 0, else 0.01 z"""

    path_points = 256

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        np.multiply(Z, LEAK, out=A)
        np.maximum(Z, A, out=A)

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        np.multiply(dA, np.where(Z > 0.0, Z.dtype.type(1), Z.dtype.type(LEAK)), out=dZ)


class SELU(ActivationFunction):
    """a = scale * (z where z > 0, else alpha (e^z - 1))"""

    path_points = 128

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        # expm1 would be more exact near 0, but takes half as long as the rest of a
        # training step.
        np.minimum(Z, 0.0, out=A)
        np.exp(A, out=A)
        A -= 1.0
        A *= SELU_ALPHA
        A += np.maximum(Z, 0.0, out=cache)
        A *= SELU_SCALE

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        # Below zero the slope is scale * alpha * e^z = a + scale * alpha, else scale.
        np.minimum(A, 0.0, out=dZ)
        dZ += SELU_SCALE * SELU_ALPHA
        dZ -= np.multiply(Z > 0.0, SELU_SCALE * (SELU_ALPHA - 1.0), dtype=Z.dtype)
        dZ *= dA


class GELU(ActivationFunction):
    """a = z/2 * (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))); the cache is the tanh"""

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        Zc = np.clip(Z, -1e3, 1e3)
        np.tanh(GELU_SLOPE * (Zc + GELU_CUBIC * Zc * Zc * Zc), out=cache)
        A[...] = 0.5 * Z * (1.0 + cache)

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        T = cache
        # For large |z|, T is exactly 1 or -1 and the second term is 0 * z^2: clip z, so
        # that its square does not overflow to 0 * inf.
        Zc = np.clip(Z, -1e3, 1e3)
        slope = GELU_SLOPE * (1.0 + 3.0 * GELU_CUBIC * Zc * Zc)
        dZ[...] = dA * (0.5 * (1.0 + T) + 0.5 * Zc * (1.0 - T * T) * slope)


class Mish(ActivationFunction):
    """a = z t with t = tanh(log(1 + e^z)) (Misra 2019, "Mish", equation 1)

    With n = e^z (e^z + 2), t = n / (n + 2): one exponential, which is the cache, and no
    logarithm. The derivative is t + z (1 - t^2) s = t + (z - a t) s with s = e^z / (e^z
    + 1), the derivative of log(1 + e^z).
    """

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        E = np.exp(np.minimum(Z, MISH_LIMIT, out=cache), out=cache)
        Mish._t(E, A)
        A *= Z

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        t = np.empty_like(Z)
        Mish._t(cache, t)
        np.multiply(A, t, out=dZ)
        np.subtract(Z, dZ, out=dZ)
        dZ *= cache
        dZ /= cache + 1.0
        dZ += t
        dZ *= dA

    @staticmethod
    def _t(E: Array, out: Array) -> None:
        np.add(E, 2.0, out=out)
        out *= E
        out /= out + 2.0


class Softmax(ActivationFunction):
    """a_i = e^z_i / sum_j e^z_j over the row; its derivative is a full matrix"""

    @staticmethod
    def forward(Z: Array, A: Array, cache: Array) -> None:
        np.subtract(Z, Z.max(axis=-1, keepdims=True), out=A)
        np.exp(A, out=A)
        A /= A.sum(axis=-1, keepdims=True)

    @staticmethod
    def backward(dA: Array, Z: Array, A: Array, cache: Array, dZ: Array) -> None:
        np.multiply(dA, A, out=dZ)
        dZ -= A * dZ.sum(axis=-1, keepdims=True)


FUNCTIONS: dict[Function, type[ActivationFunction]] = {
    "identity": Identity,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "selu": SELU,
    "gelu": GELU,
    "mish": Mish,
    "softmax": Softmax,
}


class ActivationSpec(LayerSpec, tag="activation", frozen=True):
    """One function for every unit.

    With `slopes` = n, each of the n units learns how much of it to apply.
    """

    function: Function
    slopes: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0

    def width(self, n_in: int) -> int:
        if self.slopes not in (0, n_in):
            raise ValueError(f"an activation of {self.slopes} units got {n_in} inputs")
        return n_in

    @classmethod
    def examples(cls, n_in: int) -> list[ActivationSpec]:
        return [cls(name, slopes) for name in FUNCTIONS for slopes in (0, n_in)]

    def build(self) -> Activation:
        return Activation(self)


class Activation(Layer):
    """A = a(Z), or Z + r (a(Z) − Z) with a learned r (O,) that starts at 1.

    The second form is RealMLP's parametric activation (arXiv 2407.04491, appendix A);
    X, Z, A and the output are (B, O).
    """

    display_name: ClassVar[str] = "activation"

    def __init__(self, spec: ActivationSpec) -> None:
        super().__init__()
        self.function = FUNCTIONS[spec.function]
        self.parametric = bool(spec.slopes)
        if self.parametric:
            self.parameter_shapes = ((spec.slopes,),)
            self.kinds = ("slope",)

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        (self.r,), (self.dr,) = parameters, gradients

    def initialize(self, rng: np.random.Generator) -> None:
        if self.parametric:
            self.r[...] = 1.0

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        self.Z = X
        self.A = self._reuse("A", X.shape, X.dtype)
        self.cache = self._reuse("cache", X.shape, X.dtype)
        self.function.forward(X, self.A, self.cache)
        if not self.parametric:
            return self.A
        self.bend = self._reuse("bend", X.shape, X.dtype)
        np.subtract(self.A, X, out=self.bend)
        Y = self._reuse("Y", X.shape, X.dtype)
        np.multiply(self.bend, self.r, out=Y)
        Y += X
        return Y

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        dZ = self._reuse("dZ", dY.shape, dY.dtype)
        if not self.parametric:
            self.function.backward(dY, self.Z, self.A, self.cache, dZ)
            return dZ
        if self.trained:
            self.bend *= dY
            np.dot(self._ones(dY), self.bend, out=self.dr)
        taken = np.multiply(dY, self.r, out=self.bend)
        self.function.backward(taken, self.Z, self.A, self.cache, dZ)
        taken -= dY
        dZ -= taken
        return dZ

    def predict(self, X: Array) -> Array:
        A = np.empty_like(X)
        self.function.forward(X, A, np.empty_like(X))
        if self.parametric:
            A -= X
            A *= self.r
            A += X
        return A

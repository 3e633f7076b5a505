"""Embeddings of the columns of a table.

A number x becomes (x, V cos(2π w x + b) + c): the number, and a mixture of waves with
learned frequencies (periodic embeddings: Gorishniy et al. 2022, arXiv 2203.05556; this
form is PBLD of RealMLP, arXiv 2407.04491, appendix A). A category of many values
becomes a learned vector of `category_width` numbers, an unknown one the zero vector.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.nn.layers.base import Kind, Layer, LayerSpec
from models.nn.layers.linear import Width
from models.types import Array

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]

TURN = 2.0 * math.pi
#: Standard deviations of the starting frequencies, from the first wave of a number to
#: its last: slow waves are nearly straight lines, fast ones separate neighbouring
#: values, as a tree does. RealMLP uses 0.1 for all.
SLOWEST, FASTEST = 0.05, 10.0


class EmbeddingsSpec(LayerSpec, tag="embeddings", frozen=True):
    """Inputs in this order: numbers, plain features, codes of wide categories.

    `categories` are the numbers of known values; any other code, such as -1, is an
    unknown value.
    """

    numbers: Count
    plain: Count
    categories: tuple[Width, ...] = ()
    frequencies: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    number_width: Annotated[int, msgspec.Meta(ge=2, le=64)] = 4
    category_width: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8

    def width(self, n_in: int) -> int:
        expected = self.numbers + self.plain + len(self.categories)
        if n_in != expected:
            raise ValueError(f"embeddings of {expected} inputs got {n_in}")
        return (
            self.numbers * self.number_width
            + self.plain
            + len(self.categories) * self.category_width
        )

    @classmethod
    def examples(cls, n_in: int) -> list[EmbeddingsSpec]:
        return [cls(n_in - 3, 1, (2, 3)), cls(n_in, 0), cls(0, n_in - 1, (2,))]

    def sources(self) -> list[int]:
        """Return, for each output, the index of its input."""
        widths = [self.number_width] * self.numbers + [1] * self.plain
        widths += [self.category_width] * len(self.categories)
        return [index for index, width in enumerate(widths) for _ in range(width)]

    def build(self) -> Embeddings:
        return Embeddings(self)


def _spread(fastest: float, count: int) -> NDArray[np.float64]:
    return np.geomspace(SLOWEST, fastest, count)


class Embeddings(Layer):
    """X (B, I) → Y (B, O) with parameters w, b (k, F), V (k, F, W - 1), c (k, W - 1),
    for k numbers, and one E (n, D) for each category.
    """

    display_name: ClassVar[str] = "embeddings"

    def __init__(self, spec: EmbeddingsSpec) -> None:
        super().__init__()
        self.spec = spec
        k, F, waves = spec.numbers, spec.frequencies, spec.number_width - 1
        D = spec.category_width
        curves = ((k, F), (k, F), (k, F, waves), (k, waves)) if k else ()
        points = tuple((n, D) for n in spec.categories)
        self.parameter_shapes = (*curves, *points)
        kinds: list[Kind] = ["wave" for _ in curves]
        kinds += ["embedding" for _ in points]
        self.kinds = tuple(kinds)
        self.n_out = spec.width(k + spec.plain + len(spec.categories))
        # `bind` is not called if there are only plain features.
        self.E: list[Array] = []
        self.dE: list[Array] = []

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        split = 4 if self.spec.numbers else 0
        if split:
            self.w, self.b, self.V, self.c = parameters[:4]
            self.dw, self.db, self.dV, self.dc = gradients[:4]
        self.E, self.dE = parameters[split:], gradients[split:]

    def initialize(self, rng: np.random.Generator) -> None:
        if self.spec.numbers:
            bound = 1.0 / math.sqrt(self.spec.frequencies)
            spread = _spread(FASTEST, self.spec.frequencies)
            self.w[...] = spread * rng.standard_normal(self.w.shape)
            self.b[...] = rng.uniform(-math.pi, math.pi, self.b.shape)
            self.V[...] = rng.uniform(-bound, bound, self.V.shape)
            self.c[...] = rng.uniform(-bound, bound, self.c.shape)
        for E in self.E:
            E[...] = rng.standard_normal(E.shape)

    def slow_down(self, fastest: float) -> None:
        """Scale the starting frequencies: `fastest` is the spread of the last wave."""
        if self.spec.numbers:
            count = self.spec.frequencies
            self.w *= _spread(fastest, count) / _spread(FASTEST, count)

    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        self.X = X
        Y = self._reuse("Y", (len(X), self.n_out), X.dtype)
        k = self.spec.numbers
        if k:
            self.x = np.ascontiguousarray(X[:, :k].T)  # (k, B)
            shape = (len(X) * k, self.spec.frequencies)
            self.turns = self._reuse("turns", shape, X.dtype).reshape(
                k, len(X), self.spec.frequencies
            )
            self.cos = self._reuse("cos", shape, X.dtype).reshape(self.turns.shape)
            self._turns(self.x, self.turns)
            np.cos(self.turns, out=self.cos)
            self._write_numbers(X, self.cos, Y)
        self.codes = self._write_rest(X, Y)
        return Y

    # For E networks, the parameters and Y have one more axis in front; X has not.

    def _turns(self, x: Array, out: Array) -> None:
        np.multiply(x[:, :, None], (self.w * TURN)[..., None, :], out=out)
        out += self.b[..., None, :]

    def _write_numbers(self, X: Array, cos: Array, Y: Array) -> None:
        k, W = self.spec.numbers, self.spec.number_width
        out = Y[..., : k * W].reshape(*Y.shape[:-1], k, W)
        out[..., 0] = X[:, :k]
        mixed = np.matmul(cos, self.V)  # (k, B, F) @ (k, F, W - 1)
        mixed += self.c[..., None, :]
        out[..., 1:] = mixed.swapaxes(-3, -2)

    def _write_rest(self, X: Array, Y: Array) -> list[NDArray[np.intp]]:
        spec = self.spec
        at, D = spec.numbers * spec.number_width, spec.category_width
        stop = spec.numbers + spec.plain
        Y[..., at : at + spec.plain] = X[:, spec.numbers : stop]
        at += spec.plain
        codes = []
        for number, E in enumerate(self.E):
            code = X[:, stop + number].astype(np.intp)
            code[(code < 0) | (code >= E.shape[-2])] = -1
            Y[..., at : at + D] = E[..., code, :]
            Y[..., code < 0, at : at + D] = 0.0
            codes.append(code)
            at += D
        return codes

    def backward(self, dY: Array, input_gradient: bool) -> Array:
        spec = self.spec
        dX = dY
        if input_gradient:
            dX = self._reuse("dX", self.X.shape, dY.dtype)
            dX[...] = 0.0
        k, W, D = spec.numbers, spec.number_width, spec.category_width
        if k:
            dnumbers = dY[:, : k * W].reshape(len(dY), k, W)
            dx = self._backward_numbers(dnumbers)
            if input_gradient:
                dX[:, :k] = dnumbers[:, :, 0]
                dX[:, :k] += np.matmul(dx, (self.w * TURN)[:, :, None])[:, :, 0].T
        at = k * W
        if input_gradient:
            dX[:, k : k + spec.plain] = dY[:, at : at + spec.plain]
        at += spec.plain
        for code, dE in zip(self.codes, self.dE, strict=True):
            # A matrix product, so that the order of the sums is always the same.
            one_hot = np.zeros((len(dY), len(dE) + 1), dY.dtype)
            one_hot[np.arange(len(dY)), code] = 1.0  # unknown: the last, not used
            np.matmul(one_hot[:, :-1].T, dY[:, at : at + D], out=dE)
            at += D
        return dX

    def _backward_numbers(self, dnumbers: Array) -> Array:
        """Write the curves' gradients; return dLoss/dturns (k, B, F)."""
        dmixed = np.ascontiguousarray(dnumbers[:, :, 1:].transpose(1, 0, 2))
        np.matmul(self.cos.transpose(0, 2, 1), dmixed, out=self.dV)
        np.sum(dmixed, axis=1, out=self.dc)
        dturns = np.sin(self.turns, out=self.turns)
        # cos' = −sin: the sign is applied to the smaller array.
        dturns *= np.matmul(-dmixed, self.V.transpose(0, 2, 1), out=self.cos)
        both = np.ones((len(self.x), 2, len(dnumbers)), dnumbers.dtype)
        both[:, 0] = self.x
        dw_db = np.matmul(both, dturns)  # (k, 2, B) @ (k, B, F)
        np.multiply(dw_db[:, 0], TURN, out=self.dw)
        self.db[...] = dw_db[:, 1]
        return dturns

    def predict(self, X: Array) -> Array:
        k, F = self.spec.numbers, self.spec.frequencies
        several = (self.w if k else self.E[0]).shape[:-2] if k or self.E else ()
        Y = np.empty((*several, len(X), self.n_out), X.dtype)
        if k:
            x = np.ascontiguousarray(X[:, :k].T)
            turns = np.empty((*several, k, len(X), F), X.dtype)
            self._turns(x, turns)
            self._write_numbers(X, np.cos(turns, out=turns), Y)
        self._write_rest(X, Y)
        return Y

"""Layers in a row over one flat parameter vector.

    X ── layer ── layer ── … ── Z        forward: each keeps what backward needs
    dX ─ layer ── layer ── … ── dZ       backward: the chain rule, right to left

`forward` and `backward` are for training and for looking inside; `predict` is the
lean pass for answering. The last layer gives logits (or a standardised target): the
loss and the output's decoding take it from there, where both are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from models.nn.layers import AnyLayerSpec, Layer, build
from models.nn.layers.base import Kind
from models.nn.layers.linear import Width
from models.types import Array, Shape

#: Rows that `predict` takes at once, so that its memory does not grow with the table.
CHUNK = 8192
#: Layers a manifest may name: far more than anyone trains, few enough to make.
MAX_LAYERS = 1024


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network without its numbers: inputs and layers, as in the manifest."""

    n_in: Width
    layers: Annotated[tuple[AnyLayerSpec, ...], msgspec.Meta(max_length=MAX_LAYERS)]

    @property
    def n_out(self) -> int:
        """The number of outputs; ValueError where two layers do not fit together."""
        width = self.n_in
        for layer in self.layers:
            width = layer.width(width)
        return width


class ParameterBlock(NamedTuple):
    """Where one layer's numbers lie in the flat vectors, and what people call it."""

    name: str
    slice: slice
    kind: Kind
    shape: Shape


class Network:
    """The layers of a spec with their numbers.

    `parameters`, `gradients` and `state` are flat vectors; the layers hold reshaped
    views of them, so writing to a vector is writing to the layers. Raises ValueError
    when the layers of the spec do not fit together.
    """

    def __init__(self, spec: NetworkSpec, dtype: Any = np.float32) -> None:
        self.spec = spec
        self.n_out = spec.n_out
        self.layers: list[Layer] = [build(layer) for layer in spec.layers]
        n_parameters, n_state = count_parameters(spec)
        self.bind(
            np.zeros(n_parameters, dtype),  # parameters
            np.zeros(n_parameters, dtype),  # gradients
            np.zeros(n_state, dtype),
        )

    @classmethod
    def from_arrays(cls, spec: NetworkSpec, parameters: Array, state: Array) -> Network:
        """Make a network for answering over these vectors, without a copy.

        It cannot be trained: writing to its numbers is an error, and `backward` gives
        the input's gradient alone.
        """
        parameters, state = parameters.view(), state.view()
        parameters.flags.writeable = state.flags.writeable = False
        # Its gradients need no memory of their own: nobody can write to them.
        network = cls._over(spec, parameters, parameters, state)
        for layer in network.layers:
            layer.trained = False
        return network

    @classmethod
    def _over(
        cls, spec: NetworkSpec, parameters: Array, gradients: Array, state: Array
    ) -> Network:
        network = cls.__new__(cls)
        network.spec, network.n_out = spec, spec.n_out
        network.layers = [build(layer) for layer in spec.layers]
        network.bind(parameters, gradients, state)
        return network

    def bind(self, parameters: Array, gradients: Array, state: Array) -> None:
        """Take these flat vectors for its own, with the numbers they hold."""
        self.parameters, self.gradients, self.state = parameters, gradients, state
        self.blocks: list[ParameterBlock] = []
        at = at_state = 0
        for number, layer in enumerate(self.layers, 1):
            start = at
            for shape, kind in zip(layer.parameter_shapes, layer.kinds, strict=True):
                here = slice(at, at + math.prod(shape))
                name = f"layer {number} ({layer.title})"
                self.blocks.append(ParameterBlock(name, here, kind, shape))
                at = here.stop
            trained = split_views(parameters, start, layer.parameter_shapes)
            slopes = split_views(gradients, start, layer.parameter_shapes)
            measured = split_views(state, at_state, layer.state_shapes)
            at_state += sum(view.size for view in measured)
            if trained:
                layer.bind(trained, slopes, measured)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw starting weights, layer by layer, from `rng`."""
        for layer in self.layers:
            layer.initialize(rng)

    def forward(
        self,
        X: Array,
        training: bool = False,
        rng: np.random.Generator | None = None,
    ) -> Array:
        """Return the outputs (B, O) for X (B, I), keeping what `backward` needs.

        The result is overwritten by the next pass.
        """
        for layer in self.layers:
            X = layer.forward(X, training, rng)
        return X

    def backward(self, dZ: Array, input_gradient: bool = False) -> Array:
        """Fill `gradients` from dLoss/dOutput (B, O) of the last `forward`.

        Returns dLoss/dX (B, I) when `input_gradient` is set, else nothing of use.
        """
        first = self.layers[0]
        for layer in reversed(self.layers):
            dZ = layer.backward(dZ, input_gradient or layer is not first)
        return dZ

    def predict(self, X: Array) -> Array:
        """Return the outputs (B, O) for X (B, I) as in service; keeps nothing."""
        if len(X) <= CHUNK:
            return self._predict(X)
        Z = np.empty((len(X), self.n_out), X.dtype)
        for start in range(0, len(X), CHUNK):
            Z[start : start + CHUNK] = self._predict(X[start : start + CHUNK])
        return Z

    def _predict(self, X: Array) -> Array:
        for layer in self.layers:
            X = layer.predict(X)
        return X


def split_views(numbers: Array, at: int, shapes: Sequence[Shape]) -> list[Array]:
    """Return views of a flat vector (N,) from `at`, one behind the other.

    Of vectors (E, N) they have that axis in front; a number a unit, (n,), is (E, 1, n):
    the same for every row.
    """
    front = numbers.shape[:-1]
    views = []
    for shape in shapes:
        stop = at + math.prod(shape)
        whole = (1, *shape) if front and len(shape) == 1 else shape
        views.append(numbers[..., at:stop].reshape(*front, *whole))
        at = stop
    return views


def count_parameters(spec: NetworkSpec) -> tuple[int, int]:
    """Return the lengths of the parameter and the state vector, allocating nothing."""

    def count(shapes: Sequence[Shape]) -> int:
        return sum(math.prod(shape) for shape in shapes)

    layers = [build(layer) for layer in spec.layers]
    return (
        sum(count(layer.parameter_shapes) for layer in layers),
        sum(count(layer.state_shapes) for layer in layers),
    )

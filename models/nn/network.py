"""A sequence of layers over one flat parameter vector.

    X ── layer ── layer ── … ── Z        forward: each layer saves what backward needs
    dX ─ layer ── layer ── … ── dZ       backward: the chain rule, right to left

Training and explanations use `forward` and `backward`; serving uses `predict`, which
saves nothing. The last layer gives logits, or a standardised target, and the loss and
the output's decoding start from those, since both are exact there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from models.nn.layers import AnyLayerSpec, Layer
from models.nn.layers.base import Kind
from models.nn.layers.linear import Width
from models.types import Array, Shape

#: `predict` takes this many rows at once, so its memory does not grow with the table.
CHUNK = 8192
#: The most layers in a manifest: far more than useful, few enough to build.
MAX_LAYERS = 1024


class NetworkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The description of a network, as in the manifest, without its parameters."""

    n_in: Width
    layers: Annotated[tuple[AnyLayerSpec, ...], msgspec.Meta(max_length=MAX_LAYERS)]

    @property
    def n_out(self) -> int:
        """The number of outputs; raises ValueError if layers do not fit together."""
        width = self.n_in
        for layer in self.layers:
            width = layer.width(width)
        return width


class ParameterBlock(NamedTuple):
    """One parameter of a layer: its name, place in the flat vector, kind and shape."""

    name: str
    slice: slice
    kind: Kind
    shape: Shape


class Network:
    """The layers of a spec with their parameters.

    `parameters` (N,), `gradients` (N,) and `state` (S,) are flat vectors; the layers
    hold reshaped views of them. Raises ValueError if the layers do not fit together.
    """

    def __init__(self, spec: NetworkSpec, dtype: Any = np.float32) -> None:
        self.spec = spec
        self.n_out = spec.n_out
        self.layers: list[Layer] = [layer.build() for layer in spec.layers]
        n_parameters, n_state = count_parameters(spec)
        self.bind(
            np.zeros(n_parameters, dtype),  # parameters
            np.zeros(n_parameters, dtype),  # gradients
            np.zeros(n_state, dtype),
        )

    @classmethod
    def from_arrays(cls, spec: NetworkSpec, parameters: Array, state: Array) -> Network:
        """Return a read-only network over `parameters` (N,) and `state` (S,), uncopied.

        It cannot be trained: its vectors cannot be written to, and `backward` returns
        only the gradient of the input. Raises ValueError if the layers do not fit.
        """
        parameters, state = parameters.view(), state.view()
        parameters.flags.writeable = state.flags.writeable = False
        # No layer writes gradients, so they need no memory.
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
        network.layers = [layer.build() for layer in spec.layers]
        network.bind(parameters, gradients, state)
        return network

    def bind(self, parameters: Array, gradients: Array, state: Array) -> None:
        """Use these flat vectors (N,), (N,) and (S,) from now on, with their values."""
        self.parameters, self.gradients, self.state = parameters, gradients, state
        self.blocks: list[ParameterBlock] = []
        at = at_state = 0
        for number, layer in enumerate(self.layers, 1):
            start = at
            for shape, kind in zip(layer.parameter_shapes, layer.kinds, strict=True):
                part = slice(at, at + math.prod(shape))
                name = f"layer {number} ({layer.display_name})"
                self.blocks.append(ParameterBlock(name, part, kind, shape))
                at = part.stop
            trained = split_views(parameters, start, layer.parameter_shapes)
            gradient_views = split_views(gradients, start, layer.parameter_shapes)
            measured = split_views(state, at_state, layer.state_shapes)
            at_state += sum(view.size for view in measured)
            if trained:
                layer.bind(trained, gradient_views, measured)

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
        """Return the outputs (B, O) for X (B, I), and save what `backward` needs.

        The next pass overwrites the result.
        """
        for layer in self.layers:
            X = layer.forward(X, training, rng)
        return X

    def backward(self, dZ: Array, input_gradient: bool = False) -> Array:
        """Fill `gradients` from dLoss/dOutput (B, O) of the last `forward`.

        Returns dLoss/dX (B, I) with `input_gradient`, else an undefined array.
        """
        first = self.layers[0]
        for layer in reversed(self.layers):
            dZ = layer.backward(dZ, input_gradient or layer is not first)
        return dZ

    def predict(self, X: Array) -> Array:
        """Return the outputs (B, O) for X (B, I), as in serving; saves nothing."""
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
    """Return consecutive views of a flat vector (N,), starting at index `at`.

    For E vectors (E, N), a view of `shape` is (E, *shape); that of a vector (n,) is
    (E, 1, n), so that it broadcasts over rows.
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
    """Return the lengths of the parameter and the state vector, without allocation."""

    def count(shapes: Sequence[Shape]) -> int:
        return sum(math.prod(shape) for shape in shapes)

    layers = [layer.build() for layer in spec.layers]
    return (
        sum(count(layer.parameter_shapes) for layer in layers),
        sum(count(layer.state_shapes) for layer in layers),
    )

"""The base classes of layers: a forward step and its derivative, side by side.

Shapes: B rows of the batch, I inputs, O outputs, E networks.

A layer allocates no parameters. The network splits one flat parameter vector, and a
gradient vector of the same shape, into views and passes them to `bind`. So an optimizer
makes one pass over one vector, and a snapshot is one copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec
import numpy as np

from models.types import Array, Shape


class LayerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The description of a layer, as in the manifest, without its parameters."""

    def width(self, n_in: int) -> int:
        """Return the number of outputs for `n_in` inputs.

        Raises ValueError if the layer takes another number of inputs.
        """
        return n_in

    @classmethod
    def examples(cls, n_in: int) -> Sequence[Self]:
        """Return small layers of this kind for `n_in` (5 or more) inputs.

        `trainer check-gradients` checks each of them, so that no layer is left out.
        """
        raise NotImplementedError(f"{cls.__name__} has no examples to check")

    def build(self) -> Layer:
        """Return the layer; its parameters come with `Layer.bind`."""
        raise NotImplementedError


Kind: TypeAlias = Literal[
    "weight", "bias", "gain", "scale", "slope", "wave", "embedding"
]


class Layer(ABC):
    """One differentiable step of a network.

    `forward` saves what `backward` needs and reuses its arrays, so the next `forward`
    overwrites what it returned. `predict` saves nothing and writes only to new arrays,
    so threads may share a layer.
    """

    #: Shapes of the parameters, in the order of the flat vector.
    parameter_shapes: tuple[Shape, ...] = ()
    #: The kind of each parameter; rates, decay and reports depend on it.
    kinds: tuple[Kind, ...] = ()
    #: Shapes of what is measured and not trained, such as running statistics.
    state_shapes: tuple[Shape, ...] = ()
    #: Whether `backward` writes parameter gradients. A loaded model needs only the
    #: gradient of its input.
    trained: bool = True
    #: The name of the layer in reports and messages.
    display_name: ClassVar[str] = "layer"

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        """Use these views as parameters, gradients and state.

        They have the shapes that the layer declares, such as (I, O); for stacked
        networks (E, I, O), and (E, 1, O) for a vector (O,).
        """
        return

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill parameters and state with their starting values, drawn from `rng`."""
        return

    @abstractmethod
    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        """Return the output (B, O) for X (B, I), and save what `backward` needs.

        `training` turns on dropout and batch statistics. Raises ValueError if a layer
        draws random numbers while training and `rng` is None.
        """

    @abstractmethod
    def backward(self, dY: Array, input_gradient: bool) -> Array:
        """Write the parameter gradients for dLoss/dY (B, O); return dLoss/dX (B, I).

        Without `input_gradient` the return value is undefined.
        """

    @abstractmethod
    def predict(self, X: Array) -> Array:
        """Return the output (B, O) for X (B, I), as `forward` without `training`.

        With the parameters of E networks (see `models.nn.stacked_networks`), it takes
        (B, I), or (E, B, I) from another layer, and returns (E, B, O).
        """

    def _reuse(self, name: str, shape: Shape, dtype: Any) -> Array:
        """Return an uninitialised array (*shape), in the same memory at each step."""
        buffer = self._arrays.get(name)
        if buffer is not None:
            if buffer.shape == shape:
                return buffer
            if buffer.shape[1:] == shape[1:] and len(buffer) >= shape[0]:
                return buffer[: shape[0]]
        buffer = self._arrays[name] = np.empty(shape, dtype)
        return buffer

    def _ones(self, dY: Array) -> Array:
        """Return ones (B,): times a matrix (B, O) they are its sums, by BLAS."""
        ones = self._arrays.get("ones")
        if ones is None or len(ones) != len(dY) or ones.dtype != dY.dtype:
            ones = self._arrays["ones"] = np.ones(len(dY), dY.dtype)
        return ones

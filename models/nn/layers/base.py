"""What every layer is: a forward step and its derivative, side by side.

Shapes in comments: B rows in the batch, I inputs, O outputs.

A layer owns no numbers of its own. The network cuts one flat parameter vector
(and a gradient vector of the same shape) into views and hands them to `bind`, so
that an optimizer is one pass over one vector, and a snapshot is one copy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec
import numpy as np

from models.types import Array, Shape


class LayerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a layer is, without its numbers: how it stands in the manifest."""

    def width(self, n_in: int) -> int:
        """Return the number of outputs for `n_in` inputs; ValueError if they clash."""
        return n_in

    @classmethod
    def examples(cls, n_in: int) -> Sequence[Self]:
        """Return small layers of this kind for `n_in` (5 or more) inputs.

        `trainer check-gradients` checks each of them, so that no layer is left out.
        """
        raise NotImplementedError(f"{cls.__name__} has no examples to check")


Kind: TypeAlias = Literal[
    "weight", "bias", "gain", "scale", "slope", "wave", "embedding"
]


class Layer(ABC):
    """One differentiable step of a network.

    `forward` keeps what `backward` needs and reuses its arrays from step to step:
    what it returns is overwritten by the next `forward`. `predict` keeps nothing
    and writes only to arrays of its own, so that threads may share a layer.
    """

    #: Shapes of the trained numbers, in the order they lie in the flat vector.
    parameter_shapes: tuple[Shape, ...] = ()
    #: What each of those is, for those who treat kinds apart (rates, decay, reports).
    kinds: tuple[Kind, ...] = ()
    #: Shapes of numbers that are measured, not trained (running statistics).
    state_shapes: tuple[Shape, ...] = ()
    #: Whether `backward` writes parameter gradients: in a finished model nobody reads
    #: them, and only the input's is asked for.
    trained: bool = True
    #: Kept for reading by people: what this layer is called in reports.
    title: ClassVar[str] = "layer"

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def bind(
        self, parameters: list[Array], gradients: list[Array], state: list[Array]
    ) -> None:
        """Take the views that hold this layer's numbers; many layers have none."""
        return

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill parameters and state with their starting values, if there are any."""
        return

    @abstractmethod
    def forward(
        self, X: Array, training: bool, rng: np.random.Generator | None
    ) -> Array:
        """Return the output (B, O) and keep what `backward` needs.

        `training` switches what differs between fitting and answering (dropout,
        batch statistics); `rng` draws what is random while training.
        """

    @abstractmethod
    def backward(self, dY: Array, input_gradient: bool) -> Array:
        """Take dLoss/dY (B, O), write parameter gradients, return dLoss/dX (B, I).

        With `input_gradient` False nobody reads dX and it need not be computed.
        """

    @abstractmethod
    def predict(self, X: Array) -> Array:
        """Return the output (B, O) as `forward` does when it is not training.

        Bound to the numbers of E networks (see `models.nn.stacked_networks`) it takes
        (B, I), or (E, B, I) from a layer before, and returns (E, B, O).
        """

    def _reuse(self, name: str, shape: Shape, dtype: Any) -> Array:
        """Return an uninitialised array of this shape, the same memory each step."""
        held = self._arrays.get(name)
        if held is not None:
            if held.shape == shape:
                return held
            if held.shape[1:] == shape[1:] and len(held) >= shape[0]:
                return held[: shape[0]]
        held = self._arrays[name] = np.empty(shape, dtype)
        return held

    def _ones(self, dY: Array) -> Array:
        """Return a one for each row: times a matrix they are its sums, by BLAS."""
        ones = self._arrays.get("ones")
        if ones is None or len(ones) != len(dY) or ones.dtype != dY.dtype:
            ones = self._arrays["ones"] = np.ones(len(dY), dY.dtype)
        return ones

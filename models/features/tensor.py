"""The tensor signature: every row is one array of fixed shape, named `x`."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.types import Array

#: Standard deviations beyond which a value is only "very far": what comes out of the
#: network stays finite.
FAR = 1e4

MAX_DIMENSIONS = 8
Dimension = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class TensorInput(
    msgspec.Struct,
    tag="tensor",
    tag_field="kind",
    forbid_unknown_fields=True,
    dict=True,
):
    """Rows of `shape` (without the batch), standardised for the network.

    An image has one scale for all its pixels, so that their relations survive; the
    columns of a matrix have nothing in common, and each has its own. `center` and
    `scale` are one number or one a feature: (x - center) * scale. What does not vary
    has scale 0.
    """

    shape: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]
    minimum: float
    maximum: float
    center: list[float]
    scale: list[float]

    name: ClassVar[str] = "x"
    datatype: ClassVar[str] = "FP32"

    def __post_init__(self) -> None:
        for statistics in (self.center, self.scale):
            if len(statistics) not in (1, self.size):
                raise ValueError(
                    f"a tensor of {self.size} features has {len(statistics)} statistics"
                )
        with np.errstate(over="ignore"):
            self._center = np.asarray(self.center, np.float32)
            self._scale = np.asarray(self.scale, np.float32)
        if not (np.isfinite(self._center).all() and np.isfinite(self._scale).all()):
            raise ValueError("a center or scale is too large for float32")

    @classmethod
    def fit(cls, X: NDArray[np.generic]) -> TensorInput:
        """Learn the shape, range and scale of X (n, …)."""
        rows = X.reshape(len(X), -1).astype(np.float64)
        axis = None if X.ndim > 2 else 0  # an image, or a matrix
        center = np.atleast_1d(rows.mean(axis))
        spread = np.atleast_1d(rows.std(axis))
        # The spread of a constant is rounding dust, not always 0; and one that float32
        # cannot divide by is none.
        varies = (np.ptp(rows, axis) > 0) & (spread > np.finfo(np.float32).tiny)
        center[~varies] = 0.0
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
        return cls(
            shape=X.shape[1:],
            minimum=float(rows.min()),
            maximum=float(rows.max()),
            center=center.tolist(),
            scale=scale.tolist(),
        )

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Inputs of the network."""
        return self.size

    def encode(self, X: NDArray[np.generic]) -> Array:
        """Return (n, width) float32 for X (n, …)."""
        rows = X.reshape(len(X), self.size).astype(np.float32)
        with np.errstate(over="ignore"):
            rows -= self._center
            rows *= self._scale
        np.maximum(rows, -FAR, out=rows)  # np.clip takes longer on few rows
        return np.minimum(rows, FAR, out=rows)

"""The tensor signature: each row is one array of a fixed shape, named `x`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.histograms import Histogram, Shares
from models.features.table import Layout
from models.types import Array

#: Encoded values are clipped to this many standard deviations, which keeps the outputs
#: of the network finite.
MAX_DEVIATIONS = 1e4

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

    All pixels of an image share one scale, so that their relations survive; each column
    of a matrix has its own. `center` and `scale` are one number, or one a feature:
    (x - center) * scale. A feature that does not vary has scale 0.
    """

    shape: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=MAX_DIMENSIONS)]
    minimum: float
    maximum: float
    center: list[float]
    scale: list[float]

    name: ClassVar[str] = "x"
    datatype: ClassVar[str] = "FP32"
    is_table: ClassVar[bool] = False
    kinds: ClassVar[dict[str, str]] = {}
    notes: ClassVar[tuple[str, ...]] = ()
    histograms: ClassVar[dict[str, type[Histogram] | type[Shares]]] = {"x": Histogram}

    def __post_init__(self) -> None:
        """Raise ValueError for a wrong number of statistics, or one beyond float32."""
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
        """Fit shape, range and scale to X (n, …)."""
        rows = X.reshape(len(X), -1).astype(np.float64)
        axis = None if X.ndim > 2 else 0  # an image, or a matrix
        center = np.atleast_1d(rows.mean(axis))
        spread = np.atleast_1d(rows.std(axis))
        # Rounding may give a constant a spread above 0; and a spread that float32
        # cannot divide by counts as none.
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

    @property
    def layout(self) -> Layout:
        """The inputs of the network by their nature: all are quantities."""
        return Layout(self.width, 0, ())

    @property
    def is_image(self) -> bool:
        """Whether a row has more than one dimension."""
        return len(self.shape) > 1

    @property
    def row_form(self) -> str:
        """The form of a row, for messages."""
        return f"an array of shape {self.shape}"

    @property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Datatype and shape, without the batch, of the input."""
        return {self.name: (self.datatype, self.shape)}

    @property
    def constants(self) -> list[str]:
        """The columns of a matrix that did not vary in training."""
        if len(self.scale) == 1:
            return []
        return [f"x[:, {i}]" for i, scale in enumerate(self.scale) if not scale]

    @property
    def explained(self) -> list[str]:
        """The names of what attributions are given for: indices such as `3_4`."""
        return ["_".join(map(str, index)) for index in np.ndindex(*self.shape)]

    def explained_by(self) -> list[int]:
        """Return the number in `explained` of each input of the network."""
        return list(range(self.width))

    def by_explained(self, attributions: Floats) -> list[Any]:
        """Return attributions (n, width) as nested lists of the row's shape."""
        nested: list[Any] = attributions.reshape(-1, *self.shape).tolist()
        return nested

    def select(self, raw: Any) -> NDArray[Any]:
        """Return raw rows (n, …) as they are."""
        rows: NDArray[Any] = raw
        return rows

    def by_input(self, raw: Any) -> dict[str, Floats]:
        """Return the mean (n,) of each raw row (n, …), which is counted for drift.

        It tells lighter, darker and inverted images apart.
        """
        return {self.name: np.asarray(raw, float).reshape(len(raw), -1).mean(1)}

    def count(self, raw: Any) -> dict[str, Histogram | Shares]:
        """Return the distribution of the means of raw rows (n, …)."""
        return {name: Histogram.fit(v) for name, v in self.by_input(raw).items()}

    def doubts(self, raw: Any) -> Iterator[tuple[str, NDArray[np.bool_], str]]:
        """Yield the input, which of n raw rows (n,) are unlike training's, and why."""
        rows = np.asarray(raw).reshape(len(raw), -1)
        low, high = np.float32(self.minimum), np.float32(self.maximum)
        seen = f"the range of training, {self.minimum:g} to {self.maximum:g}"
        yield self.name, rows.min(axis=1) < low, f"has numbers below {seen}"
        yield self.name, rows.max(axis=1) > high, f"has numbers above {seen}"
        if self.is_image:
            yield self.name, rows.min(axis=1) == rows.max(axis=1), "is an empty image"

    def unknown(self, raw: Any) -> tuple[tuple[str, int], ...]:
        """Return nothing: numbers are no categories."""
        return ()

    def baseline(self, seen: Mapping[str, Histogram | Shares]) -> NDArray[np.float32]:
        """Return a typical raw row (1, …).

        It is the mean of each column of a matrix. For images it is empty, all at the
        lowest value of training (the black image of Sundararajan et al. 2017, arXiv
        1703.01365, section 3), so that only ink has attributions.
        """
        if self.is_image:
            return np.full((1, *self.shape), self.minimum, np.float32)
        center = np.asarray(self.center, np.float32)
        return np.broadcast_to(center, (1, *self.shape)).copy()

    def to_json(self, raw: Any, rows: slice = slice(None)) -> list[Any]:
        """Return the chosen raw rows (n, …) as nested lists."""
        nested: list[Any] = np.asarray(raw, np.float32)[rows].tolist()
        return nested

    def encode(self, X: NDArray[np.generic]) -> Array:
        """Return (n, width) float32 for X (n, …)."""
        rows = X.reshape(len(X), self.size).astype(np.float32)
        with np.errstate(over="ignore"):
            rows -= self._center
            rows *= self._scale
        np.maximum(rows, -MAX_DEVIATIONS, out=rows)  # faster than np.clip on few rows
        return np.minimum(rows, MAX_DEVIATIONS, out=rows)

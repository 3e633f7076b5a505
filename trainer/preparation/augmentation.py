"""Shifts, rotates and stretches training images a little, differently in each epoch.

To a network without convolution, a picture and the same picture shifted by one pixel
are unrelated. It learns that they are alike by seeing both (Simard et al. 2003, "Best
practices for convolutional neural networks applied to visual document analysis",
section 2). Values between pixels are interpolated, and pixels beyond the edge repeat
the edge, so that any background continues.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.types import Array, Shape

#: The most that strength 1 does: shift by this share of a side, rotate by this angle,
#: and stretch height and width by this much each.
SHIFT = 0.08
TURN = math.radians(15.0)
STRETCH = 0.15
#: Rows of a batch that are transformed alike. Batches are shuffled in each epoch, so a
#: row is in a new group each time; one map for several rows costs a fraction of one map
#: for each.
GROUP = 16
#: The share of groups that are left as they are. Interpolation blurs an image, and a
#: network that never sees a sharp image recognises sharp images less well.
STAY = 0.5
#: Fewest pixels on each side of an image, and most channels. A smaller array is more
#: likely a window of a time series with several measurements.
MIN_SIDE = 8
MAX_CHANNELS = 4


def image_axes(shape: Shape) -> tuple[int, int] | None:
    """Return the axes of a row that are height and width, or None if it is no image.

    Images have the shape (H, W), (H, W, C) or (C, H, W).
    """
    axes = (0, 1)
    if len(shape) == 3 and shape[2] > MAX_CHANNELS:
        axes = (1, 2)
        if shape[0] > MAX_CHANNELS:
            return None
    elif len(shape) not in (2, 3):
        return None
    return axes if min(shape[axis] for axis in axes) >= MIN_SIDE else None


class Augmentation:
    """Transforms batches of flattened images of `shape` in place, in one thread.

    `strength` multiplies the limits above. Raises ValueError if `shape` is no image.
    """

    def __init__(self, shape: Shape, strength: float) -> None:
        axes = image_axes(shape)
        if axes is None:
            raise ValueError(f"rows of shape {shape} are not images")
        self.strength = strength
        self.sides = np.array([shape[axis] for axis in axes], np.float32)
        self._strides = [math.prod(shape[axis + 1 :]) for axis in axes]
        indices = np.indices(shape).reshape(len(shape), -1)
        middle = (self.sides - 1.0) / 2.0
        #: Height and width (2, I) of every input, from the middle of the image.
        self._positions = indices[list(axes)].astype(np.float32) - middle[:, None]
        self._middle = middle
        pixel = sum(s * indices[a] for s, a in zip(self._strides, axes, strict=True))
        #: The first input (I,) of every input's channel: its index without its pixel.
        self._channel = np.arange(math.prod(shape)) - pixel
        self._rows: Array = np.empty((GROUP, len(self._channel)), np.float32)
        self._picked = np.empty_like(self._rows)

    def __call__(self, X: Array, rng: np.random.Generator) -> None:
        """Transform half of the groups of X (B, I) in place."""
        groups = np.flatnonzero(rng.random(-(-len(X) // GROUP)) >= STAY)
        maps, shifts = self.draw(len(groups), rng)
        corners, shares = self._sources(maps, shifts)
        steps = [
            down + right
            for down in (0, self._strides[0])
            for right in (0, self._strides[1])
        ]
        for number, (group, corner) in enumerate(zip(groups, corners, strict=True)):
            moved = X[group * GROUP : (group + 1) * GROUP]
            rows, picked = self._rows[: len(moved)], self._picked[: len(moved)]
            np.copyto(rows, moved)
            moved[...] = 0.0
            for step, share in zip(steps, shares[:, number], strict=True):
                # mode='clip' lets take write straight into `out`, without a copy.
                rows.take(corner + step, 1, out=picked, mode="clip")
                picked *= share
                moved += picked

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return n random maps (n, 2, 2) and shifts (n, 2), in pixels.

        The pixel p, counted from the middle, gets the value at `map @ p + shift`.
        """
        drawn = self.strength * rng.uniform(-1.0, 1.0, (n, 5)).astype(np.float32)
        angle, stretches = drawn[:, 0] * TURN, np.exp(drawn[:, 1:3] * STRETCH)
        cos, sin = np.cos(angle), np.sin(angle)
        turns = np.stack([cos, -sin, sin, cos], axis=1).reshape(n, 2, 2)
        return turns * stretches[:, :, None], drawn[:, 3:] * SHIFT * self.sides

    def _sources(self, maps: Array, shifts: Array) -> tuple[NDArray[np.intp], Array]:
        """Return the input (n, I) at the upper left of each input's source, and the
        shares (4, n, I) of it and of its neighbours right, below, and both.
        """
        source = (
            maps @ self._positions + (shifts + self._middle)[:, :, None]
        )  # (n, 2, I)
        last = (self.sides - 1.0)[:, None]
        np.clip(source, 0.0, last, out=source)
        corner = np.minimum(source.astype(np.intp), last.astype(np.intp) - 1)
        down, right = (source - corner).astype(np.float32).transpose(1, 0, 2)
        up, left = 1.0 - down, 1.0 - right
        shares = np.stack([up * left, up * right, down * left, down * right])
        start = self._strides[0] * corner[:, 0] + self._strides[1] * corner[:, 1]
        return start + self._channel, shares

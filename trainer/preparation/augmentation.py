"""Training images that are shifted, turned and stretched a little, anew in each epoch.

A network without convolution takes a picture and the same picture one pixel further
for two unlike things. It learns that they are one by seeing both (Simard et al. 2003,
"Best practices for convolutional neural networks applied to visual document analysis",
section 2). Pixels between pixels are interpolated; beyond the edge the edge goes on, so
that whatever the background is, there is more of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.types import Array, Shape

#: What strength 1 may do at most: shift by this share of a side, turn by this angle,
#: and stretch height and width by this much each.
SHIFT = 0.08
TURN = math.radians(15.0)
STRETCH = 0.15
#: Rows of a batch that are moved alike. The batch is in a new order in each epoch, so
#: that a row meets a new movement and new company; one map for several rows costs a
#: fraction of one map for each.
GROUP = 16
#: The share of groups that stay as they are. What is moved is blurred too, as pixels
#: between pixels are means, and who never saw a sharp image knows sharp ones worse.
STAY = 0.5
#: What an image has at least on each side, and how many channels at most. Anything
#: smaller is rather a window of a series, with a column each for what was measured.
MIN_SIDE = 8
MAX_CHANNELS = 4


def image_axes(shape: Shape) -> tuple[int, int] | None:
    """Return which axes of a row are height and width; None where it is no image.

    Images are (H, W), (H, W, C) or (C, H, W).
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
    """Moves a batch of flattened images of `shape` in place; for one thread.

    `strength` is in the measure of strength 1 above. Raises ValueError where `shape` is
    no image.
    """

    def __init__(self, shape: Shape, strength: float) -> None:
        axes = image_axes(shape)
        if axes is None:
            raise ValueError(f"rows of shape {shape} are no images")
        self.strength = strength
        self.sides = np.array([shape[axis] for axis in axes], np.float32)
        self._strides = [math.prod(shape[axis + 1 :]) for axis in axes]
        places = np.indices(shape).reshape(len(shape), -1)
        middle = (self.sides - 1.0) / 2.0
        #: Height and width of every input (2, I), from the middle of the image.
        self._places = places[list(axes)].astype(np.float32) - middle[:, None]
        self._middle = middle
        pixel = sum(s * places[a] for s, a in zip(self._strides, axes, strict=True))
        #: Where every input's channel begins (I,): its place without its pixel.
        self._channel = np.arange(math.prod(shape)) - pixel
        self._rows: Array = np.empty((GROUP, len(self._channel)), np.float32)
        self._picked = np.empty_like(self._rows)

    def __call__(self, X: Array, rng: np.random.Generator) -> None:
        """Move half of X (B, I) in place, group by group."""
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
        """Return n maps (n, 2, 2) and shifts (n, 2), in pixels, of what is seen where.

        The pixel p, counted from the middle, shows what was at `map @ p + shift`.
        """
        drawn = self.strength * rng.uniform(-1.0, 1.0, (n, 5)).astype(np.float32)
        angle, stretches = drawn[:, 0] * TURN, np.exp(drawn[:, 1:3] * STRETCH)
        cos, sin = np.cos(angle), np.sin(angle)
        turns = np.stack([cos, -sin, sin, cos], axis=1).reshape(n, 2, 2)
        return turns * stretches[:, :, None], drawn[:, 3:] * SHIFT * self.sides

    def _sources(self, maps: Array, shifts: Array) -> tuple[NDArray[np.intp], Array]:
        """Return the input at the upper left (n, I) of what every input shows, and the
        shares (4, n, I) of it and of its neighbours right, below, and both.
        """
        where = maps @ self._places + (shifts + self._middle)[:, :, None]  # (n, 2, I)
        last = (self.sides - 1.0)[:, None]
        np.clip(where, 0.0, last, out=where)
        corner = np.minimum(where.astype(np.intp), last.astype(np.intp) - 1)
        down, right = (where - corner).astype(np.float32).transpose(1, 0, 2)
        up, left = 1.0 - down, 1.0 - right
        shares = np.stack([up * left, up * right, down * left, down * right])
        start = self._strides[0] * corner[:, 0] + self._strides[1] * corner[:, 1]
        return start + self._channel, shares

"""The two data sets that come with glassnet."""

from __future__ import annotations

from importlib import resources

import numpy as np

from models.errors import DataError, nearest
from trainer.data.arrays import arrays
from trainer.data.dataset import Dataset

NAMES = ("xor", "digits")


def read_builtin(name: str) -> Dataset:
    """Return `xor` (four rows) or `digits` (1,797 images of 8 x 8 pixels).

    Raises DataError for another name.
    """
    if name == "xor":
        return _xor()
    if name == "digits":
        return _digits()
    raise DataError(
        f"no built-in data set '{name}'{nearest(name, NAMES)}; "
        f"there are {' and '.join(NAMES)}"
    )


def _xor() -> Dataset:
    x1 = np.array([0.0, 0.0, 1.0, 1.0])
    x2 = np.array([0.0, 1.0, 0.0, 1.0])
    kinds = {"x1": "numeric", "x2": "numeric"}
    return Dataset({"x1": x1, "x2": x2}, kinds, "y", [0, 1, 1, 0])


def _digits() -> Dataset:
    """Source and licence are in digits.txt next to the data."""
    path = resources.files("trainer.data").joinpath("digits.npz")
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return arrays(file["X"], file["y"], "builtin:digits")

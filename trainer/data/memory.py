"""Rows that are in memory already: a data frame, or an array of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from trainer.data.arrays import arrays
from trainer.data.dataset import Dataset
from trainer.data.source import Source
from trainer.data.table import Table, typed_text, whole

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, eq=False)
class FrameSource(Source):
    """The rows of a data frame, which are read as those of a Parquet file of it."""

    frame: pl.DataFrame | None = None

    def table(self) -> Table:
        """Return the rows as a table."""
        import polars as pl

        assert self.frame is not None
        return whole(str(self), pl.DataFrame([typed_text(c) for c in self.frame]))


@dataclass(frozen=True, eq=False)
class ArraySource(Source):
    """Images X (n, …) and labels y (n,), which are read as those of a `.npz` file."""

    X: NDArray[Any] | None = None
    y: NDArray[Any] | None = None

    def dataset(self) -> Dataset:
        """Return the rows. Raises DataError if they are not finite numbers."""
        assert self.X is not None
        return arrays(self.X, self.y, str(self))

"""Raw columns that are not in memory, such as those of a table larger than it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from models.features.column import Values


class StoredColumns(Mapping[str, Values]):
    """Columns of raw values by name; each is read when it is asked for."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """The number of rows."""

    @abstractmethod
    def block(self, start: int, stop: int) -> Mapping[str, Values]:
        """Return the columns of some rows, in memory."""

    @abstractmethod
    def only(self, names: Collection[str]) -> StoredColumns:
        """Return the columns of these names, in their order."""

    @abstractmethod
    def take(self, rows: NDArray[np.intp]) -> StoredColumns:
        """Return the rows of these numbers (n,), not in memory either."""

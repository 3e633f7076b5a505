"""Encoded rows in a file: training reads blocks of them, in the order that it takes.

All rows are encoded once and written, X (n, I). Each network reads those of its own
split in blocks of consecutive rows, and keeps the blocks of two windows of its order
(see `trainer.preparation.row_order`) in memory. Any other order gives the same rows, in
more time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import Inputs, RawColumns, blocks
from models.features.stored_columns import StoredColumns
from models.types import Array
from trainer.data.unnamed_file import UnnamedFile
from trainer.preparation import row_order


def encode_into_file(inputs: Inputs, raw: StoredColumns) -> UnnamedFile:
    """Write the encoded rows X (n, I) into a file without a name."""
    file = UnnamedFile()
    for start, block in blocks(raw):
        X = inputs.encode(block)  # type: ignore[arg-type]
        file.write(start * X[:1].nbytes, X)
    return file


def encode_stored(inputs: Inputs, raw: RawColumns) -> UnnamedFile | None:
    """Return the file of encoded rows, if the columns are stored."""
    return encode_into_file(inputs, raw) if isinstance(raw, StoredColumns) else None


class EncodedRows:
    """The rows of given numbers (n,), ascending, of a file of encoded rows.

    It stands in for an array X (n, I) where rows are taken by number.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, file: UnnamedFile, rows: NDArray[np.intp], width: int) -> None:
        self.shape = (len(rows), width)
        self._file, self._rows = file, rows
        self._size = row_order.BLOCK
        n_blocks = -(-len(rows) // self._size)
        window = -(-row_order.WINDOW // self._size)
        #: The place of each block in memory, -1 if it has none; and the reverse.
        self._place = np.full(n_blocks, -1)
        self._blocks = np.full(min(n_blocks, 2 * window), -1)
        self._memory = np.empty((len(self._blocks) * self._size, width), np.float32)
        self._next = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Array:
        """Return the rows of these numbers (B,), or of a slice."""
        numbers = np.arange(len(self))[rows]
        X = np.empty((len(numbers), self.shape[1]), np.float32)
        self.take(numbers, 0, X, "clip")
        return X

    def take(self, rows: NDArray[np.intp], axis: int, out: Array, mode: str) -> None:
        """Copy the rows of these numbers (B,) to `out` (B, I), as `ndarray.take`."""
        most = max(len(self._blocks) // 2, 1)
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            wanted = some // self._size
            while len(absent := np.unique(wanted[self._place[wanted] < 0])):
                for block in absent.tolist():
                    self._load(block)
            places = self._place[wanted] * self._size + some % self._size
            self._memory.take(places, 0, out[start : start + most], "clip")

    def _load(self, block: int) -> None:
        """Read a block to the place of the one that was loaded first."""
        place = self._next
        self._next = (place + 1) % len(self._blocks)
        if (before := self._blocks[place]) >= 0:
            self._place[before] = -1
        rows = self._rows[block * self._size : (block + 1) * self._size]
        first = int(rows[0])
        X = np.empty((int(rows[-1]) - first + 1, self.shape[1]), np.float32)
        self._file.read(first * X[:1].nbytes, X)
        at = place * self._size
        X.take(rows - first, 0, self._memory[at : at + len(rows)], "clip")
        self._place[block], self._blocks[place] = place, block

"""A file without a name: its room on the disk is free again when its processes end."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray


class UnnamedFile:
    """A file in TMPDIR that a process and those forked from it write and read."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile(prefix="glassnet-") as file:
            self._number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._number)

    def __reduce__(self) -> Any:
        """Refuse to be pickled; a forked process has the same file."""
        raise TypeError("a file without a name cannot be sent to another process")

    @property
    def size(self) -> int:
        """The bytes written."""
        return os.fstat(self._number).st_size

    def write(self, start: int, numbers: NDArray[Any]) -> None:
        """Write an array (n, …) at a place counted in bytes; raise OSError if full."""
        rest = _bytes(np.ascontiguousarray(numbers))
        while rest:
            done = os.pwrite(self._number, rest, start)
            start, rest = start + done, rest[done:]

    def read(self, start: int, out: NDArray[Any]) -> None:
        """Fill an array (n, …) from a place in bytes; raise EOFError if it is short."""
        rest = _bytes(out)
        while rest:
            done = os.preadv(self._number, [rest], start)
            if not done:
                raise EOFError("the file has too few bytes")
            start, rest = start + done, rest[done:]


def _bytes(array: Any) -> memoryview:
    return memoryview(array).cast("B") if array.size else memoryview(b"")

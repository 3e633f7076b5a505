"""Arrays in a file without a name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from trainer.data.unnamed_file import UnnamedFile


def test_arrays_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = UnnamedFile()
    X = np.arange(12.0).reshape(4, 3)
    file.write(16, X.T)
    assert file.size == 16 + 96 and not os.listdir(tmp_path)
    found = np.empty((2, 4))
    file.read(16 + 32, found)
    np.testing.assert_array_equal(found, X.T[1:])
    file.read(0, np.empty(0))
    with pytest.raises(EOFError):
        file.read(104, np.empty(2))


def test_its_room_is_freed_with_it(tmp_path: Path) -> None:
    file = UnnamedFile()
    number = file._number
    os.fstat(number)
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)

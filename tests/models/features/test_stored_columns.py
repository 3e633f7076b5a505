"""Columns that are read when they are asked for are encoded as those in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from models.features import inputs
from models.features.columns import Values
from models.features.inputs import blocks, encode, length
from models.features.stored_columns import StoredColumns
from models.features.table import TableInput, fit_column


class Counted(StoredColumns):
    """Columns in memory, which count how often a whole one is read."""

    def __init__(self, columns: Mapping[str, Values]) -> None:
        self.columns, self.read = columns, 0

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Values:
        self.read += 1
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def block(self, start: int, stop: int) -> Mapping[str, Values]:
        return {name: self.columns[name][start:stop] for name in self}

    def only(self, names: Collection[str]) -> Counted:
        return Counted({name: self.columns[name] for name in names})

    def take(self, rows: NDArray[np.intp]) -> Counted:
        raise NotImplementedError


@pytest.mark.parametrize("rows", [0, 1, 7, 20])
def test_blocks_are_encoded_as_all_rows(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 7)
    columns: dict[str, Values] = {
        "x": np.linspace(0.0, 1.0, 20)[:rows],
        "t": (["a", None, "b", "c"] * 5)[:rows],
    }
    table = TableInput(
        (
            fit_column("x", "numeric", np.arange(5.0)),
            fit_column("t", "categorical", ["a", "b", "c"]),
        )
    )
    stored = Counted({"z": np.zeros(rows), **columns})
    expected = table.encode(columns)
    for raw in (columns, stored, table.select(stored)):
        assert length(raw) == rows
        assert [start for start, _ in blocks(raw)] == list(range(0, max(rows, 1), 7))
        assert all(length(block) <= 7 for _, block in blocks(raw))
        np.testing.assert_array_equal(encode(table, raw), expected)
    assert not stored.read
    array = np.arange(60.0).reshape(20, 3)[:rows]
    assert sum(length(block) for _, block in blocks(array)) == rows

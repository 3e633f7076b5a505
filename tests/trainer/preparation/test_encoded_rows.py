"""Rows that are read from a file while a network learns them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import inputs
from models.features.table import TableInput, fit_column
from trainer.data.column_file import ColumnFile
from trainer.data.unnamed_file import UnnamedFile
from trainer.preparation import row_order
from trainer.preparation.encoded_rows import EncodedRows, encode_into_file


@settings(max_examples=60)
@given(
    st.integers(1, 90),
    st.integers(0, 1 << 30),
    st.lists(st.integers(0, 1 << 20), max_size=70),
)
def test_rows_are_those_of_the_array(n: int, seed: int, wanted: list[int]) -> None:
    """In any order, also one that the blocks in memory do not hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_order, "BLOCK", 4)
        patch.setattr(row_order, "WINDOW", 12)
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 3)).astype(np.float32)
        own = np.sort(rng.choice(n, rng.integers(1, n + 1), replace=False))
        file = UnnamedFile()
        file.write(0, X)
        rows = EncodedRows(file, own, 3)
        assert rows.shape == X[own].shape and len(rows) == len(own)
        some = np.array(wanted, np.intp) % len(own)
        np.testing.assert_array_equal(rows[some], X[own][some])
        np.testing.assert_array_equal(rows[:], X[own])
        order = row_order.shuffled(len(own), rng)
        out = np.empty((5, 3), np.float32)
        for start in range(0, len(own), 5):
            batch = order[start : start + 5]
            rows.take(batch, 0, out[: len(batch)], "clip")
            np.testing.assert_array_equal(out[: len(batch)], X[own[batch]])


def test_all_rows_are_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 7)
    table = TableInput((fit_column("x", "numeric", np.arange(5.0)),))
    columns = ColumnFile()
    columns["x"] = np.linspace(0.0, 9.0, 20)
    file = encode_into_file(table, columns.take(np.arange(19, 3, -1)))
    found = EncodedRows(file, np.arange(16), table.width)[:]
    np.testing.assert_array_equal(found, table.encode({"x": columns["x"][19:3:-1]}))

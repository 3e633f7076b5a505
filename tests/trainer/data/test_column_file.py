"""Columns on disk are the columns that were written."""

from __future__ import annotations

import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.column_file import ColumnFile
from trainer.data.dataset import length, take, with_aside
from trainer.data.row_hashing import hash_rows

COLUMNS: dict[str, Any] = {
    "x": np.array([0.1, np.nan, -0.0, 1e300, 5.0, 6.0]),
    "t": ["b", None, "", "b", "long text, ü", "a"],
}


@pytest.fixture
def stored() -> ColumnFile:
    columns = ColumnFile()
    for name, values in COLUMNS.items():
        columns[name] = values
    return columns


def same(found: Any, expected: Any) -> None:
    assert list(found) == list(expected) and length(found) == length(expected)
    for name, values in expected.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(found[name], values)
        else:
            assert found[name] == values


def test_columns_are_read_back(stored: ColumnFile) -> None:
    same(stored, COLUMNS)
    same(stored.block(2, 5), {n: values[2:5] for n, values in COLUMNS.items()})
    assert "x" in stored and "y" not in stored
    same(stored.only(["t"]), {"t": COLUMNS["t"]})
    np.testing.assert_array_equal(hash_rows(stored), hash_rows(COLUMNS))
    del stored["x"]
    same(stored, {"t": COLUMNS["t"]})


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_rows_are_taken_as_in_memory(first: list[int], then: list[int]) -> None:
    stored = ColumnFile()
    for name, values in COLUMNS.items():
        stored[name] = values
    once, expected = take(stored, _rows(first)), take(COLUMNS, _rows(first))
    same(once, expected)
    again = _rows([row for row in then if row < len(first)])
    same(take(once, again), take(expected, again))
    same(once.block(1, 3), {n: values[1:3] for n, values in expected.items()})


def _rows(numbers: list[int]) -> Any:
    return np.array(numbers, np.intp)


def test_columns_aside_are_read_with_the_others(stored: ColumnFile) -> None:
    both = with_aside(stored, {"w": np.ones(6)})
    assert set(both) == {"x", "t", "w"}
    expected = hash_rows({**COLUMNS, "w": np.ones(6)})
    np.testing.assert_array_equal(hash_rows(both), expected)


def test_a_forked_process_reads_the_same_columns(stored: ColumnFile) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=lambda: queue.put(stored["t"]))
    process.start()
    assert queue.get() == COLUMNS["t"]
    process.join()


def test_columns_on_disk_do_not_leave_their_machine(stored: ColumnFile) -> None:
    with pytest.raises(TypeError, match="a file without a name cannot be sent"):
        pickle.dumps(stored)

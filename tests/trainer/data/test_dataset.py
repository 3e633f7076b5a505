"""Length, chosen rows, and a fingerprint that no change escapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trainer.data import read
from trainer.data.dataset import Dataset, evenly_spaced, join, length, take


def table(**changes: Any) -> Dataset:
    whole = {
        "inputs": {"x": np.array([1.0, np.nan, 3.0]), "c": ["a", None, "b"]},
        "kinds": {"x": "numeric", "c": "categorical"},
        "target_name": "y",
        "target": ["p", "q", None],
    }
    return Dataset(**{**whole, **changes})


def test_length_and_columns_of_a_table() -> None:
    assert (len(table()), table().n_columns, length(table().inputs)) == (3, 2, 3)


def test_length_and_columns_of_an_array() -> None:
    found = Dataset(np.zeros((5, 8, 8)), {}, "y", None)
    assert (len(found), found.n_columns) == (5, 64)


def test_of_many_some_are_kept_and_both_ends() -> None:
    assert evenly_spaced(2, 6).tolist() == [0, 1] and not len(evenly_spaced(0, 6))
    kept = evenly_spaced(40, 6).tolist()
    assert len(kept) == 6 and (kept[0], kept[-1]) == (0, 39)


def test_take_keeps_rows_together() -> None:
    rows = np.array([2, 0])
    taken = take(table().inputs, rows)
    assert isinstance(taken, dict)
    np.testing.assert_array_equal(taken["x"], [3.0, 1.0])
    assert taken["c"] == ["b", "a"]
    np.testing.assert_array_equal(
        take(np.arange(6).reshape(3, 2), rows), [[4, 5], [0, 1]]
    )


def test_join_puts_rows_behind_one_another() -> None:
    inputs = table().inputs
    parts = [take(inputs, np.array(rows, np.intp)) for rows in ([0], [], [1, 2])]
    joined = join(parts)
    assert isinstance(joined, dict)
    np.testing.assert_array_equal(joined["x"], [1.0, np.nan, 3.0])
    assert joined["c"] == ["a", None, "b"]
    assert join([inputs]) is inputs
    X = np.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(join([X[:1], X[1:]]), X)


def test_only_some_rows_are_kept_of_everything() -> None:
    whole = table(aside={"w": np.array([5.0, 6.0, 7.0]), "g": ["i", "j", "k"]})
    some = whole.only(np.array([2, 0]))
    assert isinstance(some.inputs, dict) and len(some) == 2
    np.testing.assert_array_equal(some.inputs["x"], [3.0, 1.0])
    assert (some.inputs["c"], some.target) == (["b", "a"], [None, "p"])
    assert np.asarray(some.aside["w"]).tolist() == [7, 5]
    assert some.aside["g"] == ["k", "i"]
    assert (some.kinds, some.target_name) == (whole.kinds, "y")
    bare = table(target=None).only(np.array([1]))
    assert bare.target is None and len(bare) == 1


def test_columns_aside_are_no_columns() -> None:
    assert table(aside={"w": np.zeros(3)}).n_columns == 2


def test_the_same_values_have_the_same_fingerprint() -> None:
    assert table().fingerprint == table().fingerprint
    assert len(table().fingerprint) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": {"x": np.array([1.0, np.nan, 4.0]), "c": ["a", None, "b"]}},
        {"inputs": {"x": np.array([np.nan, 1.0, 3.0]), "c": ["a", None, "b"]}},
        {"inputs": {"x": np.array([1.0, np.nan, 3.0]), "c": ["a", "b", None]}},
        {"inputs": {"x": np.array([1.0, np.nan, 3.0]), "c": ["a", "None", "b"]}},
        {
            "inputs": {"z": np.array([1.0, np.nan, 3.0]), "c": ["a", None, "b"]},
            "kinds": {"z": "numeric", "c": "categorical"},
        },
        {"kinds": {"x": "datetime", "c": "categorical"}},
        {"target_name": "z"},
        {"target": ["q", "p", None]},
        {"target": None},
        {"aside": {"w": np.array([1.0, 1.0, 2.0])}},
        {"aside": {"g": ["a", "b", "b"]}},
    ],
)
def test_any_change_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    assert table(**changed).fingerprint != table().fingerprint


def test_an_array_has_its_own_fingerprint() -> None:
    X = np.arange(12.0).reshape(3, 4)
    prints = {
        Dataset(each, {}, "y", [0, 1, 0]).fingerprint
        for each in (X, X + 1, X.reshape(3, 2, 2), X.astype(np.float32))
    }
    assert len(prints) == 4
    turned = Dataset(np.asfortranarray(X), {}, "y", [0, 1, 0])
    assert turned.fingerprint in prints


def test_the_fingerprint_is_of_the_values_not_of_the_file(
    write_csv: Callable[..., Path], tmp_path: Path
) -> None:
    columns = {"x": [1.5, 2.0, None], "c": ["a", "b", "a"], "y": [1, 0, 1]}
    parquet = tmp_path / "data.parquet"
    pl.DataFrame(columns).write_parquet(parquet)
    one, other = read(str(write_csv(columns)), "y"), read(str(parquet), "y")
    assert one.fingerprint == other.fingerprint

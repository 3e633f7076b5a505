"""Columns that are no inputs: in the form they are needed in, or refused by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.features.dates import seconds
from trainer.data import Dataset
from trainer.data.arrays import arrays
from trainer.data.roles import Role, group_text, set_aside

bounded = settings(deadline=None, max_examples=200)


def data(
    values: Any, kind: str, target: Sequence[Any] | None = None, name: str = "w"
) -> Dataset:
    """A column of a kind beside an ordinary input."""
    n = len(values)
    if kind != "categorical":
        values = np.array(values, float)
    inputs = {"x": np.arange(float(n)), name: values}
    target = list(range(n)) if target is None else target
    return Dataset(inputs, {"x": "numeric", name: kind}, "y", target)


def aside(values: Any, kind: str, role: Role, target: Any = None) -> Any:
    return set_aside(data(values, kind, target), {role: "w"}).aside["w"]


def refused(values: Any, kind: str, role: Role, target: Any = None) -> str:
    with pytest.raises(DataError) as caught:
        aside(values, kind, role, target)
    return str(caught.value)


def test_a_column_leaves_the_inputs() -> None:
    found = set_aside(data([1, 2, 3], "numeric"), {"weight": "w"})
    assert list(found.kinds) == list(found.inputs) == ["x"]  # type: ignore[arg-type]
    assert list(found.aside) == ["w"]
    assert found.n_columns == 1 and len(found) == 3


def test_without_roles_nothing_moves() -> None:
    whole = data([1, 2], "numeric")
    assert set_aside(whole, {}) is whole


def test_columns_aside_are_in_the_fingerprint() -> None:
    prints = {
        set_aside(data(values, "numeric"), {"weight": "w"}).fingerprint
        for values in ([1, 2], [1, 3])
    }
    prints.add(data([1, 2], "numeric").fingerprint)
    assert len(prints) == 3


def test_chosen_rows_keep_what_stands_aside() -> None:
    found = set_aside(data(["a", "b", "c"], "categorical"), {"group": "w"})
    some = found.only(np.array([2, 0]))
    assert some.aside["w"] == ["c", "a"] and some.target == [2, 0]


# Weights.


def test_weights_are_numbers() -> None:
    assert aside([2, 0, 0.5], "numeric", "weight").tolist() == [2, 0, 0.5]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (
            [1, np.nan],
            "numeric",
            ", row 2: expected a number of at least 0, found no value",
        ),
        (
            [1, 1, -2],
            "numeric",
            ", row 3: expected a number of at least 0, found a neg",
        ),
        ([1, 1e200], "numeric", ", row 2: expected a number of at most 1e+100"),
        ([0, 0], "numeric", " is 0 in every row: no row counts"),
        (["1", "NA", "two"], "categorical", ", row 3: expected a number of at least 0"),
        (["1", "NA", "2"], "categorical", ", row 2: expected a number of at least 0"),
        (["1", "nan"], "categorical", ", row 2: expected a number"),
        ([1, 0], "boolean", ": expected numbers, found boolean values"),
        ([1, 0], "datetime", ": expected numbers, found datetime values"),
    ],
)
def test_weights_that_are_none_are_told(values: Any, kind: str, expected: str) -> None:
    message = refused(values, kind, "weight")
    assert message.startswith(f"column 'w' (data.weight){expected}")


def test_rows_without_a_target_need_no_weight() -> None:
    found = aside([1, np.nan, 2], "numeric", "weight", ["a", None, "b"])
    assert found[[0, 2]].tolist() == [1, 2]
    message = refused([1, np.nan, -1], "numeric", "weight", ["a", None, "b"])
    assert ", row 3: " in message
    assert "every row" in refused([0, 5], "numeric", "weight", ["a", None])


# Times.


def test_times_are_numbers_or_dates() -> None:
    assert aside([3, 1.5], "numeric", "time").tolist() == [3, 1.5]
    assert aside([3e8, 1e9], "datetime", "time").tolist() == [3e8, 1e9]
    # Of these not all look like dates, but all are.
    texts = ["2024-02-29", "2024-W10-1"]
    assert aside(texts, "categorical", "time").tolist() == [*map(seconds, texts)]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, np.nan], "numeric", ", row 2: expected a number or an ISO 8601 date"),
        ([1, np.nan], "datetime", ", row 2: expected a number or an ISO 8601 date"),
        (["2024-01-01", "1.2.2024"], "categorical", ", row 2: expected a number or"),
        (["2024-01-01", None], "categorical", ", row 2: expected a number or"),
        (["2024-01-01", " "], "categorical", ", row 2: expected a number or"),
        ([1, 0], "boolean", ": expected a number or an ISO 8601 date, found true and"),
    ],
)
def test_times_that_are_none_are_told(values: Any, kind: str, expected: str) -> None:
    message = refused(values, kind, "time")
    assert message.startswith(f"column 'w' (data.time){expected}")


# Groups.


def test_groups_are_texts() -> None:
    assert aside(["a", "b"], "categorical", "group") == ["a", "b"]
    assert aside([7, 0.5, -0.0, 1e22], "numeric", "group") == ["7", "0.5", "0", "1e+22"]


@pytest.mark.parametrize(
    ("values", "kind"), [(["a", None], "categorical"), ([1, np.nan], "numeric")]
)
def test_a_row_without_a_group_is_told(values: Any, kind: str) -> None:
    assert refused(values, kind, "group") == (
        "column 'w' (data.group), row 2: expected the name of a group, found no value"
    )


@bounded
@given(st.lists(st.floats(allow_infinity=False), min_size=1))
def test_numbers_are_spelled_apart(numbers: list[float]) -> None:
    found = group_text(np.array(numbers))
    for number, text in zip(numbers, found, strict=True):
        assert (text is None) == np.isnan(number)
        assert text is None or float(text) == number


@bounded
@given(st.lists(st.integers(-(2**53), 2**53), min_size=1))
def test_whole_numbers_are_spelled_as_people_write_them(numbers: list[int]) -> None:
    found = group_text(np.array(numbers, float))
    short = [n for n in numbers if abs(n) < 10**16]
    assert [t for n, t in zip(numbers, found, strict=True) if n in short] == [
        str(n) for n in short
    ]


# Names.


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no column 'ww'; did you mean 'www'"):
        set_aside(data([1], "numeric", name="www"), {"weight": "ww"})


def test_the_target_is_no_such_column() -> None:
    with pytest.raises(DataError, match=r"data\.group=y names the target"):
        set_aside(data([1], "numeric"), {"group": "y"})


def test_some_input_must_stay() -> None:
    with pytest.raises(DataError, match="there is no input column besides 'w', 'x'"):
        set_aside(data([1, 2], "numeric"), {"weight": "w", "time": "x"})


def test_one_column_may_be_two_things() -> None:
    found = set_aside(data([1, 2], "numeric"), {"weight": "w", "time": "w"})
    assert list(found.aside) == ["w"]


def test_arrays_have_no_columns() -> None:
    found = arrays(np.zeros((3, 2)), np.arange(3), "here")
    with pytest.raises(DataError, match=r"data\.time names a column, but these data"):
        set_aside(found, {"time": "t"})

"""What is written as JSON is read as it was."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.codecs import decoder_for
from models.codecs.table import TableDecoder
from models.codecs.tensor import TensorDecoder
from models.features.dates import seconds
from models.features.table import TableInput, fit_column
from models.features.tensor import TensorInput

bounded = settings(deadline=None, max_examples=100)
NAN = np.nan
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.just(NAN)
whole = st.integers(-(10**300), 10**300).map(float) | st.just(NAN)
truth = st.sampled_from([0.0, 1.0, NAN])
moments = st.datetimes().map(lambda moment: seconds(moment.isoformat()))
dates = st.dates().map(lambda date: seconds(date.isoformat()))


def back(inputs: Any, raw: Any, rows: slice = slice(None)) -> Any:
    written = msgspec.json.encode(inputs.to_json(raw, rows))
    return decoder_for(inputs).rows(written)


def floats(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float64, st.integers(1, 6), elements=elements)


@bounded
@given(
    st.tuples(st.just("numeric"), floats(numbers) | floats(whole))
    | st.tuples(st.just("boolean"), floats(truth))
    | st.tuples(st.just("datetime"), floats(moments | st.just(NAN)) | floats(dates))
)
@example(("numeric", np.array([2.0**70, 1e300, -0.0])))
@example(("datetime", np.array([seconds("2026-01-31T12:00:00")])))
@example(("datetime", np.array([seconds(datetime.max.isoformat())])))
def test_numbers_truth_and_dates_come_back_exactly(case: tuple[str, Any]) -> None:
    kind, values = case
    table = TableInput((fit_column("x", kind, values),))
    np.testing.assert_array_equal(back(table, {"x": values})["x"], values)


@bounded
@given(st.lists(st.none() | st.text(), min_size=1, max_size=6))
def test_texts_come_back_exactly(values: list[str | None]) -> None:
    table = TableInput((fit_column("x", "categorical", values),))
    assert list(back(table, {"x": values})["x"]) == values


@pytest.mark.parametrize("kind", ["numeric", "boolean", "datetime", "categorical"])
def test_a_value_the_training_rows_had_no_like_of_comes_back(kind: str) -> None:
    learnt: Any = ["a"] if kind == "categorical" else np.array([0.0])
    new: Any = {
        "numeric": np.array([0.5, NAN]),
        "boolean": np.array([1.0, NAN]),
        "datetime": np.array([seconds("2026-01-31T23:59:59.5"), NAN]),
        "categorical": ["new", None],
    }[kind]
    table = TableInput((fit_column("x", kind, learnt),))
    np.testing.assert_array_equal(back(table, {"x": new})["x"], new)


@bounded
@given(
    st.sampled_from([(1,), (3,), (2, 2)]).flatmap(
        lambda shape: hnp.arrays(
            np.float32,
            (2, *shape),
            elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
        )
    )
)
def test_tensors_come_back_exactly(X: Any) -> None:
    found = back(TensorInput.fit(X), X)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, X)


def test_a_whole_table_comes_back_row_by_row(
    table: TableInput, raw_table: dict[str, Any]
) -> None:
    found = back(table, raw_table, slice(1, 4))
    assert list(found) == list(raw_table)
    for name, values in raw_table.items():
        np.testing.assert_array_equal(found[name], values[1:4])


def test_rows_are_what_a_client_would_send(
    table: TableInput, raw_table: dict[str, Any]
) -> None:
    assert table.to_json(raw_table, slice(1, 3)) == [
        {
            "age": 47.5,
            "member": False,
            "joined": "2025-01-01T06:30:00",
            "city": "Bern",
            "planet": "Earth",
        },
        {
            "age": None,
            "member": True,
            "joined": "1999-12-31T23:59:59.250000",
            "city": None,
            "planet": "Earth",
        },
    ]


def test_whole_numbers_are_written_without_a_point() -> None:
    values = np.array([3.0, NAN, -1.0])
    table = TableInput((fit_column("n", "numeric", values),))
    written = msgspec.json.encode(table.to_json({"n": values}, slice(None)))
    assert written == b'[{"n":3},{"n":null},{"n":-1}]'
    later = {"n": np.array([0.5])}  # not whole, though the training rows were
    assert table.to_json(later, slice(None)) == [{"n": 0.5}]


def test_each_signature_has_its_decoder(table: TableInput) -> None:
    assert isinstance(decoder_for(table), TableDecoder)
    tensor = TensorInput.fit(np.zeros((2, 3)))
    assert isinstance(decoder_for(tensor), TensorDecoder)

"""What the schema says is what the decoder takes: rows of every shape tell."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from models.codecs import TableDecoder, TensorDecoder
from models.codecs.tensor import LARGEST_FLOAT32
from models.errors import InvalidInput
from models.features.columns import (
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
)
from models.features.table import TableInput
from models.features.tensor import TensorInput

MOST = 3
NAN = float("nan")
NUMBER = NumericColumn.fit("n", np.array([1.0, 5.0, NAN]))
FLAG = BooleanColumn.fit('odd "name"', np.array([0.0, 1.0]))
WORD = CategoricalColumn.fit("w", ["a", "b", None])
DAY = DatetimeColumn.fit("d", np.array([0.0, 86400.0]))
TABLES = {
    "wide": TableDecoder(TableInput((NUMBER, FLAG, WORD))),
    "one": TableDecoder(TableInput((NUMBER,))),
    "words": TableDecoder(TableInput((WORD,))),
}
TENSORS = {
    str(shape): TensorDecoder(TensorInput(shape, 0.0, 1.0, [0.0], [1.0]))
    for shape in ((2,), (1,), (2, 2))
}
DECODERS: dict[str, Any] = TABLES | TENSORS
VALUES = st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from([0.5, "a", ""])
FLAT = st.lists(VALUES, max_size=4)
ROWS = st.lists(
    VALUES
    | FLAT
    | st.lists(FLAT, max_size=3)
    | st.dictionaries(st.sampled_from(["n", 'odd "name"', "w", "x"]), VALUES | FLAT),
    max_size=MOST + 1,
)
GOOD: dict[str, list[Any]] = {
    "wide": [
        {"n": 1, 'odd "name"': True, "w": "a"},
        {'odd "name"': None},
        [1, None, "a"],
    ],
    "one": [{"n": 1}, {}, [2], [None], 3, None],
    "words": [{"w": "a"}, {}, ["b"], "c", None],
    "(2,)": [[1, 2], {"x": [1, 2]}],
    "(1,)": [[1], 1, {"x": [1]}, {"x": 1}],
    "(2, 2)": [[[1, 2], [3, 4]], [1, 2, 3, 4], {"x": [[1, 2], [3, 4]]}],
}


def takes(decoder: Any, rows: Any) -> bool:
    try:
        return len(rows) <= MOST and decoder.rows(json.dumps(rows).encode()) is not None
    except InvalidInput:
        return False


def test_the_largest_number_is_the_last_that_is_taken() -> None:
    most = LARGEST_FLOAT32
    beyond = float(np.nextafter(most, np.inf))
    assert float(np.finfo(np.float32).max) < most
    for number, fits in ((most, True), (-most, True), (beyond, False)):
        assert takes(TENSORS["(2,)"], [[number, 0.0]]) is fits


def unwrapped(row: Any) -> Any:
    """Return a row whose values of shape [1] are values, as tables take them."""
    if isinstance(row, dict):
        return dict(zip(row, unwrapped(list(row.values())), strict=True))
    if not isinstance(row, list):
        return row
    return [v[0] if isinstance(v, list) and len(v) == 1 else v for v in row]


@pytest.mark.parametrize("name", DECODERS)
@given(rows=ROWS)
@example(rows=[[[None]]])
def test_rows_fit_the_schema_if_and_only_if_they_are_decoded(
    name: str, rows: list[Any]
) -> None:
    said = Draft202012Validator(DECODERS[name].rows_schema(MOST))
    fits = said.is_valid(rows)
    if name in TABLES:
        fits |= said.is_valid([unwrapped(row) for row in rows])
    assert fits == takes(DECODERS[name], rows)


@pytest.mark.parametrize("name", DECODERS)
def test_every_form_fits(name: str) -> None:
    decoder = DECODERS[name]
    validator = Draft202012Validator(decoder.rows_schema(MOST))
    for row in GOOD[name]:
        for rows in ([row], [row] * MOST):
            assert takes(decoder, rows)
            validator.validate(rows)
        assert not validator.is_valid([row] * (MOST + 1))
    by_name = Draft202012Validator(decoder.named_row_schema())
    assert all(by_name.is_valid(r) == isinstance(r, dict) for r in GOOD[name])


@pytest.mark.parametrize("name", TABLES)
@given(
    columns=st.dictionaries(
        st.sampled_from(["n", 'odd "name"', "w", "?"]),
        st.lists(VALUES, min_size=2, max_size=2),
        min_size=1,
    )
)
def test_columns_of_one_length_fit_if_and_only_if_they_are_decoded(
    name: str, columns: dict[str, list[Any]]
) -> None:
    said = Draft202012Validator(TABLES[name].columns_schema(MOST)).is_valid(columns)
    try:
        TABLES[name].by_column(json.dumps(columns).encode())
        assert said
    except InvalidInput:
        assert not said


def test_what_was_seen_in_training_is_told() -> None:
    table = TableDecoder(TableInput((NUMBER, FLAG, WORD, DAY)))
    told = table.named_row_schema()["properties"]
    assert told["n"]["description"] == "numeric, in training from 1 to 5"
    assert told["w"]["examples"] == ["a", "b"]
    assert "from 1970-01-01 to 1970-01-02" in told["d"]["description"]
    assert told['odd "name"']["type"] == ["boolean", "null"]

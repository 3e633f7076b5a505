"""Rows of a tensor: nested, flat or named, and a sentence for what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codecs import TensorDecoder
from models.errors import InvalidInput
from models.features.tensor import TensorInput

bounded = settings(deadline=None, max_examples=150)


def decoder(*shape: int) -> TensorDecoder:
    return TensorDecoder(TensorInput(shape, 0.0, 1.0, [0.0], [1.0]))


IMAGE = decoder(2, 3)
VECTOR = decoder(3)
SCALAR = decoder(1)
PIXEL = decoder(1, 1)
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 8


def encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def fault(decode: Callable[..., object], value: object, *args: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        decode(encoded(value), *args)
    return str(caught.value)


def same(found: object, expected: object) -> None:
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected, strict=False)
    assert found.shape == np.shape(expected)


# Forms that fit


@pytest.mark.parametrize(
    "rows",
    [
        X.tolist(),
        X.reshape(2, 6).tolist(),
        [{"x": row} for row in X.tolist()],
        [{"x": row} for row in X.reshape(2, 6).tolist()],
    ],
)
def test_rows_may_be_nested_flat_or_named(rows: object) -> None:
    same(IMAGE.rows(encoded(rows)), X)
    same(IMAGE.by_column(encoded(rows)), X)
    same(IMAGE.by_column(encoded({"x": rows})), X)


@pytest.mark.parametrize("space", [b"", b" ", b"\n" * 500])
def test_white_space_is_allowed(space: bytes) -> None:
    raw = space + b"[" + space + b"[" + space + b"1,2,3]]"
    same(VECTOR.rows(raw), [[1, 2, 3]])
    flat = space + b"[" + space + b"[1,2,3,4,5,6]" + space + b"]"
    same(IMAGE.rows(flat), [[[1, 2, 3], [4, 5, 6]]])
    named = space + b"[" + space + b'{"x":' + space + b"[1,2,3]}]"
    same(VECTOR.rows(named), [[1, 2, 3]])
    same(VECTOR.by_column(space + b'{"x":[[1,2,3]]}'), [[1, 2, 3]])


@pytest.mark.parametrize(
    "rows", [[1, 2], [[1], [2]], [{"x": 1}, {"x": 2}], [{"x": [1]}, {"x": [2]}]]
)
def test_a_single_number_a_row_needs_no_brackets(rows: object) -> None:
    same(SCALAR.rows(encoded(rows)), [[1], [2]])
    same(PIXEL.rows(encoded(rows)), [[[1]], [[2]]])


def test_numbers_are_rounded_to_float32() -> None:
    same(SCALAR.rows(b"[0.1, 1e-50, 3.4e38]"), np.float32([[0.1], [0.0], [3.4e38]]))


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (X.ravel().tolist(), [2, 2, 3]),
        (X.ravel().tolist(), [2, 6]),
        (X.tolist(), [2, 2, 3]),
        (X.reshape(2, 6).tolist(), [2, 6]),
        (X.reshape(2, 6).tolist(), [2, 2, 3]),
    ],
)
def test_data_of_a_stated_shape_is_row_major(data: object, shape: list[int]) -> None:
    same(IMAGE.tensor_of(encoded(data), shape), X)


# Faults


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "expected at least one row, found an empty list"),
        ([[]], "row 0: expected shape [2, 3], found [0]"),
        ([[[]]], "row 0: expected shape [2, 3], found [1, 0]"),
        ([1, 2], "row 0: expected a list, got a number"),
        ([[1, 2, 3]], "row 0: expected shape [2, 3], found [3]"),
        ([[1] * 7], "row 0: expected shape [2, 3], found [7]"),
        ([[[1, 2], [3, 4], [5, 6]]], "row 0: expected shape [2, 3], found [3, 2]"),
        ([[[1, 2, 3]]], "row 0: expected shape [2, 3], found [1, 3]"),
        ([[[[1, 2, 3]] * 2]], "row 0, position 0, 0: expected a number, got a list"),
        ([X[0].tolist(), [[1, 2], [3]]], "row 1: its lists are of different lengths"),
        ([X[0].tolist(), [[1, 2, 3]]], "row 1: expected shape [2, 3], found [1, 3]"),
        ([[1] * 6, [1] * 5], "row 1: expected shape [2, 3], found [5]"),
        (
            [X[0].tolist(), [[1, 2, 3], [4, "5", 6]]],
            "row 1, position 1, 1: expected a number, got a string",
        ),
        ([[[1, 2, 3], [4, None, 6]]], "row 0, position 1, 1: expected a number, got"),
        ([[[1, 2, 3], [4, True, 6]]], "row 0, position 1, 1: expected a number, got"),
        ([[[1, 2, 3], 4]], "row 0, position 1: expected a list, got a number"),
        ([X[0].tolist(), [1] * 6], "row 1, position 0: expected a list, got a number"),
        ([{"x": X[0].tolist()}, {"X": 1}], "row 1: there is no input 'X'; it is 'x'"),
        ([{"x": X[0].tolist()}, {}], "row 1: input 'x' is missing"),
        ([{"x": X[0].tolist()}, 5], "row 1: expected an object, got a number"),
        ([{"x": None}], "row 0: expected a list, got null"),
        (7, "input 'x': expected a list, got a number"),
        ("x", "input 'x': expected a list, got a string"),
        (b"[[[1,2,3],[4,5,NaN]]]", "not valid JSON"),
        (b"[[1,2,3,4,5,6]", "not valid JSON"),
        (b"[[1,2,3,4,5,1e39]]", "row 0: a number is too large for float32"),
        (b"[[1,2,3,4,5,6],[1,2,3,4,5,-1e300]]", "row 1: a number is too large"),
        (b"[[1,2,3,4,5,1e999]]", "row 0, position 5: number out of range"),
        (b"[" * 100_000, ""),
        (b'[{"x":' * 100_000, ""),
        (b'[{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", ""),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: object, sentence: str) -> None:
    assert fault(IMAGE.rows, rows).startswith(sentence)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "input 'x' is missing"),
        ({"y": [[1] * 6]}, "there is no input 'y'; it is 'x'"),
        ({"x": [[1] * 6], "z": 1}, "there is no input 'z'; it is 'x'"),
        ({"x": 1}, "input 'x': expected a list, got a number"),
        ({"x": []}, "expected at least one row, found an empty list"),
        (b'{"x":[[1]]', "not valid JSON"),
        (b'{"x":' * 100_000, ""),
    ],
)
def test_named_rows_that_do_not_fit_are_refused(value: object, sentence: str) -> None:
    assert fault(IMAGE.by_column, value).startswith(sentence)


@pytest.mark.parametrize(
    ("data", "shape", "sentence"),
    [
        ([1] * 12, [], "input 'x': expected shape [-1, 2, 3], found []"),
        ([1] * 12, [12], "input 'x': expected shape [-1, 2, 3], found [12]"),
        ([1] * 12, [2, 3, 2], "input 'x': expected shape [-1, 2, 3], found [2, 3, 2]"),
        ([1] * 12, [3, 6], "input 'x': shape [3, 6] needs 18 values, found 12"),
        ([1] * 12, [-2, 6], "input 'x': shape [-2, 6] needs -12 values, found 12"),
        ([], [0, 6], "expected at least one row, found none"),
        ([[1] * 6], [2, 6], "input 'x': shape [2, 6] needs 2 rows, found 1"),
        ([1] * 11 + ["1"], [2, 6], "row 1: expected a number, got a string"),
        ([1] * 11 + [1e39], [2, 6], "row 1: a number is too large for float32"),
        ([1] * 6, [1] * 100, "input 'x': expected shape [-1, 2, 3], found [1, 1, 1,"),
        (7, [1, 6], "input 'x': expected a list, got a number"),
        (b"[1,2", [1, 6], "not valid JSON"),
    ],
)
def test_data_that_is_not_of_its_shape_is_refused(
    data: object, shape: list[int], sentence: str
) -> None:
    assert fault(IMAGE.tensor_of, data, shape).startswith(sentence)


def test_an_unknown_input_is_cut_before_it_is_repeated() -> None:
    assert len(fault(IMAGE.rows, [{"y" * 100_000: 1}])) < 200


# Whatever comes

SECRET = "s3cr3t"
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(width=32, allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    NUMBERS | st.none() | st.booleans() | st.sampled_from([SECRET, ""]),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=20,
)
#: Lists of numbers that are nearly of the right shape.
NEARLY = st.lists(
    st.lists(NUMBERS, min_size=5, max_size=6)
    | st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=2)
    | st.fixed_dictionaries({"x": st.lists(NUMBERS, min_size=6, max_size=6)}),
    max_size=3,
)
DECODERS = st.sampled_from([IMAGE, VECTOR, SCALAR, PIXEL])


def sound_or_refused(decode: Callable[[], Any], shape: tuple[int, ...]) -> None:
    try:
        found, sentence = decode(), ""
    except InvalidInput as error:
        found, sentence = None, str(error)
    assert SECRET not in sentence
    if found is None:
        return
    assert found.dtype == np.float32
    assert found.shape == (len(found), *shape)
    assert len(found)
    assert np.isfinite(found).all()


@bounded
@given(VALUES | NEARLY, DECODERS)
def test_any_json_is_sound_rows_or_a_refusal(
    value: Any, decoder: TensorDecoder
) -> None:
    raw, shape = encoded(value), decoder.tensor.shape
    sound_or_refused(lambda: decoder.rows(raw), shape)
    sound_or_refused(lambda: decoder.by_column(raw), shape)
    sound_or_refused(lambda: decoder.by_column(encoded({"x": value})), shape)


@bounded
@given(
    VALUES | NEARLY | st.lists(NUMBERS, max_size=12),
    st.lists(st.integers(-2, 6), max_size=4)
    | st.tuples(st.integers(0, 2), st.sampled_from([(2, 3), (6,), (3,), (1,)])).map(
        lambda pair: [pair[0], *pair[1]]
    ),
    DECODERS,
)
def test_any_data_of_any_shape_is_sound_or_refused(
    value: Any, shape: list[int], decoder: TensorDecoder
) -> None:
    raw = encoded(value)
    sound_or_refused(lambda: decoder.tensor_of(raw, shape), decoder.tensor.shape)


@bounded
@given(st.data(), st.sampled_from([(1,), (3,), (2, 3), (1, 1), (2, 1, 2)]))
def test_what_fits_is_read_exactly(data: st.DataObject, shape: tuple[int, ...]) -> None:
    n = data.draw(st.integers(1, 3))
    size = n * int(np.prod(shape))
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    numbers = data.draw(st.lists(number, min_size=size, max_size=size))
    rows = np.array(numbers, np.float32).reshape(n, *shape)
    decode = decoder(*shape)
    raw = msgspec.json.encode(rows.tolist())
    same(decode.rows(raw), rows)
    same(decode.tensor_of(encoded(numbers), rows.shape), rows)

"""Tensors of every datatype: JSON and bytes say the same, and neither can lie."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codecs import TableDecoder, TensorDecoder
from models.codecs.datatypes import DATATYPES, Misfit, from_bytes, require, to_bytes
from models.errors import InvalidInput
from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
    Standardization,
)
from models.features.dates import seconds
from models.features.table import TableInput
from models.features.tensor import TensorInput

bounded = settings(deadline=None, max_examples=200)
UNIT = Standardization(0.0, 1.0)
COLUMNS: tuple[AnyColumn, ...] = (
    NumericColumn(name="age", nullable=True, scaling=UNIT),
    BooleanColumn(name="member", varies=True),
    DatetimeColumn(name="joined", has_time=True, scaling=UNIT),
    CategoricalColumn(name="city", nullable=True, categories=("Basel", "Bern")),
)
PEOPLE = TableDecoder(TableInput(COLUMNS))
IMAGE = TensorDecoder(TensorInput((2, 3), 0.0, 1.0, [0.0], [1.0]))

INTEGERS = {f"{kind}INT{bits}": bits for kind in ("", "U") for bits in (8, 16, 32, 64)}
FLOATS = {"FP16": 16, "FP32": 32, "FP64": 64}
# Independent of the code: what struct calls them.
LAYOUT = {
    **{f"INT{8 << i}": code for i, code in enumerate("bhiq")},
    **{f"UINT{8 << i}": code for i, code in enumerate("BHIQ")},
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
    "BOOL": "?",
}


def packed(values: list[Any], datatype: str) -> memoryview:
    """Lay values out as the protocol says, by another library."""
    if datatype == "BYTES":
        texts = [text.encode() if isinstance(text, str) else text for text in values]
        return memoryview(b"".join(struct.pack("<I", len(t)) + t for t in texts))
    return memoryview(struct.pack(f"<{len(values)}{LAYOUT[datatype]}", *values))


def numbers(datatype: str) -> st.SearchStrategy[float]:
    if datatype in FLOATS:
        width: Any = FLOATS[datatype]
        return st.floats(width=width, allow_nan=False, allow_infinity=False)
    bits = INTEGERS[datatype]
    low, high = (0, (1 << bits) - 1) if datatype[0] == "U" else (-1 << bits - 1, 0)
    return st.integers(low, high or (1 << bits - 1) - 1)


def fault(read: Callable[..., object], *args: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        read(*args)
    return str(caught.value)


# Agreement


@bounded
@given(st.data(), st.sampled_from([*INTEGERS, *FLOATS]), st.integers(1, 5))
def test_numbers_of_a_column_are_the_same_from_json_and_from_bytes(
    data: st.DataObject, datatype: str, n: int
) -> None:
    values = data.draw(st.lists(numbers(datatype), min_size=n, max_size=n))
    raw, shape = json.dumps(values).encode(), data.draw(st.sampled_from([[n], [n, 1]]))
    text = PEOPLE.column_of("age", raw, shape, datatype)
    binary = PEOPLE.column_of("age", packed(values, datatype), shape, datatype)
    nested = json.dumps([[value] for value in values]).encode()
    for found in text, binary, PEOPLE.column_of("age", nested, [n, 1], datatype):
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float64
        # float() of a Python number rounds correctly: the oracle.
        assert found.tolist() == [float(value) for value in values]


@bounded
@given(st.data(), st.sampled_from([*INTEGERS, *FLOATS]), st.integers(1, 2))
def test_numbers_of_a_tensor_are_the_same_from_json_and_from_bytes(
    data: st.DataObject, datatype: str, n: int
) -> None:
    values = data.draw(st.lists(numbers(datatype), min_size=6 * n, max_size=6 * n))
    shape = data.draw(st.sampled_from([[n, 2, 3], [n, 6]]))
    given_ = np.array(values, DATATYPES[datatype].dtype)
    nested = json.dumps(given_.reshape(shape).tolist()).encode()
    with np.errstate(over="ignore"):
        expected = given_.astype(np.float32).reshape(n, 2, 3)
    reads: list[Callable[[], Any]] = [
        lambda: IMAGE.tensor_of(json.dumps(values).encode(), shape, datatype),
        lambda: IMAGE.tensor_of(nested, shape, datatype),
        lambda: IMAGE.tensor_of(packed(values, datatype), shape, datatype),
    ]
    for read in reads:
        if np.isfinite(expected).all():
            found = read()
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)
        else:
            assert fault(read).endswith("a number is too large for float32")


@pytest.mark.parametrize("datatype", FLOATS)
def test_a_number_of_json_is_rounded_to_its_datatype(datatype: str) -> None:
    """0.1 of an FP32 is that FP32, as its bytes would be."""
    expected = float(np.array(0.1, DATATYPES[datatype].dtype))
    for raw in (b"[0.1]", packed([0.1], datatype)):
        assert PEOPLE.column_of("age", raw, [1], datatype).tolist() == [expected]


@bounded
@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_booleans_are_the_same_from_json_and_from_bytes(values: list[bool]) -> None:
    for raw in (json.dumps(values).encode(), packed(values, "BOOL")):
        found = PEOPLE.column_of("member", raw, [len(values)], "BOOL")
        assert found.tolist() == [float(value) for value in values]


@bounded
@given(st.lists(st.text(max_size=9), min_size=1, max_size=9))
def test_texts_are_the_same_from_json_and_from_bytes(values: list[str]) -> None:
    bare = [text.strip() or None for text in values]  # blanks around it do not count
    for raw in (json.dumps(values).encode(), packed(values, "BYTES")):
        assert PEOPLE.column_of("city", raw, [len(values)], "BYTES") == bare


def test_moments_are_texts() -> None:
    texts = ["2026-01-31", "2026-01-31T12:00:00Z"]
    for raw in (json.dumps(texts).encode(), packed(texts, "BYTES")):
        found = PEOPLE.column_of("joined", raw, [2], "BYTES")
        assert found.tolist() == [seconds(text) for text in texts]


@bounded
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=6, max_size=6))
def test_a_bf16_is_the_upper_half_of_an_fp32(values: list[float]) -> None:
    bits = np.array(values, "<f4").view("<u4")
    whole = (bits & 0xFFFF0000).view("<f4")
    raw = memoryview((bits >> 16).astype("<u2").tobytes())
    if np.isfinite(whole).all():
        found = IMAGE.tensor_of(raw, [1, 6], "BF16")
        np.testing.assert_array_equal(found.ravel(), whole)
        assert PEOPLE.column_of("age", raw, [6], "BF16").tolist() == whole.tolist()
    else:
        assert "infinity" in fault(IMAGE.tensor_of, raw, [1, 6], "BF16")


@pytest.mark.parametrize("datatype", [*INTEGERS, *FLOATS])
def test_a_missing_number_is_null_in_json(datatype: str) -> None:
    found = PEOPLE.column_of("age", b"[1, null, 3]", [3], datatype)
    np.testing.assert_array_equal(found, [1, np.nan, 3])


@pytest.mark.parametrize("datatype", FLOATS)
def test_a_missing_number_is_nan_in_bytes(datatype: str) -> None:
    found = PEOPLE.column_of("age", packed([1, np.nan], datatype), [2], datatype)
    np.testing.assert_array_equal(found, [1, np.nan])


def test_any_column_may_be_null_in_json() -> None:
    found = PEOPLE.column_of("member", b"[null, true]", [2], "BOOL")
    np.testing.assert_array_equal(found, [np.nan, 1])
    assert PEOPLE.column_of("city", b'[null, "Bern"]', [2], "BYTES") == [None, "Bern"]


def test_the_bytes_of_an_fp32_are_not_copied() -> None:
    content = bytearray(3 + 24)
    X = IMAGE.tensor_of(memoryview(content)[3:], [1, 2, 3], "FP32")
    content[3:7] = struct.pack("<f", 7)
    assert X[0, 0, 0] == 7


@bounded
@given(st.data(), st.sampled_from(sorted(DATATYPES.keys() - {"BF16"})))
def test_what_is_written_is_read(data: st.DataObject, datatype: str) -> None:
    kinds = {"BOOL": st.booleans(), "BYTES": st.text(max_size=5)}
    element: Any = kinds[datatype] if datatype in kinds else numbers(datatype)
    values = data.draw(st.lists(element, max_size=6))
    raw = to_bytes(np.array(values, DATATYPES[datatype].dtype), datatype)
    assert raw == packed(values, datatype)
    assert list(from_bytes(memoryview(raw), datatype, len(values))) == values


# Faults


@pytest.mark.parametrize(
    ("name", "data", "shape", "datatype", "sentence"),
    [
        ("agge", b"[1]", [1], "FP64", "there is no column 'agge'; did you mean 'age'?"),
        ("age", b"[1]", [], "FP64", "input 'age': shape [] is not a column's"),
        ("age", b"[1]", [-1], "FP64", "input 'age': shape [-1] is not a column's"),
        ("age", b"[1]", [1, 2], "FP64", "input 'age': shape [1, 2] is not a column's"),
        ("age", b"[1]", [1] * 99, "FP64",
         "input 'age': shape [1, 1, 1, 1, 1, 1, 1, 1]"),
        ("age", b"[1]", [2], "FP64",
         "input 'age': shape [2] does not fit 1 values"),
        ("age", b"[1]", [1], "fp64",
         "input 'age': there is no datatype 'fp64'; did you"),
        ("age", b"[true]", [1], "BOOL",
         "input 'age': expected datatype FP64, found BO"),
        ("city", b"[1]", [1], "INT8",
         "input 'city': expected datatype BYTES, found INT8"),
        ("member", b"[1]", [1], "UINT8", "input 'member': expected datatype BOOL"),
        ("age", b"[1]", [1], "BF16", "input 'age': BF16 has no form in JSON"),
        ("age", b"[1, 1.5]", [2], "INT8",
         "row 1, column 'age': expected a whole number or null, got a number"),
        ("age", b"[1, 128]", [2], "INT8",
         "row 1, column 'age': expected a whole number <= 127"),
        ("age", b"[-1]", [1], "UINT8",
         "row 0, column 'age': expected a whole number >="),
        ("age", b"[0, 18446744073709551616]", [2], "UINT64",
         "row 1, column 'age': expected a whole number <= 18446744073709551615"),
        ("age", b"[0, null, 1%s]" % (b"0" * 4000), [3], "UINT64",
         "row 2, column 'age': expected a whole number <= 18446744073709551615"),
        ("age", b"[1%s]" % (b"0" * 9000), [1], "INT8", "row 0, column 'age': integer"),
        ("age", b"[1, 65520]", [2], "FP16",
         "row 1, column 'age': a number is too large for float16"),
        ("age", b"[1e39]", [1], "FP32",
         "row 0, column 'age': a number is too large for"),
        ("age", b'["1"]', [1], "FP32",
         "row 0, column 'age': expected a number or null"),
        ("member", b"[1]", [1], "BOOL",
         "row 0, column 'member': expected true or false"),
        ("city", b"[1]", [1], "BYTES",
         "row 0, column 'city': expected a string or null"),
        ("joined", b'["x"]', [1], "BYTES", "row 0, column 'joined': expected a date"),
        ("age", packed([1], "FP32"), [1], "FP64",
         "input 'age': 1 FP64 values are 8 bytes, found 4"),
        ("age", packed([1, 2], "FP64"), [1], "FP64",
         "input 'age': 1 FP64 values are 8 bytes, found 16"),
        ("age", packed([1], "FP64"), [1 << 62], "FP64",
         "input 'age': 4611686018427387904"),
        ("age", packed([0, np.inf], "FP64"), [2], "FP64",
         "row 1, column 'age': expected a number, found infinity"),
        ("member", memoryview(b"\0\1\2"), [3], "BOOL",
         "row 2, column 'member': expected a byte of 0 or 1"),
        ("city", packed(["a"], "BYTES"), [2], "BYTES",
         "input 'city': 2 texts are 8 bytes at least, found 5"),
        ("city", packed(["", "b"], "BYTES"), [1], "BYTES",
         "input 'city': 5 bytes follow the last of 1 texts"),
        ("city", packed(["a", "bcde"], "BYTES")[:-1], [2], "BYTES",
         "row 1, column 'city': the bytes end before the text does"),
        ("city", memoryview(b"\1\0\0\0a\1\0\0"), [2], "BYTES",
         "row 1, column 'city': the bytes end before the text does"),
        ("city", memoryview(b"\xff\xff\xff\xff"), [1], "BYTES",
         "row 0, column 'city': the bytes end before the text does"),
        ("city", packed(["", b"\xff"], "BYTES"), [2], "BYTES",
         "row 1, column 'city': expected text in UTF-8"),
        ("city", packed(["a"], "BYTES"), [1 << 62], "BYTES",
         "input 'city': 4611686018427387904 texts are"),
        ("joined", packed(["2026-13-01"], "BYTES"), [1], "BYTES",
         "row 0, column 'joined': expected a date"),
    ],
)  # fmt: skip
def test_a_column_that_lies_is_refused(
    name: str, data: Any, shape: list[int], datatype: str, sentence: str
) -> None:
    assert fault(PEOPLE.column_of, name, data, shape, datatype).startswith(sentence)


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "sentence"),
    [
        (b"[1,1,1,1,1,1]", [1, 6], "BYTES",
         "input 'x': expected datatype FP32, found BY"),
        (b"[1,1,1,1,1,1]", [1, 6], "FP31",
         "input 'x': there is no datatype 'FP31'; did"),
        (b"[1,1,1,1,1,1]", [1, 6], "BF16", "input 'x': BF16 has no form in JSON"),
        (b"[1,1,1,1,1,1.5]", [1, 6], "INT8", "row 0: expected a whole number, got"),
        (b"[[1,1,1,1,1,300]]", [1, 6], "UINT8",
         "row 0, position 5: expected a whole number <= 255"),
        (b"[[[1,1,1],[1,1,null]]]", [1, 2, 3], "UINT8",
         "row 0, position 1, 2: expected a whole number, got null"),
        (b"[0,0,0,0,0,0,18446744073709551616,0,0,0,0,0]", [2, 6], "UINT64",
         "row 1: expected a whole number <= 18446744073709551615"),
        (b"[[1,1,1,1,1,1],[1,1,1,1,1,1e5]]", [2, 6], "FP16",
         "row 1: a number is too large for float16"),
        (packed([1] * 5, "FP32"), [1, 6], "FP32",
         "input 'x': 6 FP32 values are 24 bytes"),
        (packed([1] * 7, "UINT8"), [1, 6], "UINT8",
         "input 'x': 6 UINT8 values are 6 byt"),
        (packed([1] * 6, "FP32"), [1 << 40, 6], "FP32",
         "input 'x': 6597069766656 FP32"),
        (packed([1] * 6, "FP32"), [-1, 6], "FP32", "input 'x': -6 FP32 values are"),
        (packed([], "FP32"), [0, 6], "FP32", "expected at least one row"),
        (packed([1] * 11 + [np.nan], "FP32"), [2, 6], "FP32",
         "row 1: expected numbers, found NaN or infinity"),
        (packed([1] * 5 + [-np.inf], "FP16"), [1, 6], "FP16",
         "row 0: expected numbers, found NaN or infinity"),
        (packed([1] * 5 + [1e39], "FP64"), [1, 6], "FP64",
         "row 0: a number is too large for float32"),
    ],
)  # fmt: skip
def test_a_tensor_that_lies_is_refused(
    data: Any, shape: list[int], datatype: str, sentence: str
) -> None:
    assert fault(IMAGE.tensor_of, data, shape, datatype).startswith(sentence)


def test_the_name_of_a_datatype_is_cut_before_it_is_repeated() -> None:
    with pytest.raises(Misfit) as caught:
        require("FP" * 10_000, "FP32")
    assert len(str(caught.value)) < 100


@bounded
@given(
    st.sampled_from([column.name for column in COLUMNS]),
    st.binary(max_size=40),
    st.lists(st.integers(-1, 12), max_size=3),
    st.sampled_from(sorted(DATATYPES)),
)
def test_any_bytes_are_a_sound_column_or_a_refusal(
    name: str, raw: bytes, shape: list[int], datatype: str
) -> None:
    try:
        found = PEOPLE.column_of(name, memoryview(raw), shape, datatype)
    except InvalidInput:
        return
    assert len(found) == shape[0]
    if isinstance(found, np.ndarray):
        assert not np.isinf(found).any()
    else:
        assert all(isinstance(text, str) for text in found)


@bounded
@given(st.binary(max_size=60), st.integers(0, 4), st.sampled_from(sorted(DATATYPES)))
def test_any_bytes_are_a_sound_tensor_or_a_refusal(
    raw: bytes, n: int, datatype: str
) -> None:
    try:
        found = IMAGE.tensor_of(memoryview(raw), [n, 2, 3], datatype)
    except InvalidInput:
        return
    assert found.shape == (n, 2, 3)
    assert np.isfinite(found).all()

"""Every text is read as Python's json reads it, or not at all."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.protocols.fast_json import MAX_BYTES, parse_numeric_rows

finite = st.floats(allow_nan=False, allow_infinity=False) | st.integers(
    -(1 << 63), (1 << 64) - 1
)
json_values = st.recursive(
    st.none() | st.booleans() | finite | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(
    st.integers(1, 4).flatmap(
        lambda w: st.lists(
            st.lists(finite, min_size=w, max_size=w), min_size=1, max_size=5
        )
    )
)
def test_rows_of_numbers_are_those_of_json(rows: list[list[float]]) -> None:
    found = parse_numeric_rows(json.dumps({"x": rows}).encode(), "x", len(rows[0]))
    assert found is not None
    np.testing.assert_array_equal(found, np.array(rows, np.float64))


@given(json_values)
def test_nothing_but_rows_of_numbers_is_read(value: object) -> None:
    found = parse_numeric_rows(json.dumps({"x": value}).encode(), "x", 2)
    plain = (
        isinstance(value, list)
        and value
        and all(
            isinstance(row, list)
            and len(row) == 2
            and all(type(number) in (int, float) for number in row)
            for row in value
        )
    )
    assert (found is not None) == bool(plain)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[[1,2]]",
        b' {"x":[[1,2]]}',
        b'\xef\xbb\xbf{"x":[[1,2]]}',
        b'{"x":[[1,2]],"y":1}',
        b'{"x":[[1,2]],"x":[[3,4]]}',
        b'{"y":[[1,2]]}',
        b'{"x":[[1,[2]],[3,4]]}',
        b'{"x":[[1,2,3],[4]]}',
        b'{"x":[1,2]}',
        b'{"x":[[1,NaN]]}',
        b'{"x":[[1,1e400]]}',
        b'{"x":[[1,123456789012345678901]]}',
        b'{"x":[[1,02]]}',
        b'{"x":[[1,2]]} x',
        b'{"x":[[1,2]],"y":"\xff"}',
        b'{"x":[[1,2' + b" " * MAX_BYTES + b"]]}",
    ],
    ids=lambda text: text[:30].decode("latin-1"),
)
def test_what_is_not_that_plain_is_left_to_others(text: bytes) -> None:
    assert parse_numeric_rows(text, "x", 2) is None
    assert (
        parse_numeric_rows(b'{"x":[[1,2]]}', "x", 2) is not None
    )  # and spoils nothing


def test_threads_do_not_see_each_others_numbers() -> None:
    wrong: list[object] = []

    def read(number: int) -> None:
        text = json.dumps({"x": [[number] * 50] * 50}).encode()
        for _ in range(200):
            found = parse_numeric_rows(text, "x", 50)
            if found is not None and not (found == number).all():
                wrong.append(found)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong

"""The values of one column: flat or as lists of one, and of a bounded number."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.codecs.column_values import column_values, finite_numbers, require_rows
from models.codecs.datatypes import Misfit
from models.errors import InvalidInput, TooManyRows


def test_values_are_flat_or_lists_of_one() -> None:
    for raw in b"[1,null,2.5]", b"[[1],[null],[2.5]]":
        assert column_values(float | None, "a", raw) == [1.0, None, 2.5]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"[[1],[1,2]]", "column 'a': expected one value a row"),
        (b"[[1],[]]", "column 'a': expected one value a row"),
        (b'[1,"b"]', "row 1, column 'a': expected a number or null, got a string"),
        (b'[[1],["b"]]', "row 1, column 'a': expected a number or null, got a string"),
        (b"1", "column 'a': expected a list, got a number"),
    ],
)
def test_other_values_are_refused_with_their_row(raw: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        column_values(float | None, "a", raw)


def test_a_long_column_is_counted_before_it_is_decoded() -> None:
    raw = b"[" + b"0," * 100_000 + b"0]"
    require_rows(raw, 100_001)
    with pytest.raises(TooManyRows):
        require_rows(raw, 100_000)
    with pytest.raises(TooManyRows):  # one row of many values
        require_rows(b"[" + raw + b"]", 10)


def test_infinity_is_no_number() -> None:
    assert finite_numbers([1.0, None], "FP32").tolist()[0] == 1.0  # type: ignore[union-attr]
    with pytest.raises(Misfit, match="infinity") as caught:
        finite_numbers(np.array([0.0, np.inf]), "FP64")
    assert caught.value.element == 1

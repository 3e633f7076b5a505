"""Lists are cut into blocks, items are counted, and NaN is found, as a parser would."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.codecs import blocks as module
from models.codecs.blocks import blocks, fits, nan_as_null
from models.errors import InvalidInput, TooManyRows

TEXTS = st.text('[]{},:\\"aNé', max_size=6)
VALUES = st.recursive(
    st.integers(0, 9) | st.none() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
)
SIZES = st.integers(1, 9)
MANY = 1 << 40


def written(value: Any, spaces: bool = False) -> bytes:
    separators = (" , ", " : ") if spaces else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=False).encode()


def n_values(value: Any) -> int:
    """Values inside a list or object, as commas and opening brackets count them."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return 0
    return max(len(value) - 1, 0) + 1 + sum(map(n_values, inner))


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1), SIZES, st.booleans())
def test_blocks_hold_all_items_in_order(
    items: list[Any], size: int, spaces: bool
) -> None:
    found = list(blocks(written(items, spaces), len(items), MANY, size))
    assert [item for block in found for item in json.loads(block)] == items


@settings(deadline=None)
@given(st.lists(VALUES, min_size=2), SIZES)
def test_no_block_is_made_of_more_items_than_allowed(
    items: list[Any], size: int
) -> None:
    made: list[Any] = []
    with pytest.raises(TooManyRows, match=f"expected {len(items) - 1} rows at most"):
        made.extend(blocks(written(items), len(items) - 1, MANY, size))


def test_an_item_of_too_many_values_is_refused_with_its_row() -> None:
    wide = b"[[1,2],[3,4],[" + b"0," * 100 + b"0]]"
    with pytest.raises(InvalidInput, match="row 2: expected at most 10 values"):
        list(blocks(wide, MANY, 10, 32))
    assert len(b"".join(blocks(wide, MANY, 200, 32))) > 200


@settings(deadline=None)
@given(st.lists(VALUES) | st.dictionaries(TEXTS, VALUES), st.integers(1, 9))
def test_items_and_values_are_counted(container: Any, most: int) -> None:
    raw, values = written(container, True), n_values(container)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 3)
        assert fits(raw, most) == (len(raw) <= 3 or len(container) <= most)
        assert fits(raw, MANY, values)
        assert len(raw) <= 3 or not fits(raw, MANY, values - 1)


def test_a_small_text_fits_unread() -> None:
    assert fits(b"[1,2,3", 1, 0)


@settings(deadline=None)
@given(st.lists(VALUES | st.just(math.nan)), st.sampled_from([0, 65_530]))
@example([{"NaN,": None}], 0)
def test_nan_becomes_null_outside_strings(items: list[Any], padding: int) -> None:
    raw = b" " * padding + written([*items, "NaN", {"NaN": math.nan}, '\\"NaN'])
    expected = json.loads(raw, parse_constant=lambda constant: None)
    assert json.loads(nan_as_null(raw)) == expected

"""Too many rows are refused before they are made; the rest is told by the dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from service.inference import inference
from service.inference.inference import rows_within

MOST = 3


class Decoder:
    """Says that it was asked."""

    def rows(self, raw: bytes) -> Any:
        return "decoded"


@pytest.fixture(autouse=True, scope="module")
def all_are_large() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "LARGE", 0)
        yield


def test_few_rows_are_decoded_however_many_brackets_they_have() -> None:
    for rows in ([[[1], [2], [3], [4]]] * MOST, [{"a": "}}}}]]]]"}] * MOST, []):
        assert rows_within(Decoder(), json.dumps(rows).encode(), MOST) == "decoded"


@pytest.mark.parametrize(
    "row", ["[]", "[1, 2]", '["]]"]', "[[1], [2]]", "{}", '{"a": "}"}', '{"a": {}}']
)
def test_more_are_not(row: str) -> None:
    raw = f"[{', '.join([row] * (MOST + 1))}]".encode()
    with pytest.raises(InvalidInput, match=r"more than 3 rows .*GLASSNET_MAX_ROWS"):
        rows_within(Decoder(), raw, MOST)
    assert rows_within(Decoder(), raw, MOST + 1) == "decoded"


VALUES = st.recursive(
    st.integers(0, 9) | st.text('[]{},\\"', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("]}", max_size=2), inner, max_size=3)
    ),
)


@given(st.lists(VALUES, max_size=8))
def test_it_never_refuses_what_is_allowed(rows: list[Any]) -> None:
    raw = json.dumps(rows).encode()
    if len(rows) <= MOST:
        assert rows_within(Decoder(), raw, MOST) == "decoded"
    elif all(isinstance(row, list) for row in rows):
        with pytest.raises(InvalidInput):
            rows_within(Decoder(), raw, MOST)


@given(st.text('[]{},1" ', max_size=30))
def test_what_is_not_json_is_left_to_the_decoder(text: str) -> None:
    try:
        assert rows_within(Decoder(), text.encode(), MOST) == "decoded"
    except InvalidInput:
        assert text.count(",") >= MOST

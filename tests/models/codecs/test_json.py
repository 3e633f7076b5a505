"""JSON's own faults, in JSON's own words."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codecs.json import located, opening, parse, plain
from models.errors import InvalidInput

ANYTHING = msgspec.json.Decoder(list[Any])


@pytest.mark.parametrize(
    ("raw", "brackets"),
    [
        (b"[[1]]", "[["),
        (b'[{"a":1}]', "[{"),
        (b'{"a":[1]}', "{"),
        (b"[1, [2]]", "["),
        (b"[[[1]]]", "[[["),
        (b" [\n\t[\r\n 1]]", "[["),
        (b"", ""),
        (b"17", ""),
        (b'"["', ""),
        (b"[]", "["),
        (b"\xff[", ""),
        (b" " * 1000 + b"[" + b"\n" * 1000 + b'{"a":1}]', "[{"),
    ],
)
def test_the_opening_tells_the_form_of_the_rows(raw: bytes, brackets: str) -> None:
    assert opening(raw) == brackets
    assert opening(msgspec.Raw(raw)) == brackets


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 3), st.text(" \n\t\r", max_size=200))
def test_white_space_changes_nothing(depth: int, space: str) -> None:
    text = space.join("[" * depth + "{")
    assert opening((space + text).encode()) == "[" * depth + "{"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON: "),
        (b"[1,", "not valid JSON: "),
        (b"[1,]", "not valid JSON: trailing comma in array"),
        (b"[1] 2", "not valid JSON: trailing characters"),
        (b"[NaN]", "not valid JSON: invalid character"),
        (b"[Infinity]", "expected a finite number, found Infinity (byte 1)"),
        (b"[1] // one", "not valid JSON: "),
        (b"['a']", "not valid JSON: invalid character"),
        (b'["\xff"]', "not valid JSON: the text is not UTF-8"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b"[" * 100_000 + b"]" * 100_000, "the JSON is nested too deeply"),
        (b'[{"a":' * 50_000, "the JSON is nested too deeply"),
    ],
)
def test_what_is_not_json_is_said_so(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(ANYTHING, raw)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("kind", "raw", "words"),
    [
        (float | None, b'"x"', "expected a number or null, got a string"),
        (float, b"[1]", "expected a number, got a list"),
        (bool | None, b"1", "expected true or false or null, got a number"),
        (str, b"{}", "expected a string, got an object"),
        (list[float], b'{"a":1}', "expected a list, got an object"),
        (dict[str, float], b"null", "expected an object, got null"),
        (list[float], b"[1, true]", "expected a number, got true or false"),
    ],
)
def test_a_wrong_type_is_named_as_json_names_it(
    kind: Any, raw: bytes, words: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        parse(msgspec.json.Decoder(kind), raw)
    assert plain(caught.value) == words


def test_where_a_fault_lies_is_told_from_what_it_is() -> None:
    kind = msgspec.defstruct("Row", [("x", float)], rename={"x": "a - at b"})
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'[{"a - at b":""}]', type=list[kind])  # type: ignore[valid-type]
    assert located(caught.value) == ("Expected `float`, got `str`", "[0].a - at b")
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b"[{}]", type=list[kind])  # type: ignore[valid-type]
    assert located(caught.value)[1] == "[0]"
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b"1", type=list[float])
    assert located(caught.value)[1] == ""


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=30) | st.text("[]{}:,\"\\u0123eE+-. \n'", max_size=30))
def test_any_bytes_are_parsed_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    opening(raw)
    with contextlib.suppress(InvalidInput, msgspec.ValidationError):
        assert isinstance(parse(ANYTHING, raw), list)

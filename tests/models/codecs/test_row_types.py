"""The types of rows, and the names under which their columns are decoded."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import msgspec
import pytest

from models.codecs.row_types import RowTypes
from models.errors import InvalidInput
from models.features.columns import CategoricalColumn, NumericColumn, Standardization

UNIT = Standardization(0.0, 1.0)
COLUMNS = (
    CategoricalColumn(name="gr\u00f6\u00dfe", nullable=True, categories=("a",)),
    NumericColumn(name='a "b"', scaling=UNIT),
)
TYPES = RowTypes(COLUMNS)
ROW = {COLUMNS[0].name: "a", COLUMNS[1].name: 2}


def values(decoder: Any, raw: bytes, objects: bool) -> list[Any]:
    rows = decoder.objects if objects else decoder.lists
    decoded = map(msgspec.structs.astuple, rows.decode(raw))
    return TYPES.by_column(decoded, objects)


def test_rows_by_name_and_in_order_give_the_same_columns() -> None:
    expected = [("a", "a"), (2.0, 2.0)]
    renamed = TYPES.renamed(json.dumps([ROW, ROW]).encode())
    assert values(TYPES.plain, renamed, True) == expected
    assert values(TYPES.plain, b'[["a",2],["a",2]]', False) == expected


def test_an_optional_column_may_be_absent() -> None:
    renamed = TYPES.renamed(json.dumps([{COLUMNS[1].name: 2}]).encode())
    assert values(TYPES.plain, renamed, True) == [(None,), (2.0,)]


def test_wrapped_values_are_tuples_of_one() -> None:
    assert values(TYPES.wrapped, b'[[["a"],[2]],["a",2]]', False) == [
        (("a",), "a"),
        ((2.0,), 2.0),
    ]


def test_a_name_is_known_in_any_form_of_its_accents() -> None:
    name = COLUMNS[0].name
    assert TYPES.known(normalize("NFD", name)) == name
    assert TYPES.known("other") == "other"
    assert TYPES.has_accents


def test_a_name_that_needs_an_alias_has_one() -> None:
    name = COLUMNS[1].name
    assert TYPES.needs_renaming
    assert TYPES.field(name) != name
    assert TYPES.real(TYPES.field(name)) == name
    assert TYPES.field("x") == TYPES.real("x") == "x"


def test_only_objects_are_renamed() -> None:
    with pytest.raises(msgspec.ValidationError):
        TYPES.renamed(b"[1]")
    with pytest.raises(InvalidInput, match="not valid JSON"):
        TYPES.renamed(b"[")

"""Rows from CSV: what the trainer reads, with a header and without."""

from __future__ import annotations

import contextlib
import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codecs import TableDecoder, TensorDecoder, csv_rows
from models.errors import DataError, InvalidInput
from models.features.columns import (
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
    Standardization,
)
from models.features.dates import seconds
from models.features.table import TableInput
from models.features.tensor import TensorInput
from trainer.data import read_for

UNIT = Standardization(0.0, 1.0)
TABLE = TableInput(
    (
        NumericColumn(name="age", nullable=True, scaling=UNIT),
        BooleanColumn(name="member", varies=True),
        DatetimeColumn(name="joined", has_time=True, scaling=UNIT),
        CategoricalColumn(name="city", nullable=True, categories=("Basel", "Bern")),
    )
)
PEOPLE = TableDecoder(TABLE)
ONE = TableDecoder(TableInput((NumericColumn(name="x", nullable=True, scaling=UNIT),)))
IMAGE = TensorDecoder(TensorInput((2, 2), 0.0, 1.0, [0.0], [1.0]))
PLAIN = "30.5,true,2026-01-31,Bern\n"
HEADER = "age,member,joined,city\n"


def read(text: str, header: bool | None = None) -> dict[str, list[Any]]:
    found = csv_rows(PEOPLE, text.encode(), header)
    assert isinstance(found, dict)
    return {name: list(values) for name, values in found.items()}


def written(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def test_a_header_may_stand_above_the_rows() -> None:
    expected = {
        "age": [30.5],
        "member": [1.0],
        "joined": [seconds("2026-01-31")],
        "city": ["Bern"],
    }
    assert read(PLAIN) == read(HEADER + PLAIN) == expected
    assert read(HEADER + PLAIN, True) == read(PLAIN, False) == expected
    assert read("\ufeff" + HEADER + PLAIN.replace("\n", "\r\n\r\n")) == expected


def test_a_header_may_be_in_any_order_and_leave_out_what_is_nullable() -> None:
    found = read("member,joined,city\nFALSE,2026-01-31T12:00:00Z,\n")
    assert list(found) == ["age", "member", "joined", "city"]
    assert np.isnan(found["age"]).all()
    assert (found["member"], found["city"]) == ([0.0], [None])


def test_a_word_that_is_also_a_columns_name_makes_no_header() -> None:
    assert read("1,true,2026-01-31,age\n")["city"] == ["age"]


def test_a_blank_line_is_a_missing_value_where_it_can_be_one() -> None:
    for text in ("x\n1\n\n2\n", "1\n\n2\n"):
        (values,) = csv_rows(ONE, text.encode()).values()  # type: ignore[union-attr]
        assert np.array_equal(values, [1.0, np.nan, 2.0], equal_nan=True)


def test_a_tensor_is_its_numbers_in_order() -> None:
    expected = [[[1.0, 2.0], [3.0, 4.5]]]
    assert csv_rows(IMAGE, b"1,2,3,4.5").tolist() == expected  # type: ignore[union-attr]
    named = b"a,b,c,d\n1,2,3,4.5\n\n"
    assert csv_rows(IMAGE, named, True).tolist() == expected  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected at least one row, found none"),
        (HEADER, "expected at least one row, found none"),
        ("1,true\n", "row 0: expected 4 values, found 2"),
        (HEADER + PLAIN + "1\n", "row 1: expected 4 values, found 1"),
        (HEADER.replace("age", "aeg") + PLAIN, "no column 'aeg'; did you mean 'age'"),
        ("age," + HEADER + "1," + PLAIN, "the header names column 'age' twice"),
        (
            "," + HEADER + "0," + PLAIN,
            "field 0 of the header is empty; if it is an index, leave",
        ),
        ("age,city\n1,Bern\n", "column 'member' is missing"),
        (PLAIN + "x" + PLAIN, "row 1, column 'age': expected a finite number, or noth"),
        (PLAIN.replace("30.5", "inf"), "row 0, column 'age': expected a finite number"),
        (PLAIN.replace("30.5", "1e999"), "row 0, column 'age': expected a finite"),
        (PLAIN.replace("true", "1"), "row 0, column 'member': expected true or false"),
        (PLAIN.replace("2026", "26"), "row 0, column 'joined': expected a date"),
        ('1,"true', "CSV line 1: unexpected end of data"),
        ("1," + "x" * 200_000, "CSV line 1: field larger than field limit"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_a_sentence(
    text: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert sentence in str(caught.value)


def test_more_rows_than_are_allowed_are_refused() -> None:
    for text in (PLAIN * 3, HEADER + PLAIN * 3):
        assert len(csv_rows(PEOPLE, text.encode(), max_rows=3)["age"]) == 3
        with pytest.raises(InvalidInput, match="expected 2 rows at most, found more"):
            csv_rows(PEOPLE, text.encode(), max_rows=2)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"1,2,3", "row 0: expected 4 values, found 3"),
        (b"1,2,3,4\n1,2,,4", "row 1, position 2: expected a finite number"),
        (b"1,2,3,1e39", "row 0: a number is too large for float32"),
        (b"a,b,c,d\n1,2,3,4", "row 0, position 0: expected a finite number"),
        (b"\xff", "not CSV: the text is not UTF-8"),
        (b"", "expected at least one row, found none"),
    ],
)
def test_numbers_that_do_not_fit_a_tensor_are_refused(
    raw: bytes, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        csv_rows(IMAGE, raw)
    assert sentence in str(caught.value)


CELLS = st.sampled_from(
    [
        *["", " ", "NA", " null ", "None", "1", " 2.5 ", "+3", "-.5", "1.", "1e5"],
        *["007", "1e999", "nan", "inf", "-Infinity", "0x1", "1_0", "٣", "1e", "--1"],
        *["1 2", "true", "TRUE", " true", "False", "yes", "2024-01-01", " 2024-01-01"],
        *["2024-02-30", "2024-01-01T10:00:00+02:00", "x", 'a"b', "a,b", "a\nb"],
    ]
)
FITTING = st.tuples(
    st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.just(""),
    st.sampled_from(["true", "False", "", "NA"]),
    st.sampled_from(["1999-12-31", "2026-01-31T10:00:00Z", "", "null"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
).map(list)


@settings(deadline=None, max_examples=300)
@given(
    rows=st.lists(FITTING | st.lists(CELLS, min_size=4, max_size=4), min_size=1),
    names=st.permutations(PEOPLE.names),
)
def test_what_the_trainer_reads_and_refuses_is_read_and_refused_here(
    rows: list[list[str]],
    names: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    order = [PEOPLE.names.index(name) for name in names]
    raw = written([names, *([row[i] for i in order] for row in rows)])
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    path.write_bytes(raw)
    try:
        expected: Any = read_for(str(path), TABLE, None).inputs
    except DataError:
        with pytest.raises(InvalidInput):
            csv_rows(PEOPLE, raw)
        return
    found: Any = csv_rows(PEOPLE, raw)
    assert list(found["city"]) == list(expected["city"])
    for name in ("age", "member", "joined"):
        assert np.array_equal(found[name], expected[name], equal_nan=True), name


def test_a_zero_byte_is_no_text() -> None:
    with pytest.raises(InvalidInput, match="zero byte"):
        csv_rows(PEOPLE, written([PEOPLE.names, ["1", "true", "2024-01-01", "a\0"]]))


@settings(deadline=None, max_examples=200)
@given(
    raw=st.binary() | st.text().map(str.encode), header=st.sampled_from([True, None])
)
def test_any_bytes_are_rows_or_a_refusal(raw: bytes, header: bool | None) -> None:
    for decoder in (PEOPLE, ONE, IMAGE):
        with contextlib.suppress(InvalidInput):
            found = csv_rows(decoder, raw, header)
            assert len(next(iter(found.values())) if isinstance(found, dict) else found)

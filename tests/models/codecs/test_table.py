"""Rows and columns of a table: every form that fits, and a sentence for the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any
from unicodedata import normalize

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.codecs import TableDecoder, Tensor, csv_rows
from models.errors import InvalidInput, TooManyRows
from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
    Standardization,
    Values,
)
from models.features.dates import seconds
from models.features.table import TableInput

bounded = settings(deadline=None, max_examples=150)
UNIT = Standardization(0.0, 1.0)

# A nullable column stands before one that is not: msgspec orders its fields otherwise.
COLUMNS: tuple[AnyColumn, ...] = (
    NumericColumn(name="age", nullable=True, scaling=UNIT),
    BooleanColumn(name="member", varies=True),
    DatetimeColumn(name="joined", has_time=True, scaling=UNIT),
    CategoricalColumn(name="home city", nullable=True, categories=("Basel", "Bern")),
)
FULL = {"age": 30.5, "member": True, "joined": "2026-01-31", "home city": "Bern"}


def numeric(*names: str, nullable: bool = False) -> TableDecoder:
    return TableDecoder(
        TableInput(
            tuple(NumericColumn(name=n, nullable=nullable, scaling=UNIT) for n in names)
        )
    )


PEOPLE = TableDecoder(TableInput(COLUMNS))
ONE = numeric("x")
PAIR = numeric("width", "height")


def encoded(rows: object) -> bytes:
    return json.dumps(rows).encode()


def fault(decode: Callable[..., object], *args: Any) -> str:
    """The sentence that refuses these arguments."""
    with pytest.raises(InvalidInput) as caught:
        decode(*args)
    return str(caught.value)


def attempt(decode: Callable[..., Any], *args: Any) -> tuple[Any, str]:
    """What comes of these arguments: the result, or the sentence that refuses them."""
    try:
        return decode(*args), ""
    except InvalidInput as error:
        return None, str(error)


def refusal(rows: object, decoder: TableDecoder = PEOPLE) -> str:
    return fault(decoder.rows, rows if isinstance(rows, bytes) else encoded(rows))


def same(found: object, expected: dict[str, Any]) -> None:
    """Compare raw columns, NaN equal to NaN, and their order."""
    assert isinstance(found, dict)
    assert list(found) == list(expected)
    for name, values in expected.items():
        if isinstance(found[name], np.ndarray):
            assert found[name].dtype == np.float64
            np.testing.assert_array_equal(found[name], values)
        else:
            assert list(found[name]) == values


# Forms that fit

TWO_ROWS = {
    "age": [30.5, np.nan],
    "member": [1.0, 0.0],
    "joined": [seconds("2026-01-31"), seconds("2025-12-31T23:00:00Z")],
    "home city": ["Bern", None],
}


def test_rows_may_be_objects_in_any_order() -> None:
    second = {
        "home city": None,
        "joined": "2026-01-01T00:00:00+01:00",
        "member": False,
        "age": None,
    }
    same(PEOPLE.rows(encoded([FULL, second])), TWO_ROWS)


def test_an_absent_nullable_column_is_missing() -> None:
    second = {"member": False, "joined": "2025-12-31T23:00"}
    same(PEOPLE.rows(encoded([FULL, second])), TWO_ROWS)


def test_rows_may_be_lists_in_signature_order() -> None:
    rows = [
        [30.5, True, "2026-01-31", "Bern"],
        [None, False, "2025-12-31T23:00:00", None],
    ]
    same(PEOPLE.rows(encoded(rows)), TWO_ROWS)


def test_columns_may_be_given_one_by_one() -> None:
    given = {
        "joined": ["2026-01-31", "2025-12-31T23:00:00Z"],
        "age": [30.5, None],
        "member": [[True], [False]],  # one value a row
        "home city": ["Bern", None],
    }
    same(PEOPLE.by_column(encoded(given)), TWO_ROWS)
    del given["home city"]
    same(PEOPLE.by_column(encoded(given)), {**TWO_ROWS, "home city": [None, None]})


@pytest.mark.parametrize("rows", [[1, 2.5], [[1], [2.5]], [{"x": 1}, {"x": 2.5}]])
def test_a_table_of_one_column_takes_bare_values(rows: object) -> None:
    same(ONE.rows(encoded(rows)), {"x": [1, 2.5]})


@pytest.mark.parametrize("given", [[1, 2.5], [[1], [2.5]], {"x": [[1], [2.5]]}])
def test_a_table_of_one_column_takes_a_bare_column(given: object) -> None:
    same(ONE.by_column(encoded(given)), {"x": [1, 2.5]})


def test_any_column_may_be_null() -> None:
    row = dict.fromkeys(FULL)
    nothing = {name: [np.nan] for name in FULL} | {"home city": [None]}
    same(PEOPLE.rows(encoded([row])), nothing)
    same(PEOPLE.rows(encoded([list(row.values())])), nothing)
    same(ONE.rows(b"[null]"), {"x": [np.nan]})


def test_a_date_that_numpy_calls_missing_is_missing() -> None:
    (moment,) = PEOPLE.rows(encoded([{**FULL, "joined": "NaT"}]))["joined"]
    assert np.isnan(moment)
    with pytest.raises(InvalidInput, match="expected a number"):
        PEOPLE.rows(encoded([{**FULL, "age": "NaT"}]))


def test_white_space_of_any_length_is_allowed() -> None:
    space = b"\n" + b" " * 200
    same(PAIR.rows(b"[" + space + b"[1,2]]"), {"width": [1], "height": [2]})
    rows = space + b"[" + space + b'{"width":1,"height":2}]'
    same(PAIR.rows(rows), {"width": [1], "height": [2]})
    same(ONE.by_column(space + b"[1]"), {"x": [1]})


def test_whole_numbers_and_exponents_are_numbers() -> None:
    found = ONE.rows(b"[0, -0, 1e-7, 123456789012345678901234567890, 1.7e308]")
    same(found, {"x": [0, 0, 1e-7, 123456789012345678901234567890.0, 1.7e308]})


def test_of_a_name_given_twice_the_last_counts() -> None:
    found = PAIR.rows(b'[{"width":1,"width":2,"height":3}]')
    same(found, {"width": [2], "height": [3]})
    found = PAIR.by_column(b'{"width":[1],"width":[2],"height":[3]}')
    same(found, {"width": [2], "height": [3]})
    absent = refusal(b'[{"width":1,"width":2}]', PAIR)
    assert absent == "row 0: column 'height' is missing"


def test_raw_json_is_decoded_as_bytes_are() -> None:
    same(PAIR.rows(msgspec.Raw(b"[[1,2]]")), {"width": [1], "height": [2]})


# Names

ODD_NAMES = [
    "a b",
    "a.b",
    'say "hi"',
    "'",
    "back\\slash",
    "tab\there",
    "new\nline",
    "\x00",
    "`tick`",
    "$[0]",
    "a - at b",
    "größe",
    "身長",
    "🙂",
    "\u2028",
    "c0",
    "c2",
    "c1",
    "__proto__",
    "class",
    "x" * 1024,
]


def test_a_column_may_have_any_name() -> None:
    decoder = numeric(*ODD_NAMES)
    numbers = range(len(ODD_NAMES))
    expected = {name: [float(i)] for name, i in zip(ODD_NAMES, numbers, strict=True)}
    row = dict(zip(ODD_NAMES, numbers, strict=True))
    same(decoder.rows(encoded([row])), expected)
    same(decoder.rows(encoded([dict(reversed(row.items()))])), expected)
    same(decoder.rows(encoded([list(numbers)])), expected)
    same(decoder.by_column(encoded({n: [i] for n, i in row.items()})), expected)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_fault_names_the_column_whatever_its_name(name: str) -> None:
    decoder = numeric("first", name)
    wrong = "expected a number or null, got a string"
    where = f"row 1, column '{name}': {wrong}"
    rows = [{"first": 1, name: 2}, {"first": 1, name: "3"}]
    assert refusal(rows, decoder) == where
    assert refusal([[1, 2], [1, "3"]], decoder) == where
    columns = encoded({"first": [1, 1], name: [2, "3"]})
    assert fault(decoder.by_column, columns) == where
    absent = refusal([{"first": 1, name: 2}, {"first": 1}], decoder)
    assert absent == f"row 1: column '{name}' is missing"


def test_an_odd_name_beside_an_unknown_one_hides_nothing() -> None:
    decoder = numeric('5" disk', "size")
    found = refusal([{'5" disk': 1, "siez": 2}], decoder)
    assert found == "row 0: there is no column 'siez'; did you mean 'size'?"
    found = refusal([{"size": 2}, 7], decoder)
    assert found in (
        "row 0: column '5\" disk' is missing",
        "row 1: expected an object, got a number",
    )
    assert refusal(b'[{"size":', decoder).startswith("not valid JSON")


@bounded
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
        | st.sampled_from(ODD_NAMES),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    st.randoms(use_true_random=False),
)
def test_any_names_are_told_apart(names: list[str], random: Random) -> None:
    pairs = [(name, float(i)) for i, name in enumerate(names)]
    expected = {name: [number] for name, number in pairs}
    random.shuffle(pairs)
    same(numeric(*names).rows(encoded([dict(pairs)])), expected)


# Faults

WRONG: list[tuple[str, object, str]] = [
    ("age", "30", "expected a number or null, got a string"),
    ("age", True, "expected a number or null, got true or false"),
    ("age", [30, 31], "expected a number or null, got a list"),
    ("age", {"value": 30}, "expected a number or null, got an object"),
    ("member", 1, "expected true or false or null, got a number"),
    ("member", "true", "expected true or false or null, got a string"),
    ("joined", 1767225600, "expected a string or null, got a number"),
    (
        "joined",
        "31.01.2026",
        "expected a date or time as ISO 8601, such as 2026-01-31 or "
        "2026-01-31T12:00:00Z",
    ),
    ("home city", 3, "expected a string or null, got a number"),
    ("home city", False, "expected a string or null, got true or false"),
    ("home city", ["Bern", "Bern"], "expected a string or null, got a list"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_wrong_type_is_named_with_its_row_and_column(
    name: str, value: object, expected: str
) -> None:
    sentence = f"row 2, column '{name}': {expected}"
    bad = {**FULL, name: value}
    assert refusal([FULL, FULL, bad]) == sentence
    lists = [list(row.values()) for row in (FULL, FULL, bad)]
    assert refusal(lists) == sentence
    columns = {n: [FULL[n], FULL[n], bad[n]] for n in FULL}
    assert fault(PEOPLE.by_column, encoded(columns)) == sentence
    nested = {n: [[value] for value in values] for n, values in columns.items()}
    assert fault(PEOPLE.by_column, encoded(nested)) == sentence


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "expected at least one row, found an empty list"),
        ([[]], "row 0: expected 4 values, found 0"),
        ([[1, True]], "row 0: expected 4 values, found 2"),
        (
            [list(FULL.values()), [*FULL.values(), 1]],
            "row 1: expected 4 values, found 5",
        ),
        ([{}], "row 0: column 'member' is missing"),
        (
            [FULL, {**FULL, "nmae": 1}],
            "row 1: there is no column 'nmae'; the columns are age, member, joined, "
            "home city",
        ),
        (
            [{**FULL, "home_city": "Bern"}],
            "row 0: there is no column 'home_city'; did you mean 'home city'?",
        ),
        ([FULL, 17], "row 1: expected an object, got a number"),
        ([FULL, None], "row 1: expected an object, got null"),
        ([FULL, list(FULL.values())], "row 1: expected an object, got a list"),
        ([list(FULL.values()), FULL], "row 1: expected a list, got an object"),
        (b"[NaN]", "not valid JSON: invalid character (byte 1)"),
        (b'[{"age":NaN}]', "not valid JSON: invalid character (byte 8)"),
        (b'[{"age":-Infinity}]', "expected a finite number, found Infinity (byte 9)"),
        (b'[{"age":1e999}]', "row 0, column 'age': number out of range"),
        (
            b'[{"age":1' + b"0" * 400 + b"}]",
            "row 0, column 'age': number out of range",
        ),
        (b'[{"home city":"\xff"}]', "not valid JSON: the text is not UTF-8"),
    ],
)
def test_rows_that_do_not_fit_are_refused_in_a_sentence(
    rows: object, sentence: str
) -> None:
    assert refusal(rows) == sentence


@pytest.mark.parametrize("rows", [7, "rows", None, True, FULL, [1, 2], ["a"], [None]])
def test_what_is_no_list_of_rows_is_told_what_one_is(rows: object) -> None:
    expected = "expected a list of rows, each an object or a list of 4 values"
    assert refusal(rows) == expected


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "expected at least one row, found an empty list"),
        ([1, "2"], "row 1, column 'x': expected a number or null, got a string"),
        ([[1], [2, 3]], "row 1: expected 1 values, found 2"),
        ([[1], 2], "row 1: expected a list, got a number"),
        ([{"x": 1}, 2], "row 1: expected an object, got a number"),
        ([1, {"x": 2}], "row 1, column 'x': expected a number or null, got an object"),
        ([1, [2]], "row 1, column 'x': expected a number or null, got a list"),
        (7, "rows: expected a list, got a number"),
        ({"x": 1}, "rows: expected a list, got an object"),
    ],
)
def test_bare_values_that_do_not_fit_are_refused(rows: object, sentence: str) -> None:
    assert refusal(rows, ONE) == sentence


@pytest.mark.parametrize(
    "raw",
    [
        b"[[1],",  # too few values, and then the text ends
        b"[[1],[",
        b'[[1,2,3],"',
        b"[[1],NaN]",
        b"[[1]," + b"[" * 100_000,
        b"[[1]] trailing",
        b'[[1],"\xff"]',
    ],
)
def test_a_wrong_length_before_worse_is_still_refused(raw: bytes) -> None:
    reasons = "not valid JSON", "the JSON is nested", "row 0: expected 2 values"
    assert refusal(raw, PAIR).startswith(reasons)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[[1,2]," + b"[" * 100_000,
        b'[{"width":' * 100_000,
        b'{"width":' * 100_000,
        b'{"width":' + b"[" * 100_000,
        b'[{"unknown":' + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("decoder", [ONE, PAIR, numeric('"', "width")])
def test_depth_without_reason_is_refused(decoder: TableDecoder, raw: bytes) -> None:
    for decode in decoder.rows, decoder.by_column:
        assert fault(decode, raw)
    assert fault(decoder.column, decoder.names[0], raw)


def test_every_depth_near_the_limit_is_refused() -> None:
    for depth in range(900, 1010):
        fault(ONE.column, "x", b"[[" + b"[" * depth + b"]" * depth + b"]]")


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({}, "expected at least one row, found none"),
        ({"age": []}, "expected at least one row, found none"),
        ({"age": [1]}, "column 'member' is missing"),
        ({"agee": [1]}, "there is no column 'agee'; did you mean 'age'?"),
        (
            {"age": [1, 2], "member": [True]},
            "column 'member' has 1 values, column 'age' has 2",
        ),
        ({"age": [], "member": [True]}, "column 'member' has 1 values, column 'age'"),
        ({"age": 1}, "column 'age': expected a list, got a number"),
        ({"age": None}, "column 'age': expected a list, got null"),
        ({"age": [[1], [2, 3]]}, "column 'age': expected one value a row"),
        ({"age": [[1], []]}, "column 'age': expected one value a row"),
        ({"age": [[[1]]]}, "row 0, column 'age': expected a number or null, got a"),
        ({"age": [[1], 2]}, "row 1, column 'age': expected a list, got a number"),
        ([1], "columns: expected an object, got a list"),
        ([FULL], "columns: expected an object, got a list"),
        ("x", "columns: expected an object, got a string"),
        (b'{"age":[1e999]}', "row 0, column 'age': number out of range"),
        (b'{"age":[[1e999]]}', "row 0, column 'age': number out of range"),
        (b'{"age":[1,]}', "not valid JSON"),
        (b'{"age":[1]', "not valid JSON"),
        (b'{"\xff":[1]}', "not valid JSON: the text is not UTF-8"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns: object, sentence: str) -> None:
    raw = columns if isinstance(columns, bytes) else encoded(columns)
    assert fault(PEOPLE.by_column, raw).startswith(sentence)


def test_an_unknown_name_is_cut_before_it_is_repeated() -> None:
    assert len(refusal([{**FULL, "x" * 100_000: 1}])) < 200
    columns = encoded({"x" * 100_000: [1]})
    assert len(fault(PEOPLE.by_column, columns)) < 200
    given: dict[str, Values] = {"x" * 100_000: np.zeros(1)}
    assert len(fault(PEOPLE.assemble, given)) < 200


# Whatever comes

SECRET = "s3cr3t"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["2026-01-31", SECRET, "Bern"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*FULL, "x", "width", "height"]) | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
#: Rows that are nearly right, so that the checks behind the types are reached too.
NEARLY = st.lists(
    st.fixed_dictionaries({n: st.just(v) | VALUES for n, v in FULL.items()})
    | st.tuples(*(st.just(v) | VALUES for v in FULL.values())),
    max_size=3,
)
DECODERS = [PEOPLE, ONE, PAIR, numeric('"', "x", nullable=True)]


def sound(found: Any, decoder: TableDecoder) -> None:
    """Check that raw columns are what the encoder takes."""
    assert list(found) == decoder.names
    (n,) = {len(values) for values in found.values()}
    assert n > 0
    for column in decoder.columns:
        values = found[column.name]
        if isinstance(column, CategoricalColumn):
            assert all(value is None or isinstance(value, str) for value in values)
        else:
            assert values.dtype == np.float64
            assert values.shape == (n,)
            assert not np.isinf(values).any()
    X = decoder.table.encode(found)
    assert X.shape == (n, decoder.table.width)
    assert np.isfinite(X).all()


@bounded
@given(VALUES | NEARLY, st.sampled_from(DECODERS))
def test_any_json_is_sound_rows_or_a_refusal(value: Any, decoder: TableDecoder) -> None:
    raw = encoded(value)
    for decode in decoder.rows, decoder.by_column:
        found, sentence = attempt(decode, raw)
        assert (found is None) == bool(sentence)
        if found is not None:
            sound(found, decoder)


@bounded
@given(VALUES | st.lists(VALUES, max_size=3), st.sampled_from(DECODERS), st.data())
def test_any_json_is_a_sound_column_or_a_refusal(
    value: Any, decoder: TableDecoder, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(decoder.names))
    found, sentence = attempt(decoder.column, name, encoded(value))
    assert sentence or len(found) == len(value)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(FULL)), st.data())
def test_no_fault_repeats_a_value(name: str, data: st.DataObject) -> None:
    wrapped = data.draw(
        st.sampled_from([SECRET, [SECRET], {"x": SECRET}, [[SECRET]], f"x{SECRET}x"])
    )
    bad = {**FULL, name: wrapped}
    sources = [
        (PEOPLE.rows, [FULL, bad]),
        (PEOPLE.rows, [list(bad.values())]),
        (PEOPLE.rows, [[*FULL.values(), SECRET]]),
        (PEOPLE.rows, [SECRET]),
        (PEOPLE.rows, SECRET),
        (PEOPLE.by_column, {n: [v] for n, v in bad.items()}),
        (PEOPLE.by_column, SECRET),
        (PEOPLE.by_column, {name: SECRET}),
    ]
    for decode, value in sources:
        assert SECRET not in attempt(decode, encoded(value))[1]


ACCENTS = "gr\u00f6\u00dfe", "\u00e9te\u0301"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_of_a_name_may_be_spelled_in_any_form(form: Any) -> None:
    decoder, names = numeric(*ACCENTS), [normalize(form, name) for name in ACCENTS]
    expected = {name: [float(i)] for i, name in enumerate(ACCENTS)}
    row = {name: i for i, name in enumerate(names)}
    for escaped in True, False:
        raw = json.dumps([row, row], ensure_ascii=escaped).encode()
        same(decoder.rows(raw), {name: v * 2 for name, v in expected.items()})
    same(decoder.by_column(encoded({name: [i] for name, i in row.items()})), expected)
    same(decoder.from_frame(names, b"[[0,1]]"), expected)
    same(csv_rows(decoder, ",".join(names).encode() + b"\n0,1"), expected)
    tensors = [Tensor(name, [1], "FP64", encoded([i])) for name, i in row.items()]
    same(decoder.from_tensors(tensors), expected)
    with pytest.raises(InvalidInput, match="there is no column 'gro'"):
        decoder.rows(encoded([{**row, "gro": 1}]))


EMPTY = TableDecoder(
    TableInput(
        (
            NumericColumn.fit("number", np.array([np.nan])),
            DatetimeColumn.fit("day", np.array([np.nan])),
            CategoricalColumn.fit("text", [None]),
            NumericColumn(name="n", minimum=0.0, scaling=UNIT),
        )
    )
)


@pytest.mark.parametrize("value", [1, "a", True, None, [1], [1, 2], {"a": []}])
def test_a_column_that_was_empty_refuses_nothing(value: object) -> None:
    row = {"number": value, "day": value, "text": value, "n": 3}
    for rows in [row], [list(row.values())]:
        found = EMPTY.rows(encoded(rows))
        assert list(map(str, found.values())) == ["[nan]", "[nan]", "[None]", "[3.]"]
    columns = {name: [one] for name, one in row.items()}
    if not isinstance(value, list):
        assert str(EMPTY.by_column(encoded(columns))) == str(found)
        text = csv_rows(EMPTY, f"number,day,text,n\n{value},{value},{value},3".encode())
        assert str(text) == str(found)
    tensors = [
        Tensor(name, [1], "FP64" if name == "n" else "BYTES", encoded([one]))
        for name, one in row.items()
    ]
    assert str(EMPTY.from_tensors(tensors)) == str(found)


# Values as lists of one, and tables as one matrix


@pytest.mark.parametrize(
    "rows",
    [
        [{"width": [1], "height": [2.5]}, {"width": 3, "height": [None]}],
        [[[1], [2.5]], [3, [None]]],
    ],
)
def test_a_value_may_be_a_list_of_one(rows: object) -> None:
    same(PAIR.rows(encoded(rows)), {"width": [1, 3], "height": [2.5, np.nan]})
    wrong = encoded(rows).replace(b"2.5", b"2,5")
    with pytest.raises(InvalidInput, match=r"row 0, column 'width': .*got a list"):
        PAIR.rows(wrong)


def test_a_list_of_one_keeps_the_order_of_nullable_columns() -> None:
    row = {name: [value] for name, value in FULL.items()}
    found, expected = PEOPLE.rows(encoded([row])), PEOPLE.by_column(encoded(row))
    assert list(map(str, map(list, found.values()))) == list(
        map(str, map(list, expected.values()))
    )


MATRIX = [[1.5, None], [3, 4]]


@pytest.mark.parametrize("data", [MATRIX, [1.5, None, 3, 4]])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_a_table_of_numbers_may_be_one_matrix(data: object, datatype: str) -> None:
    tensor = Tensor("input-0", [2, 2], datatype, encoded(data))
    expected = {"width": [1.5, 3], "height": [np.nan, 4]}
    same(PAIR.from_tensors([tensor]), expected)
    raw = np.array([[1.5, np.nan], [3, 4]], {"FP32": "<f4", "FP64": "<f8"}[datatype])
    binary = tensor._replace(data=memoryview(raw.tobytes()))
    same(PAIR.from_tensors([binary]), expected)


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (("input-0", [2, 3], "FP64", b"[1]"), "there is no column 'input-0'"),
        (("input-0", [1, 2], "FP64", b"[1]"), "needs 2 values, found 1"),
        (("input-0", [1, 2], "FP64", b"[[1,2],[3,4]]"), "needs 1 rows, found 2"),
        (("input-0", [1, 2], "INT32", b'[1,"a"]'), "row 0: expected a whole number"),
        (("input-0", [0, 2], "FP64", b"[]"), "at least one row"),
        (("input-0", [9, 2], "FP64", b"[]"), "expected 3 rows at most"),
        (("input-0", [-1, 2], "FP64", b"[]"), "needs -2 values, found 0"),
        (("input-0", [1, 2], "BYTES", b'["a","b"]'), "expected datatype"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(tensor: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        PAIR.from_tensors([Tensor(*tensor)], 3)


def test_a_matrix_of_infinity_names_its_row() -> None:
    data = memoryview(np.array([[1, 2], [np.inf, 0]]).tobytes())
    with pytest.raises(InvalidInput, match=r"row 1, input 'm': .*infinity"):
        PAIR.from_tensors([Tensor("m", [2, 2], "FP64", data)])


def test_a_large_list_of_rows_is_decoded_in_blocks() -> None:
    rows = [{"width": i, "height": None} for i in range(9_000)]
    found = PAIR.rows(encoded(rows), 9_000)
    assert np.array_equal(found["width"], np.arange(9_000))  # type: ignore[call-overload]
    rows[8_000]["height"] = "a"  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match="row 8000, column 'height'"):
        PAIR.rows(encoded(rows))
    with pytest.raises(TooManyRows, match="expected 8999 rows"):
        PAIR.rows(encoded(rows[:8_000] * 2), 8_999)

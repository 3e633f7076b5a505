"""Which columns are inputs, what kind each is, and what its values are."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from models.errors import DataError
from models.features.dates import FIRST_SECOND, LAST_SECOND
from models.features.table import TableInput, fit_column
from trainer.config.loading import load
from trainer.data.dataset import Dataset
from trainer.data.frames import training_set
from trainer.data.model_rows import model_rows
from trainer.data.table import typed_text, whole

PLUS_TWO = dt.timezone(dt.timedelta(hours=2))
Y = ["yes", "no"]


def text(*values: str | None) -> pl.Series:
    return pl.Series("c", values, pl.String)


def trained(
    columns: Mapping[str, Any], *settings: str, known: TableInput | None = None
) -> Dataset:
    frame = pl.DataFrame(columns)
    if "y" not in frame.columns:
        frame = frame.with_columns(y=pl.Series((Y * len(frame))[: len(frame)]))
    return training_set(whole("data", frame), "y", load(None, settings, {}), known)


def column_of(column: pl.Series, *settings: str) -> Any:
    inputs = trained({"c": column, "x": np.ones(len(column)) / 2}, *settings).inputs
    return inputs["c"]  # type: ignore[call-overload]


def served(column: pl.Series, kind: str) -> Any:
    """Return a column as a model reads it that has it as a kind."""
    raw: Any = ["a", "b"] if kind == "categorical" else np.array([0.0, 1.0])
    table = TableInput((fit_column("c", kind, raw),))
    rows = model_rows(whole("data", column.to_frame("c")), table, None)
    return rows.inputs["c"]  # type: ignore[call-overload]


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


def sentences(data: Dataset) -> list[tuple[str, str]]:
    return [(finding.kind, finding.sentence) for finding in data.findings]


UNUSABLE = [
    pl.Series("c", [[1, 2]]),
    pl.Series("c", [{"a": 1}]),
    pl.Series("c", [b"x"]),
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([dt.time(1, 2, 3), None], [3723.0, np.nan]),
        ([dt.timedelta(1, 0.5), dt.timedelta(-1)], [86400.5, -86400.0]),
    ],
)
def test_times_and_durations_are_seconds(values: Any, expected: list[float]) -> None:
    column = pl.Series("c", values)
    found = trained({"c": column, "x": [0.5, 1.5]})
    assert found.spellings == {"c": {"format": "h:mm:ss"}}
    np.testing.assert_array_equal(column_of(column), expected)
    np.testing.assert_array_equal(served(column, "numeric"), expected)


def test_words_among_categories_that_may_be_missing_are_told() -> None:
    c = ["NA", "a", "b", "-"] * 4
    both = {"c": c, "d": c[::-1], "x": np.arange(16) / 2, "e": ["a", "NA"] * 8}
    found = trained(both, 'data.columns.e.missing=["NA"]')
    assert sentences(found) == [
        (
            "words",
            "'NA' is a category in 'c' (4), 'd' (4); if it is a missing value: "
            "data.columns.c.missing=['NA']",
        ),
        (
            "words",
            "'-' is a category in 'c' (4), 'd' (4); if it is a missing value: "
            "data.columns.c.missing=['-']",
        ),
    ]


def test_rows_of_totals_between_others_are_told() -> None:
    found = trained({"c": ["a", "Total", "b"] * 4, "x": np.arange(12) / 2})
    [(kind, sentence)] = sentences(found)
    assert kind == "words" and sentence.endswith("sums of others, leave them out")


@pytest.mark.parametrize(
    ("format", "dated"),
    [
        *(("%Y%m%d", True), ("%Y%m%d%H%M%S", True), ("%Y%m", True)),
        *(("%Y%j", False), ("%Y9%m%d", False)),
    ],
)
def test_digits_that_may_be_dates_are_told(format: str, dated: bool) -> None:
    days = [dt.date(2020, 1, 1) + dt.timedelta(19 * i) for i in range(120)]
    column = text(*[day.strftime(format) for day in days])
    found = trained({"c": column, "x": np.ones(120) / 2})
    assert found.kinds["c"] == "numeric"
    assert (f"fits the formats 1234.56 and {format} alike" in str(found)) == dated
    if dated:
        named = trained(
            {"c": column, "x": np.ones(120)}, f"data.columns.c.format={format}"
        )
        assert named.kinds["c"] == "datetime" and "fits the formats" not in str(named)


def test_years_of_two_digits_are_told() -> None:
    column = text("31.12.45", "13.01.99")
    found = trained({"c": column, "x": [0.5, 1.5]})
    assert sentences(found)[-1][1].endswith("'c' as %d.%m.%y (years 1969 to 2068)")


def test_text_that_is_left_out_as_an_identifier_is_told_to_begin_with_numbers() -> None:
    sizes = [f"{i}°{i}′N" for i in range(60)]
    found = trained({"c": sizes, "x": np.ones(60)})
    assert [kind for kind, _ in sentences(found)] == ["text", "unused"]
    assert sentences(found)[0][1].startswith(
        "column 'c' is text, though its values begin with numbers, as '0°0′N': "
    )


def test_marks_of_production_are_those_of_text_too() -> None:
    marked = fit_column("c", "categorical", ["a", "b"])
    known = TableInput((msgspec.structs.replace(marked, marks=("NA",)),))
    column = text("a", "NA", "b", "a")
    found = trained({"c": column, "x": [0.5, 1.5, 1.5, 1.5]}, known=known)
    assert found.inputs["c"] == ["a", None, "b", "a"]  # type: ignore[call-overload]


@pytest.mark.parametrize("column", UNUSABLE, ids=lambda column: str(column.dtype))
def test_a_type_that_is_no_value_is_left_out_with_a_sentence(
    column: pl.Series,
) -> None:
    found = trained({"c": column, "x": [1.5]})
    assert found.kinds == {"x": "numeric"}
    [(kind, sentence)] = sentences(found)
    assert kind == "unused"
    assert sentence.startswith("column 'c' has values of type ")
    for kind in ("numeric", "boolean", "datetime", "categorical"):
        assert refused(served, column, kind).startswith("column 'c'")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("1", "-2.5e3", " 7 "), [1.0, -2500.0, 7.0]),
        (text("1", "", None, "NA", " "), [1.0] + [math.nan] * 4),
        (text("1", "NaN", "?", "."), [1.0] + [math.nan] * 3),
        (text("", None), [math.nan] * 2),
        (pl.Series("c", [1, None], pl.Int64), [1.0, math.nan]),
        (pl.Series("c", [0.5, None], pl.Float32), [0.5, math.nan]),
        (pl.Series("c", [0.5, math.nan]), [0.5, math.nan]),
        (pl.Series("c", ["1.25"]).cast(pl.Decimal(10, 2)), [1.25]),
        (pl.Series("c", [None, None], pl.Null), [math.nan] * 2),
    ],
)
def test_numbers(column: pl.Series, expected: list[float]) -> None:
    for found in (column_of(column), served(column, "numeric")):
        assert isinstance(found, np.ndarray) and found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
        assert found.flags.writeable


@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (text("1", "2", "x"), 3, "'x'"),
        (text("inf", "1"), 1, "'inf'"),
        (text("1", "-Infinity"), 2, "'-Infinity'"),
        (text("1", "1e400"), 2, "'1e400'"),
        (pl.Series("c", [1.0, None, math.inf]), 3, "'inf'"),
        (pl.Series("c", [None, True]), 2, "Boolean"),
        (pl.Series("c", [None, dt.date(2024, 1, 1)]), 2, "Date"),
        (pl.Series("c", ["a"], pl.Categorical), 1, "'a'"),
    ],
)
def test_what_is_no_number_of_a_model_is_told_with_its_row(
    column: pl.Series, row: int, found: str
) -> None:
    message = refused(served, column, "numeric")
    assert message.startswith(f"column 'c', row {row}: expected a ")
    hint = "; leave it empty if it is missing" if "'" in found else ""
    assert message.endswith(f"found {found}{hint}")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("true", "FALSE", "True"), [1, 0, 1]),
        (text("true", "", None, "NA", " "), [1] + [math.nan] * 4),
        (pl.Series("c", [True, None, False]), [1, math.nan, 0]),
    ],
)
def test_booleans(column: pl.Series, expected: list[float]) -> None:
    np.testing.assert_array_equal(column_of(column), expected)
    np.testing.assert_array_equal(served(column, "boolean"), expected)


@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (text("true", "yes"), 2, "'yes'"),
        (text("true", "1"), 2, "'1'"),
        (pl.Series("c", [None, 1, 5]), 2, "Int64"),
        (pl.Series("c", [0.0, 1.0]), 1, "Float64"),
        (pl.Series("c", [dt.date(2024, 1, 1)]), 1, "Date"),
    ],
)
def test_what_is_no_boolean_is_told_with_its_row(
    column: pl.Series, row: int, found: str
) -> None:
    message = refused(served, column, "boolean")
    assert f"column 'c', row {row}: expected true or false, found {found}" in message


def moment(*parts: int, tzinfo: dt.tzinfo = dt.UTC) -> float:
    return dt.datetime(*parts, tzinfo=tzinfo).timestamp()  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("2024-02-29", "1969-12-31"), [moment(2024, 2, 29), -86_400.0]),
        (text("2024-02-29T12:30:00"), [moment(2024, 2, 29, 12, 30)]),
        (text("2024-02-29T12:30:00Z"), [moment(2024, 2, 29, 12, 30)]),
        (text("2024-02-29T12:30:00+02:00"), [moment(2024, 2, 29, 10, 30)]),
        (text("2024-02-29 12:30:00.250"), [moment(2024, 2, 29, 12, 30) + 0.25]),
        (text("2024-02-29", "", None, "NA", " "), [1709164800.0] + [math.nan] * 4),
        (pl.Series("c", [dt.date(2024, 2, 29), None]), [1709164800.0, math.nan]),
        (pl.Series("c", [dt.datetime(2024, 2, 29, 12)]), [moment(2024, 2, 29, 12)]),
        (
            pl.Series("c", [dt.datetime(2024, 2, 29, 12, tzinfo=PLUS_TWO)]),
            [moment(2024, 2, 29, 10)],
        ),
        (
            pl.Series("c", [dt.datetime(2024, 7, 1, 12)]).dt.replace_time_zone(
                "Europe/Berlin"
            ),
            [moment(2024, 7, 1, 10)],
        ),
        (
            pl.Series("c", [dt.datetime(2024, 2, 29)], pl.Datetime("ns")),
            [1709164800.0],
        ),
    ],
)
def test_dates_are_seconds_since_1970_in_utc(
    column: pl.Series, expected: list[float]
) -> None:
    np.testing.assert_array_equal(column_of(column), expected)
    np.testing.assert_array_equal(served(column, "datetime"), expected)


def test_typed_dates_beyond_those_of_text_are_told() -> None:
    # PostgreSQL's infinity is the last number of its type, which polars cannot print.
    days = pl.Series("d", [0, (1 << 31) - 1], pl.Int32).cast(pl.Date)
    moments = pl.Series("d", [0, -(1 << 63)], pl.Int64).cast(pl.Datetime("us"))
    for column in (days, moments):
        with pytest.raises(DataError, match=r"row 2: .* found a date outside of the"):
            served(column, "datetime")
        with pytest.raises(DataError, match="row 2: expected a date of the years"):
            served(column, "categorical")
        np.testing.assert_array_equal(column_of(column), [0.0, np.nan])
        [(kind, sentence)] = sentences(trained({"c": column, "x": [0.5, 1.5]}))
        assert (
            kind == "odd"
            and "a date outside of the years 1 to 9999 (row 2)" in sentence
        )
        with pytest.raises(DataError, match="row 2: expected a date of the years"):
            trained({"x": [1.0, 2.0], "y": column})
    edge = [dt.date(1, 1, 1), dt.date(9999, 12, 31)]
    found = served(pl.Series("d", edge), "datetime")
    assert list(found) == [FIRST_SECOND, LAST_SECOND // 86_400 * 86_400]


@pytest.mark.parametrize(
    ("column", "row"),
    [
        (text("2024-02-29", "2024-02-30"), 2),
        (text("2024-02-29", "", "soon"), 3),
        (pl.Series("c", [None, 1709164800]), 2),
    ],
)
def test_what_is_no_date_is_told_with_its_row(column: pl.Series, row: int) -> None:
    message = refused(served, column, "datetime")
    assert message.startswith(f"column 'c', row {row}: expected a")
    assert "date" in message


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (text("a", "", None, "NA", " b"), ["a", None, None, "NA", "b"]),
        (pl.Series("c", [1, None, 300]), ["1", None, "300"]),
        (pl.Series("c", [1.0, None, 2.5]), ["1", None, "2.5"]),
        (text("1", "1.0", "x", "  "), ["1", "1", "x", None]),
        (text("1.0", "2.0", "x"), ["1.0", "2.0", "x"]),
        (pl.Series("c", [True, None]), ["true", None]),
        (pl.Series("c", ["a", None], pl.Categorical), ["a", None]),
        (pl.Series("c", [None], pl.Null), [None]),
        (pl.Series("c", [dt.date(2024, 2, 29)]), ["2024-02-29"]),
    ],
)
def test_categories_are_texts(column: pl.Series, expected: list[Any]) -> None:
    assert column_of(column, "data.columns.c.kind=categorical") == expected
    assert served(column, "categorical") == expected


FRAME = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"], "y": ["0", "1"]})


def test_every_column_but_the_target_is_an_input() -> None:
    found = trained(FRAME.to_dict())
    assert found.kinds == {"a": "numeric", "b": "categorical"}
    assert (found.target_name, found.target) == ("y", [0, 1])
    np.testing.assert_array_equal(found.inputs["a"], [1, 2])  # type: ignore[call-overload]


def test_an_absent_target_is_told_with_the_nearest_column() -> None:
    frame = FRAME.rename({"y": "status"})
    message = refused(
        training_set, whole("d", frame), "Status", load(None, [], {}), None
    )
    assert "no target column 'Status'; did you mean 'status'?" in message
    assert "the columns are a, b, status" in message


def test_a_frame_without_rows_or_inputs_is_told() -> None:
    assert "expected rows" in refused(trained, FRAME.clear().to_dict())
    message = refused(trained, FRAME.select("y").to_dict())
    assert message == "there is no input column besides the target 'y'"


def model(**columns: tuple[str, Any]) -> TableInput:
    return TableInput(
        tuple(fit_column(name, kind, raw) for name, (kind, raw) in columns.items())
    )


N = 100
NUMBERS = [f"{i % 13}.5" for i in range(N)]


def test_odd_values_are_missing_and_named() -> None:
    found = trained({"age": [*NUMBERS, "x", "y", "x"], "b": ["q"] * (N + 3)})
    assert found.kinds["age"] == "numeric"
    assert np.isnan(found.inputs["age"][N:]).all()  # type: ignore[call-overload]
    assert sentences(found) == [
        (
            "odd",
            "column 'age' is numeric, and 3 of 103 values that do not fit count as "
            "missing: 'x' (row 101), 'y' (row 102) (data.columns.age.kind=categorical "
            "keeps them)",
        )
    ]


def test_unusual_marks_of_a_missing_value_are_said_and_usual_ones_are_not() -> None:
    found = trained({"age": [*NUMBERS, "?", "NA", "nan", ""]})
    assert sentences(found) == [("marks", "'?' counts as missing in 'age' (1)")]
    many = {f"c{i}": [*NUMBERS, "."] for i in range(7)}
    [(_, sentence)] = sentences(trained(many))
    assert sentence.startswith("'.' counts as missing in 'c0' (1), 'c1' (1), ")
    assert sentence.endswith("'c4' (1), … (7 columns)")


def test_formats_are_kept_for_requests_and_said() -> None:
    columns = {"since": ["31/01/2024", "01/02/2024"] * 9, "p": ["1,5", "2,5"] * 9}
    found = trained(columns)
    assert found.kinds == {"since": "datetime", "p": "numeric"}
    assert found.spellings == {
        "since": {"format": "%d/%m/%Y"},
        "p": {"format": "1.234,56"},
    }
    sentence = "columns are read: 'since' as %d/%m/%Y, 'p' as 1.234,56"
    assert sentences(found) == [("reading", sentence)]


def test_a_format_in_doubt_is_a_finding_and_a_setting_ends_it() -> None:
    columns = {"since": ["03/01/2024", "01/02/2024"] * 9}
    [(kind, sentence), _] = sentences(trained(columns))
    assert kind == "format"
    assert sentence.startswith("column 'since' fits the formats %m/%d/%Y and %d/%m/%Y")
    found = trained(columns, "data.columns.since.format=%d/%m/%Y")
    assert [kind for kind, _ in sentences(found)] == ["reading"]
    assert found.inputs["since"][0] == moment(2024, 1, 3)  # type: ignore[call-overload]


def test_settings_type_columns_and_leave_them_out() -> None:
    columns = {"code": ["1", "2"] * 9, "x": ["-9", "5"] * 9, "free": ["a", "b"] * 9}
    found = trained(
        columns,
        "data.ignore=['free']",
        "data.columns.code.kind=categorical",
        "data.columns.x.missing=['-9']",
    )
    assert found.kinds == {"code": "categorical", "x": "numeric"}
    np.testing.assert_array_equal(found.inputs["x"], [np.nan, 5] * 9)  # type: ignore[call-overload]
    assert found.spellings["x"] == {"marks": ("-9",)}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.ignore=['Free']", "data.ignore: there is no column 'Free'; did you"),
        ("data.columns.cod.kind=numeric", "data.columns: there is no column 'cod'; "),
        ("data.columns.code.format=xyz", "data.columns.code.format: expected an exa"),
    ],
)
def test_a_setting_for_no_column_is_told(setting: str, message: str) -> None:
    columns = {"code": ["1", "2"], "free": ["a", "b"]}
    assert refused(trained, columns, setting).startswith(message)


def test_identifiers_are_left_out_with_a_sentence() -> None:
    columns: dict[str, Any] = {
        "number": range(7, 7 + N),
        "steps": range(1000, 1000 + 10 * N, 10),
        "name": [f"person {i}" for i in range(N)],
        "key": [1577134800018164904 + i for i in range(N)],
        "amount": [i * i for i in range(N)],
        "real": [i / 2 for i in range(N)],
        "town": [f"town {i % 9}" for i in range(N)],
        "day": [str(dt.date(2024, 1, 1) + dt.timedelta(i)) for i in range(N)],
    }
    found = trained(columns)
    assert list(found.kinds) == ["amount", "real", "town", "day"]
    left_out = [f.columns[0] for f in found.findings if f.kind == "unused"]
    assert left_out == ["number", "steps", "name", "key"]
    kept = trained(columns, "data.columns.number.kind=numeric", "data.time=steps")
    assert {"number", "steps"} <= kept.kinds.keys()
    assert not any("person" in sentence for _, sentence in sentences(found))


def test_a_single_column_is_kept_even_if_it_identifies() -> None:
    assert trained({"number": range(N)}).kinds == {"number": "numeric"}


def test_an_index_of_pandas_is_left_out() -> None:
    columns = {"__index_level_0__": [3, 1], "Unnamed: 0": [0, 1], "x": [1.5, 2]}
    assert trained(columns).kinds == {"x": "numeric"}


def test_the_kinds_of_production_are_the_default() -> None:
    known = model(size=("categorical", ["XL", "10"]), n=("numeric", np.arange(3.0)))
    columns = {"size": ["10", "12"] * 9, "n": ["1", "2.5"] * 9}
    found = trained(columns, known=known)
    assert found.kinds == {"size": "categorical", "n": "numeric"}
    [(kind, sentence)] = sentences(found)
    assert kind == "production"
    assert "data.columns.size.kind=numeric" in sentence
    typed = trained(columns, "data.columns.size.kind=numeric", known=known)
    assert typed.kinds["size"] == "numeric"
    # A column that is something else by now is not forced.
    words = {"size": ["10", "12"] * 9, "n": ["low", "high"] * 9}
    assert trained(words, known=known).kinds["n"] == "categorical"


def test_the_format_of_production_settles_a_doubt() -> None:
    dates = {"format": "%d/%m/%Y"}
    known = TableInput((fit_column("since", "datetime", np.arange(3.0), dates),))
    found = trained({"since": ["03/01/2024", "01/02/2024"] * 9}, known=known)
    assert found.inputs["since"][0] == moment(2024, 1, 3)  # type: ignore[call-overload]
    assert not any(kind == "format" for kind, _ in sentences(found))


def test_the_format_of_production_is_left_where_the_values_speak_against_it() -> None:
    german = {"format": "1.234,56"}
    known = TableInput((fit_column("n", "numeric", np.arange(3.0), german),))
    found = trained({"n": ["1.903", "0.5", "12"] * 9}, known=known)
    assert found.inputs["n"][:2].tolist() == [1.903, 0.5]  # type: ignore[index,union-attr]
    found = trained({"n": ["1.903", "0,5", "12"] * 9}, known=known)
    assert found.inputs["n"][:2].tolist() == [1903.0, 0.5]  # type: ignore[index,union-attr]


def test_a_name_too_long_to_be_stored_is_told() -> None:
    message = refused(trained, {"x" * 2000: [1.0, 2.0]})
    assert message.endswith("at most 1,024 characters, found 2,000")


def test_text_by_its_type_stays_text() -> None:
    digits = typed_text(pl.Series("zip", ["10115", "80331"] * 9))
    assert trained({"zip": digits}).kinds == {"zip": "categorical"}
    numbers = model(zip=("numeric", np.array([1.0, 2.0])))
    rows = model_rows(whole("d", digits.to_frame()), numbers, None)
    assert rows.inputs["zip"][0] == 10115  # type: ignore[call-overload]


def test_categories_that_seem_to_be_one_are_named_and_stay() -> None:
    found = trained({"c": text(*["Bonn", "bonn", "new york", "New  York"] * 30)})
    (sentence,) = [said for kind, said in sentences(found) if kind == "alike"]
    assert sentence.startswith(
        "column 'c': 'Bonn', 'bonn' differ in capitals or blanks only (2 such groups)"
    )
    assert set(found.inputs["c"]) == {"Bonn", "bonn", "new york", "New  York"}
    assert not sentences(trained({"c": text(*["a", "b"] * 60)}))

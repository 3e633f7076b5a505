"""A model takes its own columns of a table, as its own kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from models.errors import DataError
from models.features.table import TableInput, fit_column
from trainer.data.model_rows import model_rows
from trainer.data.table import whole

FRAME = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"], "y": ["0", "1"]})


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


def model(**columns: tuple[str, Any]) -> TableInput:
    return TableInput(
        tuple(fit_column(name, kind, raw) for name, (kind, raw) in columns.items())
    )


def test_a_model_takes_its_own_columns_as_its_own_kinds() -> None:
    table = model(b=("categorical", ["x"]), a=("categorical", ["1"]))
    found = model_rows(whole("d", FRAME), table, None)
    assert found.inputs == {"b": ["x", "y"], "a": ["1", "2"]}
    assert found.target is None


def test_an_absent_column_is_told_with_the_nearest() -> None:
    table = model(aa=("numeric", np.array([1.0])))
    message = refused(model_rows, whole("d", FRAME), table, None)
    assert message == "column 'aa' is missing; did you mean 'a'?"


def test_a_thousands_separator_that_is_a_decimal_mark_as_well_is_told() -> None:
    column = fit_column("a", "numeric", np.array([1.0]))
    table = TableInput((replace(column, format="1.234,56"),))
    frame = pl.DataFrame({"a": ["1.903", "12,5", "0.816"]})
    assert refused(model_rows, whole("d", frame), table, None) == (
        "column 'a', row 3: expected numbers as 1.234,56, found '0.816': what is "
        "'1.903' (row 1) then?"
    )
    frame = pl.DataFrame({"a": ["1.903", "12,5", "816", "n.a."]})
    values = model_rows(whole("d", frame), table, None).inputs
    np.testing.assert_array_equal(values["a"], [1903.0, 12.5, 816.0, np.nan])


@pytest.mark.parametrize("last", ["Total", ""])
def test_a_row_of_totals_has_no_truth(last: str) -> None:
    frame = pl.DataFrame(
        {"c": ["u", "v", last], "x": ["1.5", "2", "3.5"], "y": ["1", "2", "3"]}
    )
    x = np.array([1.0, 2.0])
    table = model(c=("categorical", ["u", "v"]), x=("numeric", x))
    assert model_rows(whole("d", frame), table, "y").target == [1, 2, None]
    # What the training rows had is a row like others.
    table = model(c=("categorical", ["u", last or None]), x=("numeric", x))
    assert model_rows(whole("d", frame), table, "y").target == [1, 2, 3]

"""A row of totals at the end of a table is found, and nothing else."""

from __future__ import annotations

import polars as pl
import pytest

from tests.trainer.data.test_frames import trained
from trainer.config.schema import ColumnConfig
from trainer.data.table import whole
from trainer.data.totals import totals


@pytest.mark.parametrize(
    ("first", "is_total"),
    [
        (["north", "south", "Total"], True),
        (["north", "south", " Grand total: "], True),
        (["north", "south", "Summe"], True),
        (["Total", "south", "Total"], False),
        (["north", "Total", "south"], False),
        (["north", "south", "Totality"], False),
        (["north", "south", None], False),
        (["Total"], False),
    ],
)
def test_a_row_of_totals_is_told(first: list[str | None], is_total: bool) -> None:
    frame = pl.DataFrame({"a": [None] * len(first), "region": first})
    found = totals(frame, whole("t", frame).place)
    assert (found is not None) == is_total
    if found is not None:
        assert found.sentence.startswith("row 3: a row of totals (")


def test_a_column_with_settings_has_no_totals() -> None:
    frame = pl.DataFrame({"c": ["north", "Total"], "d": ["a", "Total"]})
    place = whole("t", frame).place
    told = totals(frame, place)
    assert told is not None and "data.columns.c.kind keeps it" in told.sentence
    assert totals(frame, place, {"c": ColumnConfig(kind="categorical")}) is None


def test_text_that_has_a_type_is_no_total() -> None:
    frame = pl.DataFrame({"c": pl.Series(["a", "Total"], dtype=pl.Categorical)})
    assert totals(frame, whole("t", frame).place) is None


def test_a_row_of_totals_is_not_learnt() -> None:
    table = {"c": ["a", "b", "Total"], "x": ["1", "2", "3"], "y": ["u", "v", "2"]}
    found = trained(table)
    assert found.target == ["u", "v", None]
    assert found.findings[0].kind == "heading"


@pytest.mark.parametrize(
    ("region", "sold", "is_total"),
    [
        (["north", "south", ""], ["1.5", "2", "3.5"], True),
        (["north", "south", None], ["1.234,50", "-34,50", "1.200,00"], True),
        (["north", "south", ""], ["1", "", "1"], False),
        (["north", "south", ""], ["0", "0", "0"], False),
        (["north", "south", ""], ["1.5", "2", "3.6"], False),
        (["north", "", ""], ["1.5", "2", "3.5"], False),
        (["north", "south", "east"], ["1.5", "2", "3.5"], False),
    ],
)
def test_a_row_of_sums_without_a_word_is_told(
    region: list[str | None], sold: list[str], is_total: bool
) -> None:
    frame = pl.DataFrame({"region": region, "size": ["S", "M", ""], "sold": sold})
    found = totals(frame, whole("t", frame).place)
    assert (found is not None) == is_total
    if found is not None:
        assert found.sentence.startswith("row 3: a row of totals, of 'sold', left out")
        settings = {"region": ColumnConfig(kind="categorical")}
        assert totals(frame, whole("t", frame).place, settings) is None

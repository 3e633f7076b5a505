"""Rows and columns that are none are left out, and a finding names the rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import DataError
from trainer.data.csv import read_csv


def test_a_column_without_name_and_value_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b,,\n1,x,, \n2,y,,\na,b,,\n")
    frame = read_csv(path).frame
    assert frame.columns == ["a", "b"] and frame.rows() == [("1", "x"), ("2", "y")]


def test_a_value_in_a_column_without_a_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,,c\n1,,2\n3, 4,5\n")
    with pytest.raises(
        DataError, match=r"column 2 has no name .* row 2 has ' 4' in it"
    ):
        read_csv(path)


def test_a_row_of_units_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b,c,y\nkg,m/s,,\n" + "1.5,2,u,yes\n3,4.5,v,no\n" * 3)
    part = read_csv(path)
    assert list(part.numbers) == [2, 3, 4, 5, 6, 7]
    [finding] = part.findings
    assert finding.sentence == (
        "data.csv, row 1: a row of units ('kg', 'm/s'), left out"
    )


@pytest.mark.parametrize("first", ["1,2,u,yes", "x,2,u,yes", "NA,?,u,yes", "x,NA,u,no"])
def test_another_first_row_stays(first: str, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"a,b,c,y\n{first}\n" + "1.5,2,u,yes\n3,4.5,v,no\n" * 3)
    assert len(read_csv(path).numbers) == 7 and not read_csv(path).findings


def test_the_header_in_the_middle_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,x\na,b\na,z\n2,y\na,b\n")
    part = read_csv(path)
    assert part.frame.rows() == [("1", "x"), ("a", "z"), ("2", "y")]
    assert list(part.numbers) == [1, 3, 4]
    assert [finding.sentence for finding in part.findings] == [
        "data.csv, row 2: the header again, left out",
        "data.csv, row 5: the header again, left out",
    ]

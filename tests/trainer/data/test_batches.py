"""The rows of files in batches are the rows of the files."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from models.errors import DataError
from trainer.data import batches, csv
from trainer.data.batches import TableFile, WholeTable, table_files
from trainer.data.table import Table, whole


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches of 7 rows, of text read 10 rows at a time."""
    monkeypatch.setattr(batches, "ROWS", 7)
    monkeypatch.setattr(csv, "WHOLE", 0)
    monkeypatch.setattr(csv, "CHUNK", 10)


def joined(tables: list[Table]) -> pl.DataFrame:
    assert all(len(table.frame) <= 7 for table in tables)
    return pl.concat([table.frame for table in tables])


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
@pytest.mark.parametrize(
    "text",
    [
        "a,b\n" + "".join(f'{n},"x, {n}"\n' for n in range(25)),
        "\ufeffsep=;\na;b\n" + "1;2\n" * 20 + "a;b\n" + "3;4\n" * 4,
        "length,width\nmm,kg\n" + "1.5,2\n" * 23,
        "a\n" + "1\n\n" * 12,
        "a,b\n",
    ],
)
def test_text_in_batches_is_text_read_at_once(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(
        gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    )
    (file,) = table_files(path)
    found = list(file.batches(["a"]))
    monkeypatch.setattr(csv, "CHUNK", 1_000)
    at_once = csv.read_csv(path)
    assert joined(found).equals(at_once.frame)
    assert dict(file.schema) == dict(at_once.frame.schema)
    places = [table.place(row) for table in found for row in range(len(table.frame))]
    assert places == [f"row {number}" for number in at_once.numbers]


@pytest.mark.parametrize("rows", [0, 1, 25])
def test_parquet_in_batches_has_the_columns_wanted(rows: int, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"a": range(rows), "b": map(str, range(rows)), "c": [None] * rows},
        {"a": pl.Int32, "b": pl.String, "c": pl.Date},
    )
    home = tmp_path / "region=north%2Fwest"
    home.mkdir()
    frame.write_parquet(home / "rows.parquet", row_group_size=4)
    (file,) = table_files(tmp_path)
    found = list(file.batches(["a", "b", "x"]))
    assert joined(found)["b"].dtype == pl.Categorical
    wanted = frame.select("a", "b", region=pl.lit("north/west"))
    assert joined(found).cast({"b": pl.String}).equals(wanted)
    assert list(file.schema) == ["a", "b", "c", "region"]
    assert sum(len(table.frame) for table in file.batches([])) == rows
    if rows == 25:
        assert found[3].place(3) == "row 25"


def test_a_table_in_memory_comes_in_batches() -> None:
    frame = pl.DataFrame({"a": range(20)})
    table = WholeTable(whole("query", frame))
    assert joined(list(table.batches(["a"]))).equals(frame)
    assert table.name == "query" and list(table.schema) == ["a"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"a": [0.5] * 1_000}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-5] + b"_____")
    file = TableFile(path, Path(path.name))
    with pytest.raises(DataError, match=r"rows\.parquet: "):
        _ = file.schema
    with pytest.raises(DataError, match=r"rows\.parquet: "):
        list(file.batches(["a"]))

"""Which files are a table, and what their folders say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import DataError
from trainer.data import read


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("pattern", ["hive", "hive/*/*.parquet", "hive/region=*/*"])
def test_folders_of_hive_give_their_column(
    pattern: str, write_parquet: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("north%20east", "south", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "hive").mkdir(exist_ok=True)
        write_parquet({"x": [1.5], "y": [0]}, f"hive/region={name}/0.parquet")
    path = str(tmp_path / pattern)
    if pattern.endswith("/*"):
        assert "expected .csv" in refused(read, path, "y")
        return
    found = read(path, "y")
    assert isinstance(found.inputs, dict)
    assert found.inputs["region"] == [None, "north east", "south"]
    one = read(str(tmp_path / "hive" / "region=south" / "0.parquet"), "y")
    assert list(one.kinds) == ["x"]


@pytest.mark.parametrize("name", ["d.tsv", "d.txt", "D.CSV", "d.tsv.gz", "d.Txt"])
def test_other_endings_of_text_tables(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x\tc\ty\n1.5\ta\t1\n2.5\tb\t0\n\ta\t1\n")
    assert read(str(tmp_path / name), "y").target == [1, 0, 1]


def test_parquet_may_end_in_pq(write_parquet: Callable[..., Path]) -> None:
    path = write_parquet({"x": [1.5, 2.5], "y": [1, 0]}, "data.PQ")
    assert read(str(path), "y").target == [1, 0]

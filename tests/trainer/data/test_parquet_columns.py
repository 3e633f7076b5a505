"""The columns of Parquet files, one at a time, are those of the whole table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import ConfigError, DataError
from models.features.stored_columns import StoredColumns
from trainer.config.schema import Config
from trainer.data import parquet_columns, read
from trainer.data.files import read_files
from trainer.data.parquet_columns import is_large, read_stored

WriteParquet = Callable[..., Path]
Configured = Callable[..., Config]


@pytest.fixture
def folder(write_parquet: WriteParquet, table: Callable[..., Any]) -> Path:
    """Write two files below folders, whose columns have types that differ a little."""
    for year, seed in ((2024, 1), (2025, 2)):
        rows = table(60, seed=seed)
        rows["id"] = [f"row {year} {n}" for n in range(60)]
        frame = pl.DataFrame(rows).with_columns(
            pl.col("since").str.to_date(),
            member=pl.col("member") == "true",
            level=pl.col("level").cast(pl.Int8 if year == 2024 else pl.Int64),
        )
        (write_parquet({"x": [0]}).parent / "rows").mkdir(exist_ok=True)
        path = write_parquet(frame, f"rows/year={year}/part.parquet")
    return path.parent.parent


def test_columns_are_those_of_the_whole_table(folder: Path) -> None:
    whole, stored = read_files(folder), read_stored(folder)
    frame: Any = stored.frame
    assert frame.columns == whole.frame.columns and len(frame) == len(whole.frame)
    for name in frame.columns:
        assert frame[name].equals(whole.frame[name]), name
        assert frame[name].dtype == whole.frame[name].dtype
    assert [stored.place(n) for n in (0, 119)] == [whole.place(n) for n in (0, 119)]


def test_a_training_set_on_disk_is_the_one_in_memory(
    folder: Path, configured: Configured
) -> None:
    found = [
        read(str(folder), "churn", configured(f"runtime.streaming={on}"))
        for on in ("true", "false")
    ]
    stored, memory = found
    assert isinstance(stored.inputs, StoredColumns) and stored.storage
    assert not memory.storage
    assert stored.fingerprint == memory.fingerprint
    assert stored.kinds == memory.kinds and "id" not in stored.inputs
    assert stored.findings == memory.findings
    assert stored.target == memory.target
    np.testing.assert_array_equal(stored.row_hashes, memory.row_hashes)
    rows = np.arange(100, 3, -7)
    assert stored.only(rows).fingerprint == memory.only(rows).fingerprint


def test_large_tables_stay_on_disk_unless_they_are_told(
    folder: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_large(folder)
    monkeypatch.setattr(parquet_columns, "memory", lambda: 1_000)
    assert is_large(folder)
    assert read(str(folder), "churn").storage
    assert not read(str(folder), "churn", configured("runtime.streaming=false")).storage


def test_memory_is_what_the_control_group_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(parquet_columns, "_LIMIT", limit)
    whole = parquet_columns.memory()
    for text, expected in (("max\n", whole), ("1000000\n", 1_000_000)):
        limit.write_text(text)
        assert parquet_columns.memory() == expected


def test_files_that_disagree_are_told_before_any_is_read(
    write_parquet: WriteParquet, tmp_path: Path
) -> None:
    write_parquet({"x": [1, 2], "y": [0, 1]}, "rows/1.parquet")
    second = write_parquet({"x": ["a", "b"], "y": [0, 1]}, "rows/2.parquet")
    for read_all in (read_stored, read_files):
        with pytest.raises(DataError) as caught:
            read_all(tmp_path / "rows")
        assert str(caught.value).startswith(f"{second}: column 'x' is Categorical, but")
    write_parquet({"z": ["a", "b"], "y": [0, 1]}, "rows/2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: expected the columns of 1"):
        read_stored(tmp_path / "rows")


def test_what_cannot_be_on_disk_is_refused(
    folder: Path,
    configured: Configured,
    write_csv: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_csv({"x": [1, 2], "y": [0, 1]})
    with pytest.raises(ConfigError, match=r"runtime\.streaming=true needs Parq"):
        read(str(path), "y", configured("runtime.streaming=true"))
    monkeypatch.setattr(parquet_columns, "BYTES_STORED", 1 << 60)
    with pytest.raises(DataError, match="TMPDIR names another folder"):
        read(str(folder), "churn", configured("runtime.streaming=true"))

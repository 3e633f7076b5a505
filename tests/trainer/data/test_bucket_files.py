"""Data in a bucket, on a real server of buckets."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from models.errors import ConfigError, DataError
from models.storage.bucket import Bucket
from service.monitoring.payload_files import PayloadFiles
from trainer.data import Source, read, source
from trainer.data.bucket_files import local

TABLE = b"x,y\n1,a\n2,b\n3,a\n"


@pytest.mark.cloud
def test_files_of_a_bucket_are_read_as_those_of_a_folder(bucket: str) -> None:
    store = Bucket(bucket)
    store.put("tables/day=1/part.csv", TABLE)
    store.put("tables/day=2/part.csv", TABLE)
    store.put("other.csv", TABLE)
    data = read(source(f"{bucket}/tables"), "y")
    assert sorted(data.kinds) == ["day", "x"]
    assert [*data.inputs["x"]] == [1, 2, 3, 1, 2, 3]  # type: ignore[call-overload]
    assert [*read(source(f"{bucket}/other.csv"), "y").kinds] == ["x"]


@pytest.mark.cloud
def test_what_is_not_there_is_told(bucket: str) -> None:
    with pytest.raises(DataError, match="there is no such object"):
        read(source(f"{bucket}/none.csv"), "y")
    with pytest.raises(DataError, match="there is no file"):
        read(source(f"{bucket}/none"), "y")


@pytest.mark.cloud
def test_logged_predictions_are_written_into_a_bucket(bucket: str) -> None:
    files = PayloadFiles(f"{bucket}/logged", frozenset(), 60.0)
    files._put("m/1.parquet", b"content")
    found = Bucket(f"{bucket}/logged").get("m/1.parquet", 100)
    assert found is not None and found.content == b"content"


def test_files_of_this_machine_stay_where_they_are(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    here = Source(str(tmp_path), truth=str(tmp_path / "truth.csv"))
    assert local(here) == here
    database = Source("sqlite:///shop.db", "SELECT 1")
    assert local(database) == database


def test_another_scheme_is_told() -> None:
    with pytest.raises(ConfigError, match="a bucket at s3://…"):
        source("ftp://host/data.csv")

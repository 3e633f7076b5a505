"""Tables in a bucket are read as those of this disk, on a real server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import ConfigError, DataError
from models.features.table import TableInput, fit_column
from models.storage.bucket import Bucket
from models.storage.bucket_client import BucketError
from service.monitoring.payload_files import PayloadFiles
from trainer.config.loading import load
from trainer.data import Dataset, Source, SourceFiles, read, read_some, source
from trainer.data.bucket_files import list_bucket, local_files


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder of three Parquet files, below folders that are a column."""
    for number, name in enumerate("abc"):
        path = tmp_path / "rows" / f"month={number}" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        x = np.arange(40.0) + number
        y = np.where(x % 2 > 0, "odd", "even")
        pl.DataFrame({"x": x, "y": y}).write_parquet(path)
    return tmp_path / "rows"


def uploaded(folder: Path, bucket: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            Bucket(bucket).upload(path.relative_to(folder.parent).as_posix(), path)
    return f"{bucket}/{folder.name}"


def same(first: Dataset, second: Dataset) -> bool:
    return first.fingerprint == second.fingerprint and len(first) == len(second)


@pytest.mark.cloud
@pytest.mark.parametrize("streaming", ["true", "false"])
def test_a_folder_a_glob_and_a_file_are_read_as_here(
    streaming: str, rows: Path, bucket: str
) -> None:
    config = load(None, [f"runtime.streaming={streaming}"], {})
    (rows / "_SUCCESS").write_text("")
    (rows / ".hidden.parquet").write_text("")
    (rows / "other").mkdir()
    (rows / "other" / "d.parquet").write_text("")
    address = uploaded(rows, bucket)
    for part in "", "/", "/month=[12]/*.parquet", "/month=0/a.parquet":
        assert same(
            read(address + part, "y", config), read(f"{rows}{part}", "y", config)
        )
    assert [entry.key for entry in list_bucket(address)[1]] == [
        "month=0/a.parquet",
        "month=1/b.parquet",
        "month=2/c.parquet",
    ]


@pytest.mark.cloud
def test_some_files_of_a_folder_are_read_elsewhere(rows: Path, bucket: str) -> None:
    address = uploaded(rows, bucket)
    config = load(None, ["data.partitions=members"], {})
    for data, base in (
        (address, address),
        (f"{address}/", address),
        (f"{address}/month=*/*.parquet", address),
        (str(rows), str(rows)),
        (f"{rows}/month=*/*.parquet", str(rows)),
    ):
        dataset = read(data, "y", config)
        assert dataset.files == SourceFiles(
            base,
            tuple(f"month={n}/{name}.parquet" for n, name in enumerate("abc")),
            3 * (40,),
        )
        columns = {"x": "numeric", "month": dataset.kinds["month"]}
        inputs = TableInput(
            tuple(
                fit_column(name, kind, dataset.inputs[name])
                for name, kind in columns.items()
            )
        )
        some = read_some(base, dataset.files.names[1:], inputs)
        for name in columns:
            expected = np.asarray(dataset.inputs[name])[40:]
            np.testing.assert_array_equal(np.asarray(some[name]), expected)


@pytest.mark.cloud
def test_arrays_are_read_too(tmp_path: Path, bucket: str) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.eye(4, dtype=np.float32), y=np.arange(4) % 2)
    Bucket(bucket).upload("data.npz", path)
    assert same(read(f"{bucket}/data.npz", None), read(str(path), None))


@pytest.mark.cloud
def test_errors_name_the_object(rows: Path, bucket: str) -> None:
    odd = rows / "month=2" / "d.parquet"
    pl.DataFrame({"x": ["text"], "y": ["odd"]}).write_parquet(odd)
    address = uploaded(rows, bucket)
    with pytest.raises(DataError) as caught:
        read(address, "y")
    assert f"{address}/month=2/d.parquet: column 'x' is" in str(caught.value)
    for place in f"{bucket}/nothing", f"{bucket}/nothing.csv":
        with pytest.raises(DataError, match=f"^no such file: {place}$"):
            read(place, "y")
    with pytest.raises(BucketError, match="there is no such bucket"):
        read("s3://no-such-bucket/rows", "y")


@pytest.mark.cloud
def test_a_truth_may_be_in_a_bucket(bucket: str) -> None:
    rows = "".join(f"{n},{n % 7}\n" for n in range(40))
    Bucket(bucket).put("rows/a.csv", f"glassnet_id,x\n{rows}".encode())
    truth = "".join(f"{n},{n % 2}\n" for n in range(40))
    Bucket(bucket).put("truth.csv", f"glassnet_id,y\n{truth}".encode())
    data = read(Source(f"{bucket}/rows", truth=f"{bucket}/truth.csv"), "y")
    assert len(data) == 40 and [*data.kinds] == ["x"]


@pytest.mark.cloud
def test_logged_predictions_are_written_into_a_bucket(bucket: str) -> None:
    files = PayloadFiles(f"{bucket}/logged", frozenset(), 60.0)
    files._put("m/1.parquet", b"content")
    found = Bucket(f"{bucket}/logged").get("m/1.parquet", 100)
    assert found is not None and found.content == b"content"


def test_files_of_this_machine_stay_where_they_are(tmp_path: Path) -> None:
    here = Source(str(tmp_path), truth=str(tmp_path / "truth.csv"))
    for data in here, Source("sqlite:///shop.db", "SELECT 1"):
        with local_files(data) as local:
            assert local is data


def test_another_scheme_is_told() -> None:
    with pytest.raises(ConfigError, match="a bucket at s3://…"):
        source("ftp://host/data.csv")

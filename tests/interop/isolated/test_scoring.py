"""The recipes of docs/scale.md: other engines score batches by a model.

`make interop` runs it, in an environment with pyarrow, DuckDB and Dask; `make spark`
runs `test_spark`, in one with Spark, which needs Java.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from trainer.cli.main import main
from trainer.scoring import BatchScorer, score_batches
from trainer.scoring.files import Scoring, predict

pa = pytest.importorskip("pyarrow")
KEPT = ["id", "prediction", "p_no", "p_yes"]


def rows(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    return pl.DataFrame(
        {
            "id": np.arange(seed * 1_000, seed * 1_000 + n),
            "size": np.where(rng.random(n) < 0.1, np.nan, size),
            "colour": rng.choice(["red", "green"], n),
            "day": np.datetime64("2026-01-01") + rng.integers(0, 90, n),
            "y": np.where(size > 0, "yes", "no"),
        },
        nan_to_null=True,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, a folder of rows, and the predictions of all of them."""
    home = tmp_path_factory.mktemp("home")
    (home / "rows").mkdir()
    for part in range(3):
        rows(50, part).write_parquet(home / "rows" / f"{part}.parquet")
    arguments = ["fit", home / "rows", "--target", "y", "--model", "m", "--epochs", "3"]
    arguments += ["--store", home / "store", "--promote", "always"]
    for setting in ("runtime.report=false", 'data.ignore=["id"]'):
        arguments += ["--set", setting]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def score(home: Path) -> BatchScorer:
    return score_batches(str(home / "store"), "m:production", keep=["id"])


@pytest.fixture
def same(home: Path, score: BatchScorer, tmp_path: Path) -> Callable[[Any], None]:
    """Tell that a frame has the predictions of `trainer predict`, in any order."""
    artefact = score.scoring().artefact
    out = tmp_path / "expected.parquet"
    predict(Scoring(artefact, ("id",)), str(home / "rows"), out)

    def check(found: pl.DataFrame) -> None:
        assert found.columns == KEPT
        assert_frame_equal(found.sort("id"), pl.read_parquet(out).sort("id"))

    return check


def test_batches_of_pyarrow_come_back_as_they_came(
    home: Path, score: BatchScorer, same: Callable[[Any], None]
) -> None:
    """Spark's `mapInArrow` gives and takes an iterator of them."""
    table = pl.read_parquet(home / "rows" / "*.parquet").to_arrow()
    found = list(score(iter(table.to_batches(max_chunksize=40))))
    assert all(type(batch) is pa.RecordBatch for batch in found)
    assert found[0].schema.types == [
        pa.int64(),
        pa.string(),
        pa.float64(),
        pa.float64(),
    ]
    same(pl.DataFrame(pa.Table.from_batches(found)))
    empty = score.batch(table.slice(0, 0))
    assert empty.schema == found[0].schema and not len(empty)


def test_ray_data_gives_and_takes_tables(
    home: Path, score: BatchScorer, same: Callable[[Any], None]
) -> None:
    table = pl.read_parquet(home / "rows" / "*.parquet").to_arrow()
    found = score.batch(table)
    assert type(found) is pa.Table
    same(pl.DataFrame(found))


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # in Dask itself
def test_dask(home: Path, score: BatchScorer, same: Callable[[Any], None]) -> None:
    dask = pytest.importorskip("dask")
    frames = pytest.importorskip("dask.dataframe")
    with dask.config.set(scheduler="synchronous"):
        frame = frames.read_parquet(home / "rows")
        meta = score.batch(frame.head(1))
        found = frame.map_partitions(score.batch, meta=meta).compute()
    assert isinstance(found, pd.DataFrame)
    same(pl.from_pandas(found))


def test_duckdb(home: Path, score: BatchScorer, same: Callable[[Any], None]) -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    query = connection.sql(f"SELECT * FROM '{home}/rows/*.parquet'")
    scored = pa.Table.from_batches(score(query.to_arrow_reader(64)))
    same(pl.DataFrame(scored))
    counted = connection.sql("SELECT count(*) FROM scored").fetchall()
    assert counted == [(150,)]


def test_spark(
    home: Path,
    score: BatchScorer,
    same: Callable[[Any], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="`make spark` installs Spark")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]")
    spark = builder.config("spark.ui.enabled", False).getOrCreate()
    schema = "id long, prediction string, p_no double, p_yes double"
    try:
        rows = spark.read.parquet(str(home / "rows"))
        scored = str(tmp_path / "scored")
        rows.mapInArrow(score, schema).write.parquet(scored)
    finally:
        spark.stop()
    same(pl.read_parquet(f"{scored}/*.parquet"))

"""The predictions of each file of a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.errors import ConfigError, DataError
from models.storage.bucket import Bucket
from models.storage.bucket_client import BucketError
from models.storage.directory import DirectoryStore as Store
from trainer.engines.ray_worker import Reporter, find_environment, run_task
from trainer.engines.wire import Failure, RemoteFunction, flatten, unpack
from trainer.scoring import BatchScorer
from trainer.scoring.files import predict
from trainer.scoring.folders import (
    FileTask,
    is_folder,
    predict_file,
    predict_folder,
)

WriteCsv = Callable[..., Path]


def scoring_of(store: Store, name: str, keep: tuple[str, ...] = ()) -> BatchScorer:
    return BatchScorer(str(store.root), name, 1, keep)


@pytest.fixture
def folder(table: Callable[..., Any], write_parquet: Callable[..., Path]) -> Path:
    """Write three files, one of them below a folder and one of them empty."""
    for number in range(3):
        rows = table(40, seed=number)
        rows["since"] = pl.Series(rows["since"]).str.to_date()
        rows["member"] = [value == "true" for value in rows["member"]]
        rows["id"] = list(range(number * 100, number * 100 + 40))
        frame = pl.DataFrame(rows)
        home = ("rows", "rows", "rows/month=05")[number]
        name = f"{home}/part-{number}.parquet"
        path = write_parquet(frame[: 0 if number == 1 else 40], name)
    return path.parent.parent


def test_each_file_has_its_predictions(
    folder: Path, published: Path, store: Store, tmp_path: Path
) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    scorer = scoring_of(store, "churn", keep=("id",))
    assert predict_folder(scorer, str(folder), out, said.append) == (80, 3, 0)
    for file in folder.rglob("*.parquet"):
        found = pl.read_parquet(out / file.relative_to(folder), hive_partitioning=False)
        assert found.columns == ["id", "prediction", "p_no", "p_yes"]
        if not len(found):
            continue
        alone = tmp_path / "alone.parquet"
        predict(scorer.scoring(), str(file), alone)
        assert_frame_equal(found, pl.read_parquet(alone))
        assert found["id"].to_list() == pl.read_parquet(file)["id"].to_list()
    assert len(said) == 3 and all(str(out) in line for line in said)


def test_files_that_are_done_are_left_until_something_changes(
    folder: Path, published: Path, store: Store, tmp_path: Path
) -> None:
    out, say = tmp_path / "out", lambda sentence: None
    churn, level = (scoring_of(store, name) for name in ("churn", "level"))
    assert predict_folder(churn, str(folder), out, say) == (80, 3, 0)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert predict_folder(churn, str(folder), out, say) == (0, 0, 3)
    assert first == {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    later = time.time() + 10
    os.utime(folder / "part-0.parquet", (later, later))
    assert predict_folder(churn, str(folder), out, say) == (40, 1, 2)
    (out / "part-1.parquet").write_bytes(b"damaged")
    assert predict_folder(level, str(folder), out, say) == (80, 3, 0)
    kept = scoring_of(store, "level", keep=("id",))
    assert predict_folder(kept, str(folder), out, say).written == 3


def test_texts_of_csv_have_their_predictions_in_parquet(
    published: Path,
    store: Store,
    table: Callable[..., Any],
    write_csv: WriteCsv,
    tmp_path: Path,
) -> None:
    (tmp_path / "rows").mkdir()
    write_csv(table(30), "rows/a.csv")
    write_csv(table(20, seed=1), "rows/b.csv")
    scorer = scoring_of(store, "level", keep=("colour",))
    pattern = str(tmp_path / "rows" / "*.csv")
    assert is_folder(pattern)
    out = tmp_path / "out"
    assert predict_folder(scorer, pattern, out, lambda sentence: None).rows == 50
    found = pl.read_parquet(out / "b.parquet")
    assert found.columns == ["colour", "prediction", "p_0", "p_1", "p_2"]
    assert found.schema["prediction"] == pl.Int64
    assert found["colour"].to_list() == table(20, seed=1)["colour"]


def test_what_cannot_be_done_is_said_before_the_first_file(
    folder: Path,
    published: Path,
    store: Store,
    write_parquet: Callable[..., Path],
    tmp_path: Path,
) -> None:
    out, say = tmp_path / "out", lambda sentence: None
    churn = scoring_of(store, "churn")
    with pytest.raises(ConfigError, match=r"would be in .*, which is for"):
        predict_folder(churn, str(folder), folder, say)
    keep = scoring_of(store, "churn", keep=("prediction",))
    with pytest.raises(ConfigError, match="--keep prediction: the predictions have"):
        predict_folder(keep, str(folder), out, say)
    with pytest.raises(DataError, match=r"part-2.*'idd' is missing; did you mean 'id'"):
        predict_folder(scoring_of(store, "churn", ("idd",)), str(folder), out, say)
    write_parquet({"size": [1.0], "color": ["red"]}, "rows/part-9.parquet")
    with pytest.raises(DataError, match=r"part-9.parquet: column '\w+' is missing"):
        predict_folder(churn, str(folder), out, say)
    assert not out.exists()
    write_parquet(
        {
            "size": [1.0, 2.0],
            "colour": [1, 2],
            "member": ["true", "perhaps"],
            "since": ["2020-01-01", "2020-01-01"],
        },
        "rows/part-9.parquet",
    )
    with pytest.raises(DataError, match=r"part-9.parquet: column 'member', row 2: exp"):
        predict_folder(churn, str(folder), out, say)
    assert not (out / "part-9.parquet").exists()
    assert not list(out.rglob(".*"))


def test_a_killed_run_is_continued_to_the_same_bytes(
    published: Path,
    store: Store,
    table: Callable[..., Any],
    write_csv: WriteCsv,
    tmp_path: Path,
) -> None:
    (tmp_path / "rows").mkdir()
    for number in range(4):
        longer = {name: values * 100 for name, values in table(50, number).items()}
        write_csv(longer, f"rows/{number}.csv")
    scorer = scoring_of(store, "churn", keep=("size",))
    rows, whole, out = str(tmp_path / "rows"), tmp_path / "whole", tmp_path / "out"
    predict_folder(scorer, rows, whole, lambda sentence: None)
    command = [sys.executable, "-m", "trainer.cli", "predict", rows, "--out", str(out)]
    command += ["--model", "churn", "--keep", "size", "--store", str(store.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        assert run.stderr is not None
        run.stderr.readline()  # the first file is written
        run.send_signal(signal.SIGKILL)
    again = subprocess.run(command, capture_output=True, check=True)
    assert b"were there already" in again.stderr
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    assert found == {path.name: path.read_bytes() for path in whole.iterdir()}


def test_another_machine_needs_addresses_alone(
    folder: Path, published: Path, store: Store, tmp_path: Path
) -> None:
    """What a worker of Ray runs, and what it sends back."""
    function = RemoteFunction.of(predict_file)
    environment = msgspec.json.encode(find_environment(1)).decode()
    said: list[str] = []

    def run(scorer: BatchScorer, out: Path) -> bytes:
        task = FileTask(f"{folder}/part-0.parquet", "a.parquet", 1, "1 2", str(out))
        reporter = Reporter(said.extend, lambda content: "")
        sent = flatten(scorer), flatten(task)
        return run_task(function.name, environment, *sent, reporter)

    out = tmp_path / "out" / "a.parquet"
    packed = run(scoring_of(store, "churn"), out)
    assert packed[:1] == b"+" and unpack(function.result, packed[1:]) == 40
    assert said == [f'"{out}: 40 rows"']
    predict_folder(scoring_of(store, "churn"), str(folder), tmp_path, said.append)
    assert out.read_bytes() == (tmp_path / "part-0.parquet").read_bytes()
    elsewhere = BatchScorer(str(tmp_path / "elsewhere"), "churn", 1)
    packed = run(elsewhere, out)
    error = unpack(Failure, packed[1:]).error()
    assert isinstance(error, DataError) and "elsewhere/churn/1/model.npz" in str(error)


@pytest.mark.cloud
def test_folders_may_be_in_a_bucket(
    folder: Path, published: Path, store: Store, bucket: str, tmp_path: Path
) -> None:
    def say(sentence: str) -> None:
        pass

    scorer = scoring_of(store, "churn", keep=("id",))
    here, objects = tmp_path / "here", Bucket(bucket)
    predict_folder(scorer, str(folder), here, say)
    for path in folder.rglob("*.parquet"):
        objects.upload(f"rows/{path.relative_to(folder)}", path)
    rows, out = f"{bucket}/rows", f"{bucket}/out"
    assert predict_folder(scorer, rows, out, say) == (80, 3, 0)
    assert predict_folder(scorer, rows, out, say) == (0, 0, 3)
    down = tmp_path / "down"
    assert predict_folder(scorer, rows, down, say) == (80, 3, 0)
    assert predict_folder(scorer, rows, down, say) == (0, 0, 3)
    for path in here.rglob("*.parquet"):
        below = path.relative_to(here)
        assert (down / below).read_bytes() == path.read_bytes()
        found = objects.get(f"out/{below}", 1 << 20)
        assert found and found.content == path.read_bytes()
    objects.upload("rows/part-0.parquet", folder / "part-1.parquet")
    assert predict_folder(scorer, rows, out, say) == (0, 1, 2)
    objects.upload("rows/part-8.parquet", tmp_path / "here" / "part-0.parquet")
    with pytest.raises(DataError, match=rf"{rows}/part-8\.parquet: column '.*' is"):
        predict_folder(scorer, rows, out, say)
    with pytest.raises(ConfigError, match=r"would be in .*, which is for"):
        predict_folder(scorer, rows, rows, say)
    with pytest.raises(ConfigError, match="is no folder of tables"):
        predict_folder(scorer, f"{bucket}/nothing", out, say)
    objects.delete(["rows/part-8.parquet"])
    assert (
        predict(scorer.scoring(), f"{rows}/month=*/*.parquet", f"{out}/all.csv") == 40
    )
    assert objects.get("out/all.csv", 1 << 20)


@pytest.mark.cloud
def test_a_bucket_that_is_not_there_is_said_before_the_work(
    folder: Path, published: Path, store: Store, bucket: str
) -> None:
    scorer = scoring_of(store, "churn")
    with pytest.raises(BucketError, match="s3://no-such: there is no such bucket"):
        predict_folder(scorer, str(folder), "s3://no-such/out", lambda sentence: None)
    with pytest.raises(BucketError, match="s3://no-such: there is no such bucket"):
        predict(scorer.scoring(), str(folder), "s3://no-such/out.csv")

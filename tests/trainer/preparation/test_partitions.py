"""Each network learns files of its own, wherever they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from models.errors import ConfigError, DataError
from trainer.data import read
from trainer.engines.wire import build, flatten
from trainer.preparation.encoded import partition
from trainer.preparation.partitions import PartitionedData
from trainer.preparation.prepare import Prepared, prepare

MEMBERS = "data.partitions=members"
FILES, ROWS = 7, 60
Make = Callable[..., Prepared]


@pytest.fixture
def folder(tmp_path: Path, table: Callable[..., Any]) -> Path:
    """A folder of folders that are a column, with rows that have no target."""
    for number in range(FILES):
        rows = table(ROWS, seed=number)
        rows["file"] = [float(number)] * ROWS
        rows["churn"][number] = None
        rows["note"] = [None] * ROWS if number == 1 else rows["colour"]
        path = tmp_path / "rows" / f"half={number // 4}" / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows).write_parquet(path)
    return tmp_path / "rows"


@pytest.fixture
def make(folder: Path, configured: Callable[..., Any]) -> Make:
    def make(*settings: str, target: str = "churn", valid: bool = False) -> Prepared:
        config = configured(MEMBERS, "ensemble.members=3", *settings)
        validation = str(folder) if valid else None
        data = read(str(folder), target, config)
        return prepare(data, None, validation, config, lambda _: None)

    return make


def test_a_network_learns_and_validates_rows_of_its_files_alone(make: Make) -> None:
    prepared = make("data.validation_fraction=0.2")
    learnt = set()
    for number, split in enumerate(prepared.splits):
        for rows in split.train, split.validation:
            found = files_of(prepared, rows)
            assert found and found <= {*range(number, FILES, 3)}
            learnt |= found
    assert learnt == {*range(FILES)}
    assert files_of(prepared, prepared.splits[0].test) == learnt
    said = "each of 3 networks learns 2 or 3 of the 7 files"
    assert any(reason.startswith(said) for reason in prepared.reasons)


def files_of(prepared: Prepared, rows: NDArray[np.intp]) -> set[float]:
    return {*np.asarray(prepared.part(rows).raw["file"]).tolist()}


def test_test_rows_are_those_of_a_run_in_which_each_network_learns_all_files(
    make: Make, folder: Path, configured: Callable[..., Any]
) -> None:
    shared = make()
    config = configured("ensemble.members=3")
    data = read(str(folder), "churn", config)
    whole = prepare(data, None, None, config, lambda _: None)
    assert shared.evaluation.rows.digest == whole.evaluation.rows.digest
    for one, other in zip(shared.common_split, whole.common_split, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(shared.splits, whole.splits, strict=True):
        assert {*one.train} < {*other.train}
        assert {*one.validation} < {*other.validation}


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ((), {}),
        (("data.validation_fraction=0",), {}),
        (("data.test_fraction=0",), {}),
        (("data.weight=level", "train.class_weights=balanced"), {}),
        (("data.group=colour",), {}),
        (("data.time=since",), {}),
        (('data.columns.level.missing=["0"]',), {}),
        (("data.columns.member.kind=boolean",), {}),
        (("data.columns.note.kind=numeric",), {}),
        ((), {"target": "size"}),
        ((), {"valid": True}),
    ],
)
def test_another_machine_reads_the_same_rows(
    settings: tuple[str, ...], more: dict[str, Any], make: Make
) -> None:
    prepared = make(*settings, **more)
    sent = partition(prepared)
    received = build(PartitionedData, *flatten(sent))
    assert received.inputs == prepared.inputs
    for number in range(3):
        for one, other in zip(
            prepared.member_rows(number), received.member_rows(number), strict=True
        ):
            assert (one is None) == (other is None)
            for expected, found in zip(one or (), other or (), strict=True):
                assert (expected is None) == (found is None)
                if expected is not None:
                    np.testing.assert_array_equal(found[:], expected[:])
                    assert found.dtype == expected.dtype


def test_files_that_changed_are_refused(make: Make, folder: Path) -> None:
    sent = partition(make())
    path = folder / "half=0" / "1.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(size=pl.col("size") + 1).write_parquet(path)
    sent.member_rows(0)
    with pytest.raises(DataError, match="network 2 have other rows on this machine"):
        sent.member_rows(1)
    rows.head(3).write_parquet(path)
    with pytest.raises(DataError, match="network 2 have other rows on this machine"):
        sent.member_rows(1)
    rows.drop("size").write_parquet(path)
    with pytest.raises(DataError, match="the two files differ in size"):
        sent.member_rows(1)
    for other in folder.rglob("*.parquet"):
        pl.read_parquet(other).drop("size", strict=False).write_parquet(other)
    with pytest.raises(DataError, match=r"half=0/1\.parquet has no column 'size'"):
        sent.member_rows(1)
    path.unlink()
    with pytest.raises(DataError, match=r"1\.parquet: No such file"):
        sent.member_rows(1)


@pytest.mark.parametrize("members", [1, 8])
def test_each_network_needs_a_file(make: Make, members: int) -> None:
    said = rf"and this run has {members} \(ensemble.members\) and 7 files"
    with pytest.raises(ConfigError, match=said):
        make(f"ensemble.members={members}")


def test_files_with_too_few_rows_are_refused(make: Make, folder: Path) -> None:
    for number in 2, 5:
        (path,) = folder.rglob(f"{number}.parquet")
        pl.read_parquet(path).head(number - 1).write_parquet(path)
    with pytest.raises(DataError, match="the files of network 3 of 3 have too few"):
        make()


def test_no_network_may_be_left_out(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"ensemble\.minimum_gain may leave networks"):
        make("ensemble.minimum_gain=0.1")


def test_only_parquet_files_are_shared(
    configured: Callable[..., Any], people_csv: Path, folder: Path
) -> None:
    config = configured(MEMBERS)
    with pytest.raises(ConfigError, match=r"data\.partitions=members needs Parquet"):
        read(str(people_csv), "Status", config)
    contrary = configured(MEMBERS, "runtime.streaming=false")
    with pytest.raises(ConfigError, match=r"and runtime\.streaming=false does not"):
        read(str(folder), "churn", contrary)
    with pytest.raises(ConfigError, match="needs a folder of Parquet files"):
        read("builtin:digits", None, config)

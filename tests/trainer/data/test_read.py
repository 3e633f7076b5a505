"""Whatever DATA names, with and without a model at hand."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.errors import DataError
from models.features.table import TableInput, fit_column
from models.features.tensor import TensorInput
from trainer.data import Dataset, read, read_for

WriteCsv = Callable[..., Path]
COLUMNS: dict[str, list[Any]] = {
    "x": [1.5, 2.5, None],
    "c": ["a", "b", "a"],
    "y": [1, 0, 1],
}


def refused(run: Any, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check(found: Dataset) -> None:
    assert isinstance(found.inputs, dict)
    np.testing.assert_array_equal(found.inputs["x"], [1.5, 2.5, math.nan])
    assert found.inputs["c"] == ["a", "b", "a"]
    assert found.target == [1, 0, 1]
    assert found.kinds == {"x": "numeric", "c": "categorical"}


def test_csv_and_parquet_give_the_same(
    write_csv: WriteCsv, write_parquet: Callable[..., Path]
) -> None:
    check(read(str(write_csv(COLUMNS)), "y"))
    check(read(str(write_parquet(COLUMNS)), "y"))


@pytest.mark.parametrize("pattern", ["parts", "parts/", "parts/*.parquet", "parts/p*"])
def test_a_folder_or_glob_of_parquet_is_one_table(
    pattern: str, write_parquet: Callable[..., Path], tmp_path: Path
) -> None:
    for part in (slice(0, 2), slice(2, 3)):
        rows = {name: values[part] for name, values in COLUMNS.items()}
        write_parquet(rows, f"parts/p{part.start}.parquet")
    if pattern == "parts/p*":
        assert "expected .csv" in refused(read, str(tmp_path / pattern), "y")
    else:
        check(read(str(tmp_path / pattern), "y"))


@pytest.mark.parametrize("pattern", ["parts", "parts/", "parts/*.csv*", "parts/?.csv*"])
def test_a_folder_or_glob_of_csv_is_one_table(
    pattern: str, write_csv: WriteCsv, tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    write_csv({name: values[:2] for name, values in COLUMNS.items()}, "parts/1.csv")
    turned = {name: COLUMNS[name][2:] for name in ("y", "x", "c")}
    packed = gzip.compress(write_csv(turned, "parts/.part.csv").read_bytes())
    (tmp_path / "parts" / "2.csv.gz").write_bytes(packed)
    if pattern.endswith("*"):
        assert "expected .csv" in refused(read, str(tmp_path / pattern), "y")
        pattern = pattern.removesuffix("*")
        assert len(read(str(tmp_path / pattern), "y")) == 2
    else:
        check(read(str(tmp_path / pattern), "y"))


def test_the_kind_of_a_column_comes_from_all_files(
    write_csv: WriteCsv, tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    write_csv({"x": [1, 2], "y": [0, 1]}, "parts/1.csv")
    write_csv({"x": ["one", None], "y": [0, 1]}, "parts/2.csv")
    found = read(str(tmp_path / "parts"), "y")
    assert found.kinds == {"x": "categorical"}
    assert found.inputs == {"x": ["1", "2", "one", None]}


def test_files_that_are_not_one_table_are_told(
    write_csv: WriteCsv, write_parquet: Callable[..., Path], tmp_path: Path
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    write_csv({"x": [1], "y": [0]}, "parts/1.csv")
    second = write_csv({"x": [1], "z": [0], "y": [0]}, "parts/2.csv")
    assert refused(read, str(parts), "y") == (
        f"{second}: expected the columns of 1.csv; the two files differ in z"
    )
    second.unlink()
    second = write_parquet({"x": [1], "y": [0]}, "parts/2.parquet")
    assert refused(read, str(parts), "y") == (
        f"{parts}: expected files of one format, found .csv and .parquet; choose "
        "some of them by a glob"
    )
    assert len(read(str(parts / "*.csv"), "y")) == 1
    assert len(read(str(parts / "*.parquet"), "y")) == 1


def test_parquet_keeps_its_types(write_parquet: Callable[..., Path]) -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    path = write_parquet(
        {
            "whole": pl.Series([1, None], dtype=pl.Int16),
            "real": [0.5, None],
            "truth": [True, None],
            "day": [date(2024, 2, 29), None],
            "moment": [moment, None],
            "word": pl.Series(["a", None], dtype=pl.Categorical),
            "digits": ["1", "2"],
            "y": ["007", "8"],
        }
    )
    found = read(str(path), "y")
    assert found.kinds == {
        "whole": "numeric",
        "real": "numeric",
        "truth": "boolean",
        "day": "datetime",
        "moment": "datetime",
        "word": "categorical",
        # Text by its type stays text.
        "digits": "categorical",
    }
    assert isinstance(found.inputs, dict)
    assert found.inputs["moment"][0] == moment.timestamp()
    for name in ("whole", "real", "truth", "day", "moment"):
        assert math.isnan(found.inputs[name][1])
    assert found.inputs["word"] == ["a", None]
    assert found.target == ["007", "8"]


def test_lists_and_nan_in_parquet_end_no_run(
    write_parquet: Callable[..., Path],
) -> None:
    lists = write_parquet({"l": [[1], [2]], "x": [1.0, math.nan], "y": [0, 1]})
    found = read(str(lists), "y")
    assert isinstance(found.inputs, dict)
    np.testing.assert_array_equal(found.inputs["x"], [1, math.nan])
    [finding] = found.findings
    assert finding.sentence == (
        "column 'l' has values of type List(Int64), which cannot be an input, and is "
        "left out"
    )


def test_labels_1_and_1_0_are_one_in_all_files(
    write_csv: WriteCsv, tmp_path: Path
) -> None:
    (tmp_path / "months").mkdir()
    write_csv({"x": [0.5, 1.5], "y": ["0", "1"]}, "months/1.csv")
    write_csv({"x": [2.5, 3.5, 4.5], "y": ["0.0", "1.0", ""]}, "months/2.csv")
    found = read(str(tmp_path / "months"), "y")
    assert found.target == [0, 1, 0, 1, None]


def test_an_odd_value_is_named_with_its_file_and_row(
    write_csv: WriteCsv, tmp_path: Path
) -> None:
    (tmp_path / "months").mkdir()
    numbers = [i + 0.5 for i in range(30)]
    write_csv({"x": numbers, "y": [0, 1] * 15}, "months/1.csv")
    write_csv({"x": ["x", *numbers], "y": [0, *[0, 1] * 15]}, "months/2.csv")
    [finding] = read(str(tmp_path / "months"), "y").findings
    assert finding.kind == "odd"
    assert "'x' (2.csv, row 1)" in finding.sentence


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x,y\n1,2\n", b"PAR1" * 30])
def test_a_damaged_parquet_file_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(content)
    assert refused(read, str(path), "y").startswith(f"{path}: ")


def test_any_damage_to_a_parquet_file_is_a_data_error(
    write_parquet: Callable[..., Path],
) -> None:
    path = write_parquet({"x": np.arange(60.0), "y": [0, 1] * 30})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    told = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(len(whole) // 2, 2 * len(whole))])
        try:
            read(str(path), "y")
        except DataError:
            told += 1
    assert told > 75


def test_a_parquet_file_name_is_no_pattern(write_parquet: Callable[..., Path]) -> None:
    check(read(str(write_parquet(COLUMNS, "data[1].parquet")), "y"))
    check(read(str(write_parquet(COLUMNS, "parts[1]/p.parquet").parent), "y"))


def test_nothing_there_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.csv"
    assert refused(read, str(missing), "y") == f"no such file: {missing}"
    near = missing.with_name("rows.csv")
    near.touch()
    message = refused(read, str(near.with_name("row.csv")), "y")
    assert message.endswith("row.csv; did you mean 'rows.csv'?")
    for empty in (tmp_path, tmp_path / "*.parquet"):
        assert refused(read, str(empty), "y").startswith(str(empty))


@pytest.mark.parametrize("name", ["data.json", "data", "data.xlsx"])
def test_an_unknown_kind_of_file_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("x,y\n1,2\n")
    assert "expected .csv, .tsv, .txt, .csv.gz, .parquet" in refused(
        read, str(tmp_path / name), "y"
    )


def test_a_table_needs_a_target(write_csv: WriteCsv) -> None:
    assert "a table needs --target COLUMN" in refused(
        read, str(write_csv(COLUMNS)), None
    )


def test_a_csv_file_may_have_idx_in_its_name(write_csv: WriteCsv) -> None:
    check(read(str(write_csv(COLUMNS, "customers-idx1.csv")), "y"))


def test_builtin_data_need_no_file() -> None:
    assert len(read("builtin:xor", None)) == 4
    assert "did you mean 'xor'?" in refused(read, "builtin:xorr", None)


def test_a_fault_in_a_column_names_the_file(write_csv: WriteCsv) -> None:
    numbers = [i + 0.5 for i in range(30)]
    path = write_csv({"x": [*numbers, 1], "y": [*numbers, "inf"]})
    message = refused(read, str(path), "y")
    assert message.startswith(f"{path}: target 'y', row 31: expected a number")


# With a model: its own columns, as its own kinds.


def table(**columns: tuple[str, Any]) -> TableInput:
    return TableInput(
        tuple(fit_column(name, kind, raw) for name, (kind, raw) in columns.items())
    )


@pytest.fixture
def model() -> TableInput:
    return table(
        n=("numeric", [1.0, 2.0]),
        m=("numeric", [1.0, math.nan]),
        code=("categorical", ["1", "2"]),
        word=("categorical", ["a", None]),
        truth=("boolean", [0.0, math.nan]),
        day=("datetime", [0.0, math.nan]),
    )


WHOLE = {
    "n": [1, 2],
    "m": [3, 4],
    "code": [5, 6],
    "word": ["a", "b"],
    "truth": ["true", "false"],
    "day": ["2024-02-29", "2024-03-01"],
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_kinds_are_the_models_whatever_the_file_looks_like(
    kind: str,
    model: TableInput,
    write_csv: WriteCsv,
    write_parquet: Callable[..., Path],
) -> None:
    given = {**WHOLE, "extra": ["?", "?"], "n": [None, None], "truth": [None, None]}
    path = write_csv(given) if kind == "csv" else write_parquet(given)
    found = read_for(str(path), model, None)
    assert isinstance(found.inputs, dict)
    assert list(found.inputs) == [column.name for column in model.columns]
    assert found.inputs["code"] == ["5", "6"]
    np.testing.assert_array_equal(found.inputs["n"], [math.nan] * 2)
    np.testing.assert_array_equal(found.inputs["truth"], [math.nan] * 2)
    np.testing.assert_array_equal(found.inputs["day"], [1709164800.0, 1709251200.0])
    assert found.target is None and len(found) == 2


def test_further_columns_are_read_where_they_are_there(
    model: TableInput, write_csv: WriteCsv
) -> None:
    path = write_csv({**WHOLE, "w": [1, 2], "g": ["a", "b"]})
    found = read_for(str(path), model, None, ["w", "g", "none"])
    assert isinstance(found.inputs, dict)
    assert list(found.inputs) == [*(column.name for column in model.columns), "w", "g"]
    assert (found.kinds["w"], found.kinds["g"]) == ("numeric", "categorical")


@pytest.mark.parametrize("name", ["m", "word", "truth", "day"])
def test_an_absent_nullable_column_is_missing(
    name: str, model: TableInput, write_csv: WriteCsv
) -> None:
    path = write_csv({k: v for k, v in WHOLE.items() if k != name})
    found = read_for(str(path), model, None)
    assert isinstance(found.inputs, dict)
    assert all(value is None or value != value for value in found.inputs[name])


@pytest.mark.parametrize("name", ["n", "code"])
def test_an_absent_required_column_is_told(
    name: str, model: TableInput, write_csv: WriteCsv
) -> None:
    path = write_csv({k: v for k, v in WHOLE.items() if k != name})
    message = refused(read_for, str(path), model, None)
    assert message.startswith(f"{path}: column '{name}' is missing")


def test_text_in_a_numeric_column_is_told_with_its_row(
    model: TableInput, write_csv: WriteCsv
) -> None:
    path = write_csv({**WHOLE, "n": [1, "many"]})
    message = refused(read_for, str(path), model, None)
    expected = "expected a finite number, found 'many'; leave it empty if it is missing"
    assert message == f"{path}: column 'n', row 2: {expected}"


def test_a_target_that_is_asked_for_must_be_there(
    model: TableInput, write_csv: WriteCsv
) -> None:
    path = write_csv(WHOLE)
    assert "no target column 'y'" in refused(read_for, str(path), model, "y")
    assert read_for(str(write_csv({**WHOLE, "y": [1, 2]})), model, "y").target == [1, 2]


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.zeros((3, 8, 8)), y=np.arange(3))
    return path


def test_arrays_fit_a_model_of_their_shape(npz: Path) -> None:
    inputs = TensorInput.fit(np.zeros((2, 8, 8)))
    assert len(read_for(str(npz), inputs, "y")) == 3
    assert len(read_for("builtin:digits", inputs, None)) == 1797


@pytest.mark.parametrize("shape", [(8,), (64,), (8, 8, 1)])
def test_arrays_of_another_shape_are_told(shape: tuple[int, ...], npz: Path) -> None:
    inputs = TensorInput.fit(np.zeros((2, *shape)))
    message = refused(read_for, str(npz), inputs, None)
    assert message == f"{npz}: this model takes rows of shape {shape}"


def test_a_table_is_no_array_and_an_array_no_table(
    npz: Path, model: TableInput, write_csv: WriteCsv
) -> None:
    images = TensorInput.fit(np.zeros((2, 8, 8)))
    assert "takes arrays" in refused(read_for, str(write_csv(WHOLE)), images, None)
    assert "takes rows of shape" in refused(read_for, "builtin:xor", images, None)
    columns = "this model takes the columns n, m, code"
    assert columns in refused(read_for, str(npz), model, None)
    assert columns in refused(read_for, "builtin:xor", model, None)


def test_builtin_xor_fits_a_model_of_its_columns() -> None:
    xor = table(x1=("numeric", [0.0, 1.0]), x2=("numeric", [0.0, 1.0]))
    assert read_for("builtin:xor", xor, "y").target == [0, 1, 1, 0]

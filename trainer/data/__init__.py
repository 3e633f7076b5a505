"""Reads whatever DATA names into a `Dataset`.

.csv .csv.gz          text with a header; the kind of each column is inferred
.parquet              columns with types
a folder, a glob      CSV or Parquet files as one table, in the order of their names
postgresql:// sqlite:///   the rows of a query, with the database's types
.npz                  arrays X and y
IDX                   images, with the file of labels next to them
builtin:NAME          xor, digits
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import DataError
from models.features.inputs import Inputs
from models.features.table import TableInput
from trainer.data.arrays import read_idx, read_npz
from trainer.data.builtin import read_builtin
from trainer.data.csv import read_csv
from trainer.data.dataset import Dataset, join, length, take
from trainer.data.frames import dataset, infer_kind
from trainer.data.source import Source, source
from trainer.data.sql import read_sql

if TYPE_CHECKING:
    import polars as pl

#: Suffixes of files with tables.
TABLES = (".csv", ".csv.gz", ".parquet")
#: Suffixes of IDX files: train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz
_IDX = re.compile(r"[-.]idx\d(-[a-z]+)?(\.gz)?$")

__all__ = [
    "Dataset",
    "Source",
    "join",
    "length",
    "read",
    "read_for",
    "source",
    "take",
]


def read(data: Source | str, target: str | None) -> Dataset:
    """Read training data; raise DataError that says what is wrong and where."""
    arrays = _read_arrays(data, need_target=True)
    if arrays is not None:
        return arrays
    if target is None:
        raise DataError(
            f"{data}: a table needs --target COLUMN, the column to be predicted"
        )
    return _dataset(data, _read_frame(data), target, None)


def read_for(
    data: Source | str,
    inputs: Inputs,
    target: str | None,
    also: Iterable[str] = (),
) -> Dataset:
    """Read data for a model that exists, each column as the kind it was trained on.

    The data must have the target if its name is given. A table may have other columns;
    those named by `also` are read too, their kinds inferred. Raises DataError if the
    data do not fit the model.
    """
    arrays = _read_arrays(data, need_target=target is not None)
    if arrays is None and isinstance(inputs, TableInput):
        return _dataset(data, _read_frame(data), target, inputs, also)
    if arrays is None:
        raise DataError(f"{data}: this model takes arrays (.npz, IDX), not tables")
    _require_fit(data, arrays, inputs)
    return arrays


def _require_fit(data: Source | str, arrays: Dataset, inputs: Inputs) -> None:
    if isinstance(inputs, TableInput):
        kinds = inputs.kinds
        if arrays.kinds != kinds:
            raise DataError(f"{data}: this model takes the columns {', '.join(kinds)}")
    elif arrays.kinds or arrays.inputs.shape[1:] != inputs.shape:  # type: ignore[union-attr]
        raise DataError(f"{data}: this model takes rows of shape {inputs.shape}")


def _dataset(
    data: Source | str,
    frame: pl.DataFrame,
    target: str | None,
    inputs: TableInput | None,
    also: Iterable[str] = (),
) -> Dataset:
    kinds = nullable = None
    try:
        if inputs is not None:
            kinds = inputs.kinds
            nullable = frozenset(c.name for c in inputs.columns if c.nullable)
            kinds |= {n: infer_kind(frame[n]) for n in also if n in frame.columns}
        return dataset(frame, target, kinds, nullable or frozenset())
    except DataError as error:
        raise DataError(f"{data}: {error}") from None


def _read_arrays(data: Source | str, need_target: bool) -> Dataset | None:
    """Return the data if they are arrays or built in; None for a table.

    Raises DataError if there is no such file.
    """
    if isinstance(data, Source) and data.scheme is not None:
        return None
    address = str(data)
    if address.startswith("builtin:"):
        return read_builtin(address.removeprefix("builtin:"))
    path = Path(address)
    if not path.exists() and not set(address) & set("*?["):
        raise DataError(f"no such file: {address}")
    if path.suffix == ".npz":
        return read_npz(path, need_target)
    if _IDX.search(path.name):
        return read_idx(path, need_target)
    return None


def _read_frame(data: Source | str) -> pl.DataFrame:
    if isinstance(data, Source) and data.scheme is not None:
        return read_sql(data)
    path = Path(str(data))
    files = _files(path)
    if files[0].name.endswith(".parquet"):
        return _read_parquet(path, files)
    return _read_csv(files)


def _files(path: Path) -> list[Path]:
    """Return the files of a table in the order of their names, all of one format."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.name.endswith(TABLES)]
    elif not path.name.endswith(TABLES):
        raise DataError(
            f"{path}: expected .csv, .csv.gz, .parquet, .npz, an IDX file, "
            "builtin:NAME or a database (postgresql://…, sqlite:///…)"
        )
    else:
        files = [path] if path.exists() else [Path(name) for name in glob(str(path))]
    files = sorted(file for file in files if not file.name.startswith("."))
    if not files:
        raise DataError(f"{path}: there is no .csv, .csv.gz or .parquet file")
    if len({file.name.endswith(".parquet") for file in files}) > 1:
        raise DataError(
            f"{path}: expected files of one format, found .csv and .parquet; choose "
            "some of them by a glob"
        )
    return files


def _read_csv(files: list[Path]) -> pl.DataFrame:
    import polars as pl

    frames = [read_csv(file) for file in files]
    names = frames[0].columns
    for file, frame in zip(files, frames, strict=True):
        if unshared := sorted({*names} ^ {*frame.columns}):
            raise DataError(
                f"{file}: expected the columns of {files[0].name}; the two files "
                f"differ in {', '.join(unshared[:8])}"
            )
    return pl.concat([frame.select(names) for frame in frames])


def _read_parquet(path: Path, files: list[Path]) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(files, glob=False)
    # polars panics on some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None

"""From whatever DATA names to a `Dataset`.

.csv .csv.gz          text, a header, every column's kind inferred
.parquet              its own types
a folder, a glob      of CSV or Parquet files: one table, in the order of their names
postgresql:// sqlite:///   the rows of a query, with the database's types
.npz                  arrays X and y
IDX                   images with the labels file beside them
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

#: How names of files with tables end.
TABLES = (".csv", ".csv.gz", ".parquet")
#: How names of IDX files end: train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz
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
    """Read data to learn from; DataError says what is wrong and where."""
    found = _arrays(data, need_target=True)
    if found is not None:
        return found
    if target is None:
        raise DataError(f"{data}: which column is the target? say --target COLUMN")
    return _of(data, _frame(data), target, None)


def read_for(
    data: Source | str,
    inputs: Inputs,
    target: str | None,
    also: Iterable[str] = (),
) -> Dataset:
    """Read data for a model that exists, each column as the kind it was trained on.

    With a `target` name the data must hold it, else it may. A table may hold further
    columns, those to read `also`; their kind is inferred.
    """
    found = _arrays(data, need_target=target is not None)
    if found is None and isinstance(inputs, TableInput):
        return _of(data, _frame(data), target, inputs, also)
    if found is None:
        raise DataError(f"{data}: this model takes arrays (.npz, IDX), not tables")
    _require_fit(data, found, inputs)
    return found


def _require_fit(data: Source | str, found: Dataset, inputs: Inputs) -> None:
    if isinstance(inputs, TableInput):
        kinds = inputs.kinds
        if found.kinds != kinds:
            raise DataError(f"{data}: this model takes the columns {', '.join(kinds)}")
    elif found.kinds or found.inputs.shape[1:] != inputs.shape:  # type: ignore[union-attr]
        raise DataError(f"{data}: this model takes rows of shape {inputs.shape}")


def _of(
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


def _arrays(data: Source | str, need_target: bool) -> Dataset | None:
    """Return what is no table; DataError if there is nothing at all."""
    if isinstance(data, Source) and data.scheme is not None:
        return None
    place = str(data)
    if place.startswith("builtin:"):
        return read_builtin(place.removeprefix("builtin:"))
    path = Path(place)
    if not path.exists() and not set(place) & set("*?["):
        raise DataError(f"no such file: {place}")
    if path.suffix == ".npz":
        return read_npz(path, need_target)
    if _IDX.search(path.name):
        return read_idx(path, need_target)
    return None


def _frame(data: Source | str) -> pl.DataFrame:
    if isinstance(data, Source) and data.scheme is not None:
        return read_sql(data)
    path = Path(str(data))
    files = _files(path)
    if files[0].name.endswith(".parquet"):
        return _parquet(path, files)
    return _csv(files)


def _files(path: Path) -> list[Path]:
    """Return the files of a table, of one format, in the order of their names."""
    if path.is_dir():
        found = [file for file in path.iterdir() if file.name.endswith(TABLES)]
    elif not path.name.endswith(TABLES):
        raise DataError(
            f"{path}: expected .csv, .csv.gz, .parquet, .npz, an IDX file, "
            "builtin:NAME or a database (postgresql://…, sqlite:///…)"
        )
    else:
        found = [path] if path.exists() else [Path(name) for name in glob(str(path))]
    found = sorted(file for file in found if not file.name.startswith("."))
    if not found:
        raise DataError(f"{path}: there is no .csv, .csv.gz or .parquet file")
    if len({file.name.endswith(".parquet") for file in found}) > 1:
        raise DataError(f"{path}: there are .csv and .parquet files: choose by a glob")
    return found


def _csv(files: list[Path]) -> pl.DataFrame:
    import polars as pl

    frames = [read_csv(file) for file in files]
    names = frames[0].columns
    for file, frame in zip(files, frames, strict=True):
        if odd := sorted({*names} ^ {*frame.columns}):
            raise DataError(
                f"{file}: its columns are not those of {files[0].name}; they differ "
                f"in {', '.join(odd[:8])}"
            )
    return pl.concat([frame.select(names) for frame in frames])


def _parquet(path: Path, files: list[Path]) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(files, glob=False)
    # polars panics, as Rust calls it, over some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None

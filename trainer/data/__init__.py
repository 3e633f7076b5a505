"""From whatever DATA names to a `Dataset`.

.csv .csv.gz          text, a header, every column's kind inferred
.parquet              one file, a folder or a glob; its own types
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
from models.model import Inputs
from models.table import TableInput
from trainer.data.arrays import read_idx, read_npz
from trainer.data.builtin import read_builtin
from trainer.data.csv import read_csv
from trainer.data.dataset import Dataset, join, length, take
from trainer.data.frames import dataset, infer_kind

if TYPE_CHECKING:
    import polars as pl

#: How names of IDX files end: train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz
_IDX = re.compile(r"[-.]idx\d(-[a-z]+)?(\.gz)?$")

__all__ = ["Dataset", "join", "length", "read", "read_for", "take"]


def read(source: str, target: str | None) -> Dataset:
    """Read data to learn from; DataError says what is wrong and where."""
    if source.startswith("builtin:"):
        return read_builtin(source.removeprefix("builtin:"))
    path = _existing(source)
    if arrays := _arrays(path, need_target=True):
        return arrays
    if target is None:
        raise DataError(f"{path}: which column is the target? say --target COLUMN")
    return _of(path, _frame(path), target, None)


def read_for(
    source: str, inputs: Inputs, target: str | None, also: Iterable[str] = ()
) -> Dataset:
    """Read data for a model that exists, each column as the kind it was trained on.

    With a `target` name the data must hold it, else it may. A table may hold further
    columns, those to read `also`; their kind is inferred.
    """
    table = isinstance(inputs, TableInput)
    if source.startswith("builtin:"):
        found = read_builtin(source.removeprefix("builtin:"))
    else:
        path = _existing(source)
        arrays = _arrays(path, need_target=target is not None)
        if arrays is None and table:
            return _of(path, _frame(path), target, inputs, also)  # type: ignore[arg-type]
        if arrays is None:
            raise DataError(f"{path}: this model takes arrays (.npz, IDX), not tables")
        found = arrays
    _require_fit(source, found, inputs)
    return found


def _require_fit(source: str, found: Dataset, inputs: Inputs) -> None:
    if isinstance(inputs, TableInput):
        kinds = {c.name: c.__struct_config__.tag for c in inputs.columns}
        if found.kinds != kinds:
            raise DataError(
                f"{source}: this model takes the columns {', '.join(kinds)}"
            )
    elif found.kinds or found.inputs.shape[1:] != inputs.shape:  # type: ignore[union-attr]
        raise DataError(f"{source}: this model takes rows of shape {inputs.shape}")


def _of(
    path: Path,
    frame: pl.DataFrame,
    target: str | None,
    inputs: TableInput | None,
    also: Iterable[str] = (),
) -> Dataset:
    kinds = nullable = None
    try:
        if inputs is not None:
            kinds = {c.name: str(c.__struct_config__.tag) for c in inputs.columns}
            nullable = frozenset(c.name for c in inputs.columns if c.nullable)
            kinds |= {n: infer_kind(frame[n]) for n in also if n in frame.columns}
        return dataset(frame, target, kinds, nullable or frozenset())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _existing(source: str) -> Path:
    path = Path(source)
    if "*" in source or path.exists():
        return path
    raise DataError(f"no such file: {source}")


def _arrays(path: Path, need_target: bool) -> Dataset | None:
    if path.suffix == ".npz":
        return read_npz(path, need_target)
    if _IDX.search(path.name):
        return read_idx(path, need_target)
    return None


def _frame(path: Path) -> pl.DataFrame:
    if path.name.endswith((".csv", ".csv.gz")):
        return read_csv(path)
    if path.name.endswith(".parquet") or path.is_dir():
        return _parquet(path)
    raise DataError(
        f"{path}: expected .csv, .csv.gz, .parquet, .npz, an IDX file or builtin:NAME"
    )


def _parquet(path: Path) -> pl.DataFrame:
    import polars as pl

    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
    else:
        files = [path] if path.exists() else sorted(map(Path, glob(str(path))))
    if not files:
        raise DataError(f"{path}: there is no .parquet file")
    try:
        return pl.read_parquet(files, glob=False)
    # polars panics, as Rust calls it, over some damage.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path}: {str(error).splitlines()[0]}") from None

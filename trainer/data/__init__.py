"""Reads whatever DATA names into a `Dataset`.

.csv .tsv .txt        text with a header, gzipped or not; kinds are inferred
.parquet .pq          columns with types
a folder, a glob      CSV or Parquet files as one table, in the order of their names
postgresql:// sqlite:///   the rows of a query, with the database's types
s3:// gs:// az://     any of these files in a bucket
.npz                  arrays X and y
IDX                   images, with the file of labels next to them
builtin:NAME          xor, digits
FrameSource, ArraySource   a data frame, or images, of this process
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from models.errors import ConfigError, DataError, nearest
from models.features.inputs import Inputs
from models.features.predictions import Output
from models.features.stored_columns import StoredColumns
from models.features.table import TableInput
from models.storage.factory import in_bucket
from trainer.config.schema import Config
from trainer.data.arrays import read_idx, read_npz
from trainer.data.batches import Tables, WholeTable, table_files
from trainer.data.bucket_files import copied, local_files
from trainer.data.builtin import read_builtin
from trainer.data.column_file import ColumnFile
from trainer.data.dataset import (
    Dataset,
    SourceFiles,
    join,
    length,
    take,
    with_aside,
)
from trainer.data.files import is_parquet, list_files, name_below, read_files
from trainer.data.frames import training_set
from trainer.data.memory import ArraySource, FrameSource
from trainer.data.model_rows import model_rows
from trainer.data.parquet_columns import is_large, read_stored
from trainer.data.source import Source, source
from trainer.data.spelling import Spelling
from trainer.data.sql import read_sql
from trainer.data.table import Table, whole
from trainer.data.truth import with_truth
from trainer.data.values import categories, numbers_of

#: Suffixes of IDX files: train-images-idx3-ubyte, t10k-images.idx3-ubyte.gz
_IDX = re.compile(r"[-.]idx\d(-[a-z]+)?(\.gz)?$")

#: Files of arrays.
_ARRAYS = re.compile(rf"\.npz$|{_IDX.pattern}")

#: The setting with which each network learns files of its own.
_PARTITIONS = "data.partitions=members"

__all__ = [
    "ArraySource",
    "Dataset",
    "FrameSource",
    "Source",
    "SourceFiles",
    "join",
    "length",
    "local_files",
    "read",
    "read_for",
    "read_some",
    "read_tables",
    "source",
    "take",
    "with_aside",
]


def read(
    data: Source | str,
    target: str | None,
    config: Config | None = None,
    production: Inputs | None = None,
    output: Output | None = None,
) -> Dataset:
    """Read training data; raise DataError that says what is wrong and where.

    Columns are read as those of `production`, and the target as that of its `output`,
    where the settings do not say otherwise. Raises ConfigError for settings that the
    data do not suit.
    """
    config = config or Config()
    known = production if isinstance(production, TableInput) else None
    with local_files(data) as local:
        arrays = _read_arrays(local, need_target=True)
        if config.data.partitions and arrays is not None:
            raise ConfigError(f"{_PARTITIONS} needs a folder of Parquet files")
        if arrays is not None:
            return arrays
        if target is None:
            raise DataError(
                f"{data}: a table needs --target COLUMN, the column to be predicted"
            )
        truth = data.truth if isinstance(data, Source) else None
        table = _read_training_table(local, config, truth is not None)
        with _naming(data):
            if truth is not None:
                with local_files(Source(truth)) as local_truth:
                    known_truth = _read_table(local_truth)
                table = with_truth(table, known_truth, target, {config.data.time})
            dataset = training_set(table, target, config, known, output)
    if not isinstance(dataset.inputs, StoredColumns):
        return dataset
    return replace(dataset, files=_source_files(data, local, table))


def read_for(
    data: Source | str,
    inputs: Inputs,
    target: str | None,
    also: Collection[str] = (),
    output: Output | None = None,
) -> Dataset:
    """Read data for a model that exists, each column as the kind it was trained on.

    The data must have the target if its name is given; it is spelled as `output` has
    it. A table may have other columns; those named by `also` are read too,
    their kinds inferred. Raises DataError if the data do not fit the model.
    """
    with local_files(data) as local:
        arrays = _read_arrays(local, need_target=target is not None)
        if arrays is None and isinstance(inputs, TableInput):
            table = _read_table(local)
            with _naming(data):
                return model_rows(table, inputs, target, output, also)
    if arrays is None:
        raise DataError(f"{data}: this model takes arrays (.npz, IDX), not tables")
    _require_fit(data, arrays, inputs)
    return arrays


def read_tables(data: Source | str) -> Sequence[Tables] | None:
    """Return the tables of the data, one a file, to be read in parts; None for arrays.

    Raises DataError if there is no such file.
    """
    address = str(data)
    if isinstance(data, ArraySource):
        return None
    if _has_no_files(data):
        return [WholeTable(_read_table(data))]
    if address.startswith("builtin:") or _ARRAYS.search(address):
        return None
    path = _existing(address)
    return table_files(path)


def _existing(address: str) -> Path:
    """Return the path of files; raise DataError if there are none."""
    path = Path(address)
    if not path.exists() and not set(address) & set("*?["):
        # Equal suffixes do not make names alike.
        like = [f.name for f in path.parent.glob("*") if nearest(path.stem, [f.stem])]
        raise DataError(f"no such file: {address}{nearest(path.name, like)}")
    return path


@contextmanager
def _naming(data: Source | str) -> Iterator[None]:
    """Name the data in an error about them."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{data}: {error}") from None


def _require_fit(data: Source | str, arrays: Dataset, inputs: Inputs) -> None:
    if isinstance(inputs, TableInput):
        kinds = inputs.kinds
        if arrays.kinds != kinds:
            raise DataError(f"{data}: this model takes the columns {', '.join(kinds)}")
    elif arrays.kinds or arrays.inputs.shape[1:] != inputs.shape:  # type: ignore[union-attr]
        raise DataError(f"{data}: this model takes rows of shape {inputs.shape}")


def read_some(folder: str, names: Sequence[str], inputs: TableInput) -> StoredColumns:
    """Return the input columns of some Parquet files, as `read` does, on disk.

    `names` are paths below the folder, which may be in a bucket. Raises DataError if
    one is not there.
    """
    columns = ColumnFile()
    with ExitStack() as stack:
        path = Path(folder)
        if in_bucket(folder):
            path = stack.enter_context(copied(folder, names))
        frame = read_stored(path, [path / name for name in names]).frame
        for column in inputs.columns:
            if column.name not in frame.columns:
                raise DataError(f"{folder}: {names[0]} has no column '{column.name}'")
            spelling = Spelling(column.kind, column.format, column.marks)
            values = frame[column.name]
            columns[column.name] = (
                categories(values, spelling.marks)
                if spelling.is_text
                else numbers_of(values, spelling)[0]
            )
    return columns


def _source_files(data: Source | str, local: Source | str, table: Table) -> SourceFiles:
    """Return the files of a table; `local` is where they were read."""
    path = Path(str(local))
    names = tuple(str(name_below(Path(part.file), path)) for part in table.parts)
    folder = table.parts[0].file.removesuffix(f"/{names[0]}")
    rows = tuple(len(part.numbers) for part in table.parts)
    if not in_bucket(str(data)):
        return SourceFiles(os.path.abspath(folder), names, rows)
    pattern = str(local).removeprefix(folder)
    return SourceFiles(str(data).removesuffix(pattern), names, rows)


def _read_training_table(data: Source | str, config: Config, joined: bool) -> Table:
    """Read a table into memory, or leave it on disk if that is set or it is large.

    If it is to be `joined` with the truth, it has to be in memory.
    """
    path, streaming = Path(str(data)), config.runtime.streaming
    may_stream = not (joined or _has_no_files(data)) and is_parquet(list_files(path)[0])
    setting = "runtime.streaming=true"
    if config.data.partitions:
        if streaming is False:
            raise ConfigError(
                f"{_PARTITIONS} leaves the columns on disk, and "
                "runtime.streaming=false does not: leave one of the two out"
            )
        setting, streaming = _PARTITIONS, True
    if streaming and joined:
        raise ConfigError(
            f"{setting} leaves the columns on disk, and --truth joins them in memory: "
            "leave one of the two out"
        )
    if streaming and not may_stream:
        raise ConfigError(
            f"{setting} needs Parquet, and {data} is something else: "
            "convert it, or leave the setting out"
        )
    if streaming or (streaming is None and may_stream and is_large(path)):
        return read_stored(path)
    return _read_table(data)


def _has_no_files(data: Source | str) -> bool:
    """Tell whether rows come from a database or from this process."""
    if isinstance(data, FrameSource | ArraySource):
        return True
    return isinstance(data, Source) and data.scheme is not None


def _read_table(data: Source | str) -> Table:
    if isinstance(data, FrameSource):
        return data.table()
    if isinstance(data, Source) and data.scheme is not None:
        return whole(str(data), read_sql(data))
    return read_files(Path(str(data)))


def _read_arrays(data: Source | str, need_target: bool) -> Dataset | None:
    """Return the data if they are arrays or built in; None for a table.

    Raises DataError if there is no such file.
    """
    if isinstance(data, ArraySource):
        return data.dataset()
    if isinstance(data, FrameSource):
        return None
    if isinstance(data, Source) and data.scheme is not None:
        return None
    address = str(data)
    if address.startswith("builtin:"):
        return read_builtin(address.removeprefix("builtin:"))
    path = _existing(address)
    if path.suffix == ".npz":
        return read_npz(path, need_target)
    if _IDX.search(path.name):
        return read_idx(path, need_target)
    return None

"""Predicts the rows of files: into one file, or file by file into a folder.

Rows are taken in batches, so memory does not grow with them. A result appears whole,
by a rename. In a folder, the result of FILE.csv or FILE.parquet is FILE.parquet; its
metadata name the model, so a run that was interrupted continues with the files that are
left, and a run with another model does them all.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, DataError, GlassnetError, nearest
from models.features.inputs import RawColumns
from models.features.table import TableInput
from models.storage.artefact import Artefact
from trainer.data import Source, read_for, read_tables
from trainer.data.batches import TableFile, Tables
from trainer.data.files import CSV, PARQUET
from trainer.data.model_rows import model_rows
from trainer.data.table import Table
from trainer.inspection.batch_inference import inert, require_table_file
from trainer.scoring import predictions
from trainer.types import Say

if TYPE_CHECKING:
    import polars as pl

#: The entry of a result's metadata that names the model and the settings.
KEY = "glassnet"
#: Rows of a group in a Parquet file.
GROUP = 1 << 17


@dataclass(frozen=True)
class Scoring:
    """A model, the columns to carry along, and the level of an interval.

    With `as_text`, as for CSV, classes are text, and no spreadsheet runs it.
    """

    artefact: Artefact
    keep: tuple[str, ...] = ()
    interval: float | None = None
    as_text: bool = False

    @property
    def metadata(self) -> str:
        """What a result depends on besides its rows."""
        sha256 = self.artefact.sha256
        settings = {"sha256": sha256, "keep": self.keep, "interval": self.interval}
        return json.dumps(settings)

    @property
    def types(self) -> dict[str, pl.DataType]:
        """The columns of the predictions, and their types."""
        output = self.artefact.manifest.output
        return predictions.column_types(output, self.interval, self.as_text)

    def schema(self, table: Tables) -> dict[str, pl.DataType]:
        """Return the columns of a table's result, and their types.

        Raises DataError if the table lacks a column that the model needs or that is to
        be kept.
        """
        inputs, found = self.artefact.manifest.inputs, table.schema
        if not isinstance(inputs, TableInput):
            raise DataError(
                f"{table.name}: this model takes arrays (.npz, IDX), not tables"
            )
        needed = [c.name for c in inputs.columns if not c.nullable]
        for name in (*needed, *self.keep):
            if name not in found:
                raise DataError(
                    f"{table.name}: column '{name}' is missing{nearest(name, found)}"
                )
        return {**{name: found[name] for name in self.keep}, **self.types}

    def frames(
        self, table: Tables, schema: dict[str, pl.DataType]
    ) -> Iterator[pl.DataFrame]:
        """Yield what is kept and predicted of a table's rows, batch by batch.

        Raises DataError for a value that does not fit the model, with its row.
        """
        import polars as pl

        wanted = {*self.artefact.manifest.inputs.kinds, *self.keep}
        for batch in table.batches(wanted):
            try:
                found = self.predictions(batch)
            except GlassnetError as error:
                raise DataError(f"{table.name}: {error}") from None
            kept = {name: batch.frame[name] for name in self.keep}
            frame = pl.DataFrame({**kept, **found}).cast(schema)  # type: ignore[arg-type]
            if self.as_text:
                texts = pl.col(pl.String).map_elements(inert, pl.String)
                frame = frame.with_columns(texts)
            yield frame

    def predictions(self, table: Table) -> dict[str, NDArray[Any]]:
        """Return the predictions of a table's rows by column, each (n,)."""
        inputs, output = self.artefact.manifest.inputs, self.artefact.manifest.output
        assert isinstance(inputs, TableInput)
        if not len(table.frame):
            answer = output.decode(np.zeros((1, 0, output.width)), self.interval)
            return predictions.columns(output, answer, self.as_text)
        return self.of_raw(model_rows(table, inputs, None).inputs)

    def of_raw(self, raw: RawColumns) -> dict[str, NDArray[Any]]:
        """Return the predictions of n raw rows by column, each (n,)."""
        answer = self.artefact.model.predict(raw, self.interval)
        output = self.artefact.manifest.output
        return predictions.columns(output, answer, self.as_text)


def is_folder(source: Source | str) -> bool:
    """Tell whether data are a folder or a glob."""
    address = str(source)
    return "://" not in address and (
        Path(address).is_dir() or bool(set(address) & set("*?["))
    )


def predict(scoring: Scoring, source: Source | str, out: Path) -> int:
    """Write the prediction of every row to one file; return the number of rows.

    Raises ConfigError if `out` is neither CSV nor Parquet or a column that is kept has
    the name of a prediction, and DataError for rows or an interval that do not fit the
    model.
    """
    require_table_file(out)
    scoring = replace(scoring, as_text=out.suffix == ".csv")
    predictions.require_distinct(scoring.keep, scoring.types)
    tables = read_tables(source)
    if tables is None:
        return _predict_arrays(scoring, source, out)
    schema, *_ = [scoring.schema(table) for table in tables]
    frames = (frame for table in tables for frame in scoring.frames(table, schema))
    with _claimed(out) as temporary:
        rows = _write(frames, schema, temporary)
        if not rows:
            raise DataError(f"{source}: expected rows, found only a header")
    return rows


def _predict_arrays(scoring: Scoring, source: Source | str, out: Path) -> int:
    import polars as pl

    if scoring.keep:
        raise ConfigError(f"--keep: {source} holds arrays, which have no columns")
    data = read_for(source, scoring.artefact.manifest.inputs, None)
    frame = pl.DataFrame(scoring.of_raw(data.inputs), scoring.types)
    with _claimed(out) as temporary:
        return _write(iter([frame]), scoring.types, temporary)


class FolderResult(NamedTuple):
    """The rows predicted, the files written, and those that were there already."""

    rows: int
    written: int
    left: int


def predict_folder(
    scoring: Scoring, source: Source | str, out: Path, say: Say
) -> FolderResult:
    """Write the predictions of each file to a file of the folder `out`.

    A result is left if the same model has written it since its file was last changed,
    or if another process is writing it. Raises ConfigError and DataError as `predict`,
    before the first file is written if one lacks a column.
    """
    predictions.require_distinct(scoring.keep, scoring.types)
    files = [file for file in read_tables(source) or () if isinstance(file, TableFile)]
    if not files:
        raise ConfigError(
            f"--out {out}: expected a .csv or .parquet file, since {source} is no "
            "folder of tables"
        )
    results = _results(files, out)
    todo = {
        file: scoring.schema(file)
        for file in files
        if not _is_done(scoring, file, results[file])
    }
    rows = written = 0
    for file, schema in todo.items():
        result = results[file]
        result.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _claimed(result) as temporary:
                frames = scoring.frames(file, schema)
                found = _write(frames, schema, temporary, scoring.metadata)
        except BlockingIOError:
            say(f"{result}: another process is writing it")
            continue
        say(f"{result}: {found:,} rows")
        rows, written = rows + found, written + 1
    return FolderResult(rows, written, len(files) - written)


def _results(files: Sequence[TableFile], out: Path) -> dict[TableFile, Path]:
    """Return the result of each file; ConfigError if it would replace another file."""
    results: dict[TableFile, Path] = {}
    taken = {file.path.resolve(): file.path for file in files}
    for file in files:
        name = file.below.name
        endings = [end for end in CSV + PARQUET if name.lower().endswith(end)]
        stem = name[: -max(map(len, endings))]
        result = out / file.below.with_name(f"{stem}.parquet")
        if other := taken.get(result.resolve()):
            raise ConfigError(
                f"--out {out}: the predictions of {file.path} would be in {result}, "
                f"which is for {other}: name another folder"
            )
        taken[result.resolve()] = file.path
        results[file] = result
    return results


def _is_done(scoring: Scoring, file: TableFile, result: Path) -> bool:
    """Tell whether a result is of this model, and not older than its file."""
    import polars as pl

    try:
        if result.stat().st_mtime_ns < file.path.stat().st_mtime_ns:
            return False
        return pl.read_parquet_metadata(result).get(KEY) == scoring.metadata
    except (OSError, pl.exceptions.PolarsError):
        return False


@contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """Give a name to write to, and rename it to `out` at the end, unless that fails.

    Raises BlockingIOError if another process has claimed it; its end frees the claim.
    """
    temporary = out.with_name(f".{out.name}.part")
    with temporary.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield temporary
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _write(
    frames: Iterator[pl.DataFrame],
    schema: dict[str, pl.DataType],
    out: Path,
    metadata: str = "",
) -> int:
    """Write frames as CSV or, with `out` for Parquet, in groups; return the rows."""
    from polars.io.plugins import register_io_source

    rows = 0

    def counted(*pushed_down: object) -> Iterator[pl.DataFrame]:
        nonlocal rows
        for frame in frames:
            rows += len(frame)
            yield frame

    lazy = register_io_source(counted, schema=schema)
    if out.name.endswith(".csv.part"):
        lazy.sink_csv(out, engine="streaming")
    else:
        lazy.sink_parquet(
            out,
            row_group_size=GROUP,
            metadata={KEY: metadata},
            sync_on_close="all",
            engine="streaming",
        )
    return rows

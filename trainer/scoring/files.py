"""Predicts the rows of files, in batches: memory does not grow with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, DataError, GlassnetError, nearest
from models.features.inputs import RawColumns
from models.features.table import TableInput
from models.storage.artefact import Artefact
from trainer.data import Source, local_files, read_for, read_tables
from trainer.data.batches import Tables
from trainer.data.model_rows import model_rows
from trainer.data.results import appearing
from trainer.data.table import Table
from trainer.inspection.batch_inference import inert, require_table_file
from trainer.scoring import predictions

if TYPE_CHECKING:
    import polars as pl

#: The entry of a result's metadata that names the model and the settings.
KEY = "glassnet"
#: Rows of a group in a Parquet file.
GROUP = 1 << 17


@dataclass(frozen=True)
class Scoring:
    """A model, the columns to carry along, and the level of an interval.

    With `as_text`, as for CSV, classes are text that a spreadsheet does not take for
    a formula.
    """

    artefact: Artefact
    keep: tuple[str, ...] = ()
    interval: float | None = None
    as_text: bool = False

    @property
    def metadata(self) -> str:
        """The model and options that a result depends on, besides its rows."""
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


def predict(scoring: Scoring, source: Source | str, out: Path | str) -> int:
    """Write the prediction of every row to one file; return the number of rows.

    Raises ConfigError if `out` is neither CSV nor Parquet or a column that is kept has
    the name of a prediction, and DataError for rows or an interval that do not fit the
    model.
    """
    require_table_file(out)
    scoring = replace(scoring, as_text=str(out).endswith(".csv"))
    predictions.require_distinct(scoring.keep, scoring.types)
    with local_files(source) as local:
        tables = read_tables(local)
        if tables is None:
            return _predict_arrays(scoring, local, out)
        schema, *_ = [scoring.schema(table) for table in tables]
        frames = (frame for table in tables for frame in scoring.frames(table, schema))
        with appearing(out) as temporary:
            rows = write(frames, schema, temporary)
            if not rows:
                raise DataError(f"{source}: expected rows, found only a header")
        return rows


def _predict_arrays(scoring: Scoring, source: Source | str, out: Path | str) -> int:
    import polars as pl

    if scoring.keep:
        raise ConfigError(f"--keep: {source} holds arrays, which have no columns")
    data = read_for(source, scoring.artefact.manifest.inputs, None)
    frame = pl.DataFrame(scoring.of_raw(data.inputs), scoring.types)
    with appearing(out) as temporary:
        return write(iter([frame]), scoring.types, temporary)


def write(
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

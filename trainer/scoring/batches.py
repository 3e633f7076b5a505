"""Predicts batches of another engine: Spark, Ray Data, Dask, DuckDB (docs/scale.md).

A batch is whatever hands over its columns by the Arrow C interface: a record batch or
table of pyarrow, a frame of pandas or polars, a relation of DuckDB. What comes back is
of the same library if it is pyarrow or pandas, else a frame of polars, which hands
over its columns in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from models.storage.factory import open_store
from trainer.config import environment
from trainer.config.environment import SIGNING_KEY_FILE
from trainer.data.batches import WholeTable
from trainer.data.table import typed, whole
from trainer.inspection.listing import resolve
from trainer.scoring import predictions
from trainer.scoring.files import Scoring


@dataclass(frozen=True)
class BatchScorer:
    """Predicts batches by one version of a model: what `score_batches` returns.

    It holds addresses alone, so that an engine can send it to other processes; each of
    them loads the model once.
    """

    store: str
    name: str
    version: int
    keep: tuple[str, ...] = ()
    interval: float | None = None

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield a batch of predictions for each batch; raise as `batch`."""
        return map(self.batch, batches)

    def batch(self, batch: Any) -> Any:
        """Return the columns to keep and the predictions, row for row.

        Raises DataError if a column is missing or a value does not fit, InvalidInput
        for an interval that the model does not have, and what a store raises if it has
        no such version.
        """
        import polars as pl

        frame = pl.DataFrame(batch)
        scoring = self.scoring()
        table = WholeTable(whole("a batch", typed(frame)))
        scoring.schema(table)
        found = scoring.predictions(table.table)
        library = type(batch).__module__.partition(".")[0]
        if library == "pyarrow":
            kept = {name: batch.column(name) for name in self.keep}
            return type(batch).from_pydict({**kept, **found})
        if library == "pandas":
            kept = {name: batch[name] for name in self.keep}
            return type(batch)({**kept, **found}, index=batch.index)
        return pl.DataFrame({**{name: frame[name] for name in self.keep}, **found})

    def scoring(self) -> Scoring:
        """Return the model, which is loaded once a process; raises as `batch`."""
        return _scoring(self.store, self.name, self.version, self.keep, self.interval)


@lru_cache(maxsize=4)
def _scoring(
    store: str, name: str, version: int, keep: tuple[str, ...], interval: float | None
) -> Scoring:
    """Load a model, once a process."""
    artefact = _open(store).load(name, version)
    scoring = Scoring(artefact, keep, interval)
    predictions.require_distinct(keep, scoring.types)
    return scoring


def score_batches(
    store: str, model: str, keep: Sequence[str] = (), interval: float | None = None
) -> BatchScorer:
    """Return a function from batches of rows to batches of predictions.

    `store` is the address of a store, and `model` a name, NAME@VERSION or NAME:LABEL,
    which is resolved now, so that all batches get the same version. The columns `keep`
    come first in each batch of predictions.

    Raises NotFound if there is no such model or version.
    """
    name, version = resolve(_open(store), model)
    return BatchScorer(store, name, version, tuple(keep), interval)


def _open(store: str) -> Any:
    return open_store(store, environment.read(SIGNING_KEY_FILE))

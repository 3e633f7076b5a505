"""Batches of other engines, over the Arrow C interface."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.errors import DataError, VersionNotFound
from models.storage.directory import DirectoryStore as Store
from trainer.data import read_for
from trainer.scoring import score_batches


class Exported:
    """Columns that can only be taken over the Arrow C interface."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(schema)


def test_batches_are_predicted_row_for_row(published: Path, store: Store) -> None:
    score = score_batches(str(store.root), "churn", keep=["since"])
    score = pickle.loads(pickle.dumps(score))  # as an engine sends it
    frame = pl.read_csv(published / "churn.csv", try_parse_dates=True)
    parts = [Exported(frame[:50]), Exported(frame[50:])]
    found = pl.concat(score(parts))
    assert found.columns == ["since", "prediction", "p_no", "p_yes"]
    assert found["since"].equals(frame["since"])
    artefact = store.load("churn", 1)
    data = read_for(str(published / "churn.csv"), artefact.manifest.inputs, None)
    answer = artefact.model.predict(data.inputs)
    assert found["prediction"].to_list() == answer["label"].tolist()
    none = score.batch(frame[:0])
    assert none.schema == found.schema and not len(none)


def test_a_batch_that_does_not_fit_is_told(
    published: Path, store: Store, table: Callable[..., Any]
) -> None:
    score = score_batches(str(store.root), "churn@1")
    rows = pl.DataFrame(table(5))
    with pytest.raises(DataError, match="a batch: column 'colour' is missing"):
        score.batch(rows.drop("colour"))
    with pytest.raises(DataError, match="column 'size', row 2: expected a finite num"):
        score.batch(rows.with_columns(size=pl.Series(["1", "x", "2", "3", "4"])))
    with pytest.raises(VersionNotFound):
        score_batches(str(store.root), "churn@7")

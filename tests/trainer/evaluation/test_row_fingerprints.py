"""Rows are found again by their hashes, and told from those of another target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.errors import ArtefactCorrupt
from models.features.predictions import Classification, Regression
from models.features.table import TableInput, fit_column
from trainer.evaluation import row_fingerprints
from trainer.evaluation.row_fingerprints import changed_targets, unchanged_rows
from trainer.preparation.prepare import Part

OUTPUT = Classification(("no", "yes"))
X = np.arange(100.0)
WORDS = [f"w{i % 7}" for i in range(100)]
CODES = np.arange(100) % 2


def inputs(**columns: Any) -> TableInput:
    return TableInput(
        tuple(
            fit_column(
                name,
                "numeric" if isinstance(values, np.ndarray) else "categorical",
                values,
            )
            for name, values in columns.items()
        )
    )


TABLE = inputs(x=X, word=WORDS)


def some(rows: Any, target: Any = CODES, **more: Any) -> Part:
    words = [WORDS[i] for i in rows]
    return Part({"word": words, "x": X[rows], **more}, np.asarray(target)[rows])


def test_rows_are_found_among_others_in_another_order() -> None:
    then = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    order = np.random.default_rng(0).permutation(100)
    now = row_fingerprints.fingerprint_rows(some(order), TABLE, OUTPUT)
    np.testing.assert_array_equal(unchanged_rows(now, then), order < 40)
    assert not changed_targets(now, then).any()


def test_a_row_of_another_target_is_told() -> None:
    then = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    turned = np.where(np.arange(100) < 10, 1 - CODES, CODES)
    now = row_fingerprints.fingerprint_rows(some(np.arange(100), turned), TABLE, OUTPUT)
    rows = np.arange(100)
    np.testing.assert_array_equal(changed_targets(now, then), rows < 10)
    np.testing.assert_array_equal(unchanged_rows(now, then), (rows >= 10) & (rows < 40))


def test_a_class_is_what_it_is_called_whatever_its_number() -> None:
    then = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    other = Classification(("also", "no", "yes"))
    now = row_fingerprints.fingerprint_rows(
        some(np.arange(40), CODES + 1), TABLE, other
    )
    assert unchanged_rows(now, then).all()


def test_a_column_that_the_model_has_not_says_nothing() -> None:
    then = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    now = row_fingerprints.fingerprint_rows(
        some(np.arange(40), also=np.ones(40)), TABLE, OUTPUT
    )
    np.testing.assert_array_equal(now, then)


def test_values_and_arrays_are_marked_too() -> None:
    part = Part(X.reshape(50, 2), X[:50] / 3)
    found = row_fingerprints.fingerprint_rows(part, TABLE, Regression(0.0, 1.0))
    assert len(np.unique(found, axis=0)) == 50
    moved = Part(part.raw, part.target + 1e-9)
    now = row_fingerprints.fingerprint_rows(moved, TABLE, Regression(0.0, 1.0))
    assert changed_targets(now, found).all()


def test_equal_rows_are_told_apart_by_their_turn() -> None:
    alike = Part({"x": np.zeros(4)}, np.zeros(4, int), occurrence=np.arange(4.0))
    found = row_fingerprints.fingerprint_rows(alike, inputs(x=X), OUTPUT)
    assert len(np.unique(found[:, 0])) == 4


def test_marks_are_written_and_read() -> None:
    found = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    read = row_fingerprints.load(row_fingerprints.dump(found), "store/m/1/rows.npy")
    np.testing.assert_array_equal(read, np.unique(found, axis=0))


def test_of_many_rows_a_sample_is_kept_that_is_always_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_fingerprints, "MAX_ROWS", 10)
    found = row_fingerprints.fingerprint_rows(some(np.arange(100)), TABLE, OUTPUT)
    content = row_fingerprints.dump(found)
    kept = row_fingerprints.load(content, "store/m/1/rows.npy")
    assert len(kept) == 10
    assert row_fingerprints.dump(found[::-1]) == content
    # More rows drive none out that another sample would have kept.
    assert kept[:, 0].max() < np.delete(found[:, 0], found[:, 0].argsort()[:10]).min()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: b"",
        lambda content: b"not an array at all",
        lambda content: content.replace(b"<f8", b"<i8"),
    ],
)
def test_damage_is_told(damage: Callable[[bytes], bytes]) -> None:
    found = row_fingerprints.fingerprint_rows(some(np.arange(40)), TABLE, OUTPUT)
    content = damage(row_fingerprints.dump(found))
    with pytest.raises(ArtefactCorrupt, match=r"store/m/1/rows\.npy"):
        row_fingerprints.load(content, "store/m/1/rows.npy")

"""How far other rows are from those that train, and what the two share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.checks.dataset_shift import (
    Shift,
    evaluation_sets,
    psi,
    shared_groups,
    shifts,
)
from trainer.config import loading
from trainer.data import read
from trainer.preparation.prepare import Prepared, prepare

bounded = settings(deadline=None, max_examples=100)
WriteCsv = Callable[..., Path]


def psis(found: Iterable[Shift]) -> dict[str, float]:
    return {shift.name: shift.psi for shift in found if shift.psi is not None}


def ready(data: Path, *assignments: str, valid: Path | None = None) -> Prepared:
    given = loading.load(None, assignments, {})
    source = None if valid is None else str(valid)
    rows = read(str(data), "y", given)
    return prepare(rows, None, source, given, lambda said: None)


def rows(n: int, seed: int, shift: float = 0.0) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n).round(4)
    return {
        "x": x.tolist(),
        "z": rng.normal(size=n).round(4).tolist(),
        "c": rng.choice(
            ["a", "b"], n, p=[0.5, 0.5] if not shift else [0.9, 0.1]
        ).tolist(),
        "g": [f"g{i}" for i in rng.integers(0, 300, n)],
        "t": list(range(n)),
        "y": np.where(x + rng.normal(size=n) > 0, "up", "down").tolist(),
    }


# The index.


def test_psi_of_shares_is_its_formula() -> None:
    ours = ["a"] * 5000 + ["b"] * 3000 + [None] * 2000
    theirs = ["a"] * 2000 + ["b"] * 3000 + [None] * 4000 + ["new"] * 1000
    p, q = np.array([5, 3, 2, 1e-4]), np.array([2, 3, 4, 1])
    found = psi(ours, theirs)
    # A category never seen has half a row of ten thousand.
    p, q = p / p.sum(), q / q.sum()
    p[3] = 0.5 / 10_002
    assert found == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=0.01)


def test_psi_of_bins_is_its_formula() -> None:
    ours = np.arange(10_000.0)
    # Ten bins of a thousand; the upper half once more.
    theirs = np.concatenate([np.arange(10_000.0), np.arange(5_000.0, 10_000.0)])
    p, q = np.full(10, 0.1), np.repeat([1 / 15, 2 / 15], 5)
    expected = float(((p - q) * np.log(p / q)).sum())
    assert psi(ours, theirs) == pytest.approx(expected, rel=0.01)


@bounded
@given(st.integers(0, 2**32), st.sampled_from([1.0, 1e6, 1e-9]))
def test_the_same_rows_have_not_moved(seed: int, scale: float) -> None:
    ours = np.random.default_rng(seed).normal(0, scale, 2000)
    ours[:100] = np.nan
    assert psi(ours, ours) == 0.0
    words = [f"{abs(x / scale):.0f}" for x in ours]
    assert psi(words, words) == 0.0


@pytest.mark.parametrize("n", [2_000, 20_000])
def test_chance_moves_little(n: int) -> None:
    rng = np.random.default_rng(1)
    found = [psi(rng.normal(size=n), rng.normal(size=n // 5)) for _ in range(50)]
    assert all(value is not None and value < 0.1 for value in found)


def test_too_few_rows_cannot_tell() -> None:
    rng = np.random.default_rng(2)
    many = rng.normal(size=10_000)
    assert psi(many, rng.normal(size=50)) is None
    assert psi(many[:50], many) is None
    assert psi(many, many[:0]) is None
    # Of fewer bins fewer rows can tell.
    two = (many > 0) * 1.0
    assert psi(two, two[:50]) is not None


@pytest.mark.parametrize("other", [np.full(500, np.nan), np.full(500, 1e300)])
def test_what_is_gone_or_far_has_moved_far(other: Any) -> None:
    found = psi(np.random.default_rng(3).normal(size=5000), other)
    assert found is not None and found > 2 and math.isfinite(found)


# Which rows are compared.


def test_rows_divided_by_content_are_not_compared(write_csv: WriteCsv) -> None:
    assert list(evaluation_sets(ready(write_csv(rows(600, 0))))) == []


@pytest.mark.parametrize(
    ("given", "name", "may_differ", "size"),
    [
        ("data.time=t", "the latest rows", True, 60),
        ("data.group=g", "the held-out rows", False, None),
    ],
)
def test_held_out_rows_are_compared(
    given: str, name: str, may_differ: bool, size: int | None, write_csv: WriteCsv
) -> None:
    prepared = ready(write_csv(rows(600, 0)), given)
    (other,) = evaluation_sets(prepared)
    assert (other.name, other.may_differ) == (name, may_differ)
    test = prepared.splits[0].test
    assert len(other.part) == len(test) == (size or len(test))
    # Without any, those that choose the epoch.
    prepared = ready(write_csv(rows(600, 0)), given, "data.test_fraction=0")
    (other,) = evaluation_sets(prepared)
    assert len(other.part) == len(prepared.splits[0].validation)


def test_ones_own_rows_are_compared_first(write_csv: WriteCsv) -> None:
    valid = write_csv(rows(300, 1), "valid.csv")
    prepared = ready(write_csv(rows(600, 0)), "data.time=t", valid=valid)
    names = [other.name for other in evaluation_sets(prepared)]
    assert names == ["the validation rows given", "the latest rows"]
    assert next(evaluation_sets(prepared)).part is prepared.user_validation


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_columns_and_target_that_moved_are_found(
    shift: float, write_csv: WriteCsv
) -> None:
    valid = write_csv(rows(800, 1, shift), "valid.csv")
    kept = "data.columns.t.kind=numeric"
    prepared = ready(write_csv(rows(4000, 0)), kept, valid=valid)
    found = psis(shifts(prepared, next(evaluation_sets(prepared))))
    del found["g"], found["t"]
    assert set(found) == {"x", "z", "c", "y"}
    assert found["z"] < 0.1
    for name in ("x", "c", "y"):
        assert (found[name] > 0.25) == (shift > 0)


def test_a_number_that_is_learnt_can_move(write_csv: WriteCsv) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=4000), rng.normal(size=4000) + np.arange(4000) / 1000
    data = write_csv({"x": x.round(3), "t": range(4000), "y": y.round(3)})
    prepared = ready(data, "data.time=t")
    found = psis(shifts(prepared, next(evaluation_sets(prepared))))
    assert found["x"] < 0.1 and found["y"] > 1


def test_images_have_a_mean_that_moves(tmp_path: Path) -> None:
    X = np.random.default_rng(5).uniform(0, 1, (900, 4, 4))
    paths = [tmp_path / "train.npz", tmp_path / "valid.npz"]
    np.savez(paths[0], X=X[:600], y=np.arange(600) % 2)
    for scale in (1.0, 255.0):
        np.savez(paths[1], X=X[600:] * scale, y=np.arange(300) % 2)
        prepared = ready(paths[0], valid=paths[1])
        found = psis(shifts(prepared, next(evaluation_sets(prepared))))
        assert set(found) == {"mean of x", "y"}
        assert (found["mean of x"] > 0.25) == (scale > 1)


# Groups.


def test_groups_on_both_sides_are_counted(write_csv: WriteCsv) -> None:
    train = rows(600, 0)
    valid = {k: v[:5] for k, v in rows(600, 1).items()}
    valid["g"] = [*train["g"][:2], "new", "other", "new"]
    paths = write_csv(train), write_csv(valid, "valid.csv")
    prepared = ready(paths[0], "data.group=g", "data.test_fraction=0", valid=paths[1])
    (other,) = evaluation_sets(prepared)
    assert shared_groups(prepared, other) == (2, 4)
    prepared = ready(paths[0], "data.group=g")
    (other,) = evaluation_sets(prepared)
    assert shared_groups(prepared, other)[0] == 0 < shared_groups(prepared, other)[1]
    prepared = ready(paths[0], valid=paths[1])
    assert shared_groups(prepared, next(evaluation_sets(prepared))) == (0, 0)

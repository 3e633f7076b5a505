"""Rows divided, columns encoded, targets coded; everything left out is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.columns import CategoricalColumn, NumericColumn
from models.errors import ConfigError, DataError
from models.output import Classification, Regression
from models.table import TableInput
from models.tensor import TensorInput
from trainer.config import Config
from trainer.data import Dataset, read
from trainer.data.splits import random_split
from trainer.preparation import Prepared, prepare

Prepare = Callable[..., tuple[Prepared, list[str]]]


@pytest.fixture
def ready(configured: Callable[..., Config]) -> Prepare:
    """Prepare data; return what came of it and what was said."""

    def run(
        data: Dataset,
        *assignments: str,
        task: Any = None,
        validation: str | None = None,
        seed: int = 0,
    ) -> tuple[Prepared, list[str]]:
        said: list[str] = []
        rng = np.random.default_rng(seed)
        config = configured(*assignments)
        return prepare(data, task, validation, config, rng, said.append), said

    return run


def column(values: Any, target: Any, kind: str = "numeric") -> Dataset:
    return Dataset({"x": values}, {"x": kind}, "y", list(target))


def numbers(n: int = 200) -> Dataset:
    """Row i holds i, so that rows can be told apart."""
    return column(np.arange(float(n)), np.arange(n) % 3)


def ids(part: Any) -> list[int]:
    return [int(x) for x in part.raw["x"]]


def test_rows_are_divided_as_the_split_says(ready: Prepare) -> None:
    found, _ = ready(numbers(), seed=4)
    _, strata = np.unique(np.arange(200) % 3, return_inverse=True)
    expected = random_split(200, 0.15, 0.15, np.random.default_rng(4), strata)
    assert ids(found.train) == expected.train.tolist()
    assert ids(found.validation) == expected.validation.tolist()
    assert ids(found.test) == expected.test.tolist()


def test_targets_stay_with_their_rows(ready: Prepare) -> None:
    found, _ = ready(numbers())
    for part in (found.train, found.validation, found.test):
        assert part is not None
        assert part.target.tolist() == [i % 3 for i in ids(part)]


def test_classes_are_divided_alike(ready: Prepare) -> None:
    labels = ["rare"] * 20 + ["common"] * 180
    found, _ = ready(column(np.arange(200.0), labels))
    for part in (found.validation, found.test):
        assert part is not None
        assert Counter(part.target.tolist()) == {0: 27, 1: 3}


@pytest.mark.parametrize(
    ("assignments", "sizes", "where"),
    [
        ((), (140, 30, 30), "held-out rows"),
        (("data.test_fraction=0",), (170, 30, 0), "validation rows"),
        (("data.validation_fraction=0",), (170, 0, 30), "held-out rows"),
        (
            ("data.test_fraction=0", "data.validation_fraction=0"),
            (200, 0, 0),
            "training rows",
        ),
        (
            ("data.test_fraction=0.25", "data.validation_fraction=0.5"),
            (50, 100, 50),
            "held-out rows",
        ),
    ],
)
def test_fractions_decide_the_parts_and_what_is_measured(
    assignments: tuple[str, ...], sizes: tuple[int, ...], where: str, ready: Prepare
) -> None:
    found, _ = ready(numbers(), *assignments)
    parts = (found.train, found.validation, found.test)
    assert tuple(0 if part is None else len(part) for part in parts) == pytest.approx(
        sizes, abs=1
    )
    measured, name = found.measured
    assert name == where
    assert measured is next(p for p in reversed(parts) if p is not None)


def test_few_rows_all_train(ready: Prepare) -> None:
    found, said = ready(numbers(39))
    assert (len(found.train), found.validation, found.test) == (39, None, None)
    assert any("39 rows are too few" in sentence for sentence in said)


@pytest.mark.parametrize(
    "assignments",
    [
        ("data.test_fraction=0.5", "data.validation_fraction=0.5"),
        ("data.test_fraction=0.9",),
    ],
)
def test_fractions_that_leave_nothing_are_wrong_usage(
    assignments: tuple[str, ...], ready: Prepare
) -> None:
    with pytest.raises(ConfigError, match="leave no rows"):
        ready(numbers(), *assignments)


def test_rows_without_a_target_are_left_out_and_said(ready: Prepare) -> None:
    target = [None if i % 4 == 0 else i % 3 for i in range(200)]
    found, said = ready(column(np.arange(200.0), target))
    assert "50 rows have no target and are left out" in said
    parts = (found.train, found.validation, found.test)
    held = sorted(i for part in parts for i in ids(part))
    assert held == [i for i in range(200) if i % 4]
    assert len(found.data) == 150


def test_a_target_without_any_value_is_told(ready: Prepare) -> None:
    with pytest.raises(DataError, match="target 'y' has no value in any row"):
        ready(column(np.arange(4.0), [None] * 4))


def several(n: int = 100) -> Dataset:
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {
        "x": rng.normal(size=n),
        "same": np.full(n, 7.0),
        "gone": np.full(n, np.nan),
        "word": ["a"] * n,
        "many": [f"m{i}" for i in range(n)],
    }
    kinds = dict.fromkeys(inputs, "numeric")
    kinds |= {"word": "categorical", "many": "categorical"}
    return Dataset(inputs, kinds, "y", (rng.random(n) > 0.5).tolist())


def test_columns_that_say_nothing_survive_and_are_said(ready: Prepare) -> None:
    found, said = ready(several())
    assert isinstance(found.inputs, TableInput)
    assert [c.name for c in found.inputs.columns] == [
        "x",
        "same",
        "gone",
        "word",
        "many",
    ]
    for name in ("same", "gone", "word"):
        note = f"column '{name}' does not vary in the training rows and is not used"
        assert note in said
    assert not any("'x'" in sentence for sentence in said)


def test_rare_values_are_said(ready: Prepare) -> None:
    _, said = ready(several(500))
    assert "column 'many': 250 rare values are encoded as unknown" in said


def test_nothing_that_varies_is_told(ready: Prepare) -> None:
    with pytest.raises(DataError, match="no column varies"):
        ready(column(np.full(60, 7.0), [0, 1] * 30))


def test_the_encoder_learns_from_training_rows_only(ready: Prepare) -> None:
    data = numbers()
    found, _ = ready(data)
    assert isinstance(found.inputs, TableInput)
    x = found.inputs.columns[0]
    assert isinstance(x, NumericColumn)
    train = np.array(ids(found.train), float)
    assert (x.minimum, x.maximum) == (train.min(), train.max())
    assert x.scaling.center == np.median(train)
    words = column([f"w{i}" for i in range(90)], [0, 1] * 45, "categorical")
    found, _ = ready(words)
    assert isinstance(found.inputs, TableInput)
    (word,) = found.inputs.columns
    assert isinstance(word, CategoricalColumn)
    assert set(word.categories) == set(found.train.raw["x"])


def test_the_target_is_scaled_by_training_rows_only(ready: Prepare) -> None:
    data = column(np.arange(200.0), np.arange(200) ** 2 * 1.0)
    found, _ = ready(data)
    assert isinstance(found.output, Regression)
    train = np.array(ids(found.train)) ** 2
    assert found.output.mean == pytest.approx(train.mean())
    assert found.output.std == pytest.approx(train.std())
    rows = found.rows(found.train)
    assert rows.T.mean() == pytest.approx(0, abs=1e-5)
    assert rows.T.std() == pytest.approx(1, rel=1e-5)


def test_rows_are_what_the_network_takes(ready: Prepare) -> None:
    found, _ = ready(numbers())
    rows = found.rows(found.train)
    assert rows.X.dtype == np.float32
    assert rows.X.shape == (len(found.train), found.inputs.width)
    assert rows.T.tolist() == [i % 3 for i in ids(found.train)]
    assert rows.weights is None


def test_arrays_are_prepared_too(ready: Prepare) -> None:
    found, _ = ready(read("builtin:digits", None))
    assert isinstance(found.inputs, TensorInput)
    assert found.inputs.shape == (8, 8)
    assert isinstance(found.output, Classification)
    assert found.output.classes == tuple(range(10))


def test_a_task_that_is_asked_for_is_taken(ready: Prepare) -> None:
    found, said = ready(numbers(), task="regression")
    assert found.task == "regression"
    assert said[0] == "task regression: as asked"
    assert ready(numbers())[0].task == "multiclass"


def test_every_choice_is_said_and_kept(ready: Prepare) -> None:
    found, said = ready(numbers())
    assert list(found.reasons) == said
    assert said[0].startswith("task multiclass: ")
    assert None not in (found.config.train.epochs, found.config.network.hidden)


# Rows of the user's own for validation.


@pytest.fixture
def own(write_csv: Callable[..., Path]) -> Callable[..., str]:
    def write(x: Any, y: Any) -> str:
        return str(write_csv({"y": y, "x": x, "extra": ["?"] * len(x)}, "valid.csv"))

    return write


def test_validation_rows_of_ones_own_choose_the_epoch(
    ready: Prepare, own: Callable[..., str]
) -> None:
    valid = own([500, 501, 502, 503], [2, 1, "", 0])
    found, said = ready(numbers(), validation=valid)
    assert ids(found.validation) == [500, 501, 503]
    assert found.validation is not None
    assert found.validation.target.tolist() == [2, 1, 0]
    assert sorted(ids(found.train) + ids(found.test)) == list(range(200))
    assert "the validation rows given choose the epoch" in said


def test_few_rows_may_have_validation_rows_of_their_own(
    ready: Prepare, own: Callable[..., str]
) -> None:
    found, _ = ready(numbers(20), validation=own([500, 501], [0, 1]))
    assert (len(found.train), found.test) == (20, None)
    assert found.measured == (found.validation, "validation rows")


def test_two_ways_to_choose_the_epoch_are_wrong_usage(
    ready: Prepare, own: Callable[..., str]
) -> None:
    valid = own([500, 501], [0, 1])
    with pytest.raises(ConfigError, match=r"--valid .* data\.validation_fraction"):
        ready(numbers(), "data.validation_fraction=0.2", validation=valid)
    found, _ = ready(numbers(), "data.validation_fraction=0", validation=valid)
    assert ids(found.validation) == [500, 501]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2], [0, 7], "there is no class 7"),
        ([1, 2], ["", ""], "target 'y' has no value in any row"),
        ([1, "many"], [0, 1], "column 'x', row 2: expected a number"),
    ],
)
def test_validation_rows_that_do_not_fit_are_told(
    x: Any, y: Any, expected: str, ready: Prepare, own: Callable[..., str]
) -> None:
    with pytest.raises(DataError) as caught:
        ready(numbers(), validation=own(x, y))
    assert expected in str(caught.value)


def test_validation_arrays_without_labels_are_told(
    ready: Prepare, tmp_path: Path
) -> None:
    path = tmp_path / "valid.npz"
    np.savez(path, X=np.zeros((3, 8, 8)))
    with pytest.raises(DataError, match="expected arrays 'X' and 'y'"):
        ready(read("builtin:digits", None), validation=str(path))

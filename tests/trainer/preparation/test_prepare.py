"""Rows divided, columns encoded, targets coded; everything left out is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError, DataError
from models.features.columns import CategoricalColumn, NumericColumn
from models.features.predictions import Classification, Regression
from models.features.table import TableInput
from models.features.tensor import TensorInput
from trainer.config.schema import Config
from trainer.data import Dataset, read
from trainer.data.row_hashing import hash_rows, limit_for_tests, rotating_splits
from trainer.preparation.prepare import Part, Prepared, prepare

Prepare = Callable[..., tuple[Prepared, list[str]]]
#: One network, as the simpler half of the promises has it.
ONE = ("ensemble.members=1",)
FIVE = ("ensemble.members=5",)


@pytest.fixture
def ready(configured: Callable[..., Config]) -> Prepare:
    """Prepare data; return what came of it and what was said."""

    def run(
        data: Dataset,
        *assignments: str,
        task: Any = None,
        validation: str | None = None,
    ) -> tuple[Prepared, list[str]]:
        said: list[str] = []
        config = configured(*assignments)
        found = prepare(data, task, validation, config, said.append)
        return found, [*said, *found.reasons]

    return run


def column(values: Any, target: Any, kind: str = "numeric") -> Dataset:
    return Dataset({"x": values}, {"x": kind}, "y", list(target))


def numbers(n: int = 200) -> Dataset:
    """Row i holds i, so that rows can be told apart."""
    return column(np.arange(float(n)), np.arange(n) % 3)


def ids(part: Any) -> list[int]:
    return [int(x) for x in part.raw["x"]]


def parts(found: Prepared, member: int = 0) -> tuple[Part, Part | None, Part | None]:
    """Return what a member trains on, chooses its epoch by, and is measured on."""
    split = found.splits[member]
    test = found.part(split.test) if len(split.test) else None
    return found.part(split.train), found.validation(split), test


@pytest.mark.parametrize("members", [1, 5])
def test_rows_are_divided_by_their_places(members: int, ready: Prepare) -> None:
    found, _ = ready(numbers(), f"ensemble.members={members}")
    share = 0.15
    where = hash_rows({"x": np.arange(200.0)})
    limit = limit_for_tests(where, 0.2)
    expected = rotating_splits(where, members, share / 0.8, limit)
    assert len(found.splits) == members
    for number, split in enumerate(expected):
        held = [[] if part is None else ids(part) for part in parts(found, number)]
        assert held == [rows.tolist() for rows in split]
        assert all(held)


@pytest.mark.parametrize("members", [1, 5])
def test_neither_seed_nor_order_moves_a_row(members: int, ready: Prepare) -> None:
    order = np.random.default_rng(1).permutation(200)
    data = column(order.astype(float), order % 3)
    one, _ = ready(numbers(), f"ensemble.members={members}")
    other, _ = ready(data, f"ensemble.members={members}")
    for number in range(members):
        for mine, its in zip(parts(one, number), parts(other, number), strict=True):
            assert sorted(ids(mine)) == sorted(ids(its))


@pytest.mark.parametrize("members", [1, 5])
def test_equal_rows_are_never_on_both_sides(members: int, ready: Prepare) -> None:
    data = column(np.arange(300.0) // 2, np.arange(300) % 3)
    found, _ = ready(data, f"ensemble.members={members}")
    for number in range(members):
        sides = [set(ids(part)) for part in parts(found, number)]
        assert not sides[0] & sides[1] and not sides[2] & (sides[0] | sides[1])


ALIKE = {
    "one place holds nearly all": np.repeat([0.0, 1.0], [195, 5]),
    "two places": np.arange(200.0) % 2,
    "ninety places": np.arange(200.0) % 90,
    "many places, and one of most rows": np.maximum(np.arange(200.0) - 80, 0),
}


@pytest.mark.parametrize("alike", ALIKE)
def test_rows_too_alike_are_divided_by_chance(alike: str, ready: Prepare) -> None:
    # Else a window might hold none of the rows, or all that have a value.
    data = column(ALIKE[alike], np.arange(200) % 3)
    found, _ = ready(data, *ONE)
    (split,) = found.splits
    assert sorted(np.concatenate(split).tolist()) == list(range(200))
    assert len(split.train) > 90
    assert len(split.validation) > 10 and len(split.test) > 10
    found, _ = ready(data, *FIVE)
    assert len({tuple(split.test) for split in found.splits}) == 1


@pytest.mark.parametrize("members", [1, 5])
def test_a_table_of_two_words_can_be_learnt(members: int, ready: Prepare) -> None:
    words = column(["a", "b"] * 50, [0, 1] * 50, "categorical")
    found, _ = ready(words, f"ensemble.members={members}")
    for number in range(members):
        for part in parts(found, number):
            assert part is not None
            assert set(part.raw["x"]) == {"a", "b"}  # type: ignore[call-overload]


def test_targets_stay_with_their_rows(ready: Prepare) -> None:
    found, _ = ready(numbers(), *FIVE)
    for number in range(5):
        for part in parts(found, number):
            assert part is not None
            assert part.target.tolist() == [i % 3 for i in ids(part)]


@pytest.mark.parametrize(
    ("assignments", "sizes", "where"),
    [
        ((), (0.75, 0.15, 0.1), "held-out rows"),
        (("data.test_fraction=0",), (0.85, 0.15, 0), "validation rows"),
        (("data.validation_fraction=0",), (0.9, 0, 0.1), "held-out rows"),
        (
            ("data.test_fraction=0", "data.validation_fraction=0"),
            (1, 0, 0),
            "training rows",
        ),
        (
            ("data.test_fraction=0.25", "data.validation_fraction=0.5"),
            (0.25, 0.5, 0.25),
            "held-out rows",
        ),
    ],
)
def test_fractions_decide_the_parts_and_what_is_measured(
    assignments: tuple[str, ...], sizes: tuple[float, ...], where: str, ready: Prepare
) -> None:
    found, _ = ready(numbers(2000), *ONE, *assignments)
    held = parts(found)
    shares = [0 if part is None else len(part) / 2000 for part in held]
    # Binomial: five standard deviations; none where none is asked for.
    for share, size in zip(shares, sizes, strict=True):
        assert abs(share - size) <= 5 * (size * (1 - size) / 2000) ** 0.5
    measured, name, held_out = found.evaluation
    assert (name, held_out) == (where, where != "training rows")
    last = next(part for part in reversed(held) if part is not None)
    assert ids(measured) == ids(last)


@pytest.mark.parametrize(
    ("assignments", "place", "where"),
    [
        ((), 2, "held-out rows"),
        (("data.test_fraction=0",), 1, "validation rows"),
    ],
)
def test_all_members_are_measured_on_the_same_rows(
    assignments: tuple[str, ...], place: int, where: str, ready: Prepare
) -> None:
    found, _ = ready(numbers(), *FIVE, *assignments)
    measured, name, held_out = found.evaluation
    assert (name, held_out) == (where, True)
    for number in range(5):
        expected = parts(found, number)[place]
        assert expected is not None and ids(measured) == ids(expected)


def test_without_test_rows_there_are_others_to_measure(
    ready: Prepare, own: Callable[..., str]
) -> None:
    none = ("data.test_fraction=0", "data.validation_fraction=0")
    found, _ = ready(numbers(), *FIVE, *none)
    part, name, held_out = found.evaluation
    assert (ids(part), name) == (list(range(200)), "training rows")
    assert not held_out
    valid = own([500, 501], [2, 1])
    found, _ = ready(numbers(), *FIVE, none[0], validation=valid)
    part, name, _ = found.evaluation
    assert (ids(part), name) == ([500, 501], "validation rows")


def test_five_members_test_the_same_rows(ready: Prepare) -> None:
    found, _ = ready(numbers(500), "ensemble.members=5")
    assert len({tuple(split.test) for split in found.splits}) == 1
    assert len({tuple(split.validation) for split in found.splits}) == 5


def test_few_rows_all_train(ready: Prepare) -> None:
    found, said = ready(numbers(39))
    assert len(found.splits) == 1
    (train, validation, test) = parts(found)
    assert (len(train), validation, test) == (39, None, None)
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
    found, said = ready(column(np.arange(200.0), target), *FIVE)
    assert "rows left out, without a target: 50" in said
    for number in range(5):
        held = sorted(i for part in parts(found, number) for i in ids(part))
        assert held == [i for i in range(200) if i % 4]
    assert len(found.data) == 150


def test_a_target_without_any_value_is_told(ready: Prepare) -> None:
    with pytest.raises(DataError, match="target 'y' has no value in any row"):
        ready(column(np.arange(4.0), [None] * 4))


def several(n: int = 100) -> Dataset:
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.normal(size=n),
        "same": np.full(n, 7.0),
        "gone": np.full(n, np.nan),
        "word": ["a"] * n,
        "many": [f"m{i}" for i in range(n)],
    }
    kinds = dict.fromkeys(inputs, "numeric")
    kinds |= {"word": "categorical", "many": "categorical"}
    return Dataset(inputs, kinds, "y", (rng.random(n) > 0.5).tolist())


def test_columns_that_say_nothing_survive_and_are_not_used(ready: Prepare) -> None:
    found, said = ready(several())
    assert isinstance(found.inputs, TableInput)
    assert [c.name for c in found.inputs.columns] == [
        "x",
        "same",
        "gone",
        "word",
        "many",
    ]
    assert set(found.inputs.feature_names()) == {"x", "many"}
    assert not any("'x'" in sentence for sentence in said)


def test_rare_values_are_said(ready: Prepare) -> None:
    _, said = ready(several(1500))
    pattern = r"column 'many': \d+ rare values are encoded as unknown"
    assert any(re.fullmatch(pattern, sentence) for sentence in said)


def test_nothing_that_varies_is_told(ready: Prepare) -> None:
    with pytest.raises(DataError, match="no column varies"):
        ready(column(np.full(60, 7.0), [0, 1] * 30))


def test_the_encoder_learns_from_training_rows_only(ready: Prepare) -> None:
    found, _ = ready(numbers(), *ONE)
    assert isinstance(found.inputs, TableInput)
    x = found.inputs.columns[0]
    assert isinstance(x, NumericColumn)
    train = np.array(ids(parts(found)[0]), float)
    assert len(train) < 200
    assert (x.minimum, x.maximum) == (train.min(), train.max())
    assert x.scaling.center == np.median(train)
    words = column([f"w{i}" for i in range(90)], [0, 1] * 45, "categorical")
    found, _ = ready(words, *ONE)
    assert isinstance(found.inputs, TableInput)
    (word,) = found.inputs.columns
    assert isinstance(word, CategoricalColumn)
    assert set(word.categories) == set(parts(found)[0].raw["x"])  # type: ignore[call-overload]


def test_the_target_is_scaled_by_training_rows_only(ready: Prepare) -> None:
    data = column(np.arange(200.0), np.arange(200) ** 2 * 1.0)
    found, _ = ready(data, *ONE)
    assert isinstance(found.output, Regression)
    train = np.array(ids(parts(found)[0])) ** 2
    assert found.output.mean == pytest.approx(train.mean())
    assert found.output.std == pytest.approx(train.std())
    assert found.output.lowest == (train.min() - found.output.mean) / found.output.std
    assert found.output.highest == (train.max() - found.output.mean) / found.output.std
    rows = found.rows(parts(found)[0])
    assert rows.T.mean() == pytest.approx(0, abs=1e-5)
    assert rows.T.std() == pytest.approx(1, rel=1e-5)


def test_rows_are_what_the_network_takes(ready: Prepare) -> None:
    found, _ = ready(numbers())
    train, *_ = parts(found)
    rows = found.rows(train)
    assert rows.X.dtype == np.float32
    assert rows.X.shape == (len(train), found.inputs.width)
    assert rows.T.tolist() == [i % 3 for i in ids(train)]
    assert rows.weights is None


def test_arrays_are_prepared_too(ready: Prepare) -> None:
    found, _ = ready(read("builtin:digits", None))
    assert isinstance(found.inputs, TensorInput)
    assert found.inputs.shape == (8, 8)
    assert isinstance(found.output, Classification)
    assert found.output.classes == tuple(range(10))
    assert len(found.splits) == 1
    assert found.inputs.layout == (64, 0, ())


def test_a_task_that_is_asked_for_is_taken(ready: Prepare) -> None:
    found, said = ready(numbers(), task="regression")
    assert found.task == "regression"
    assert said[0] == "task regression: as given"
    assert ready(numbers())[0].task == "multiclass"


def test_every_choice_is_said_and_kept(ready: Prepare) -> None:
    found, said = ready(numbers())
    assert list(found.reasons) == said
    assert said[0].startswith("task multiclass: ")
    assert None not in (found.config.train.epochs, found.config.network.hidden)
    assert None not in (found.config.ensemble.members, found.config.train.schedule)


# Columns that are no inputs.


def roles(n: int = 200) -> Dataset:
    """Row i holds i, is of the group i % 120, of the moment -i and weighs i % 4."""
    inputs = {
        "x": np.arange(float(n)),
        "g": [f"g{i % 120}" for i in range(n)],
        "t": -np.arange(float(n)),
        "w": np.arange(n) % 4 * 1.0,
    }
    kinds = {"x": "numeric", "g": "categorical", "t": "numeric", "w": "numeric"}
    return Dataset(inputs, kinds, "y", [("no", "yes")[i % 5 == 0] for i in range(n)])


@pytest.mark.parametrize(
    ("setting", "name", "does"),
    [
        ("data.group=g", "g", "groups"),
        ("data.time=t", "t", "orders"),
        ("data.weight=w", "w", "weights"),
    ],
)
def test_a_column_aside_is_no_input_and_said(
    setting: str, name: str, does: str, ready: Prepare
) -> None:
    found, said = ready(roles(), setting)
    assert f"column '{name}' {does} the rows and is not an input of the model" in said
    assert isinstance(found.inputs, TableInput)
    assert set(found.inputs.by_name) == {"x", "g", "t", "w"} - {name}
    assert list(found.data.aside) == [name]
    train, *_ = parts(found)
    assert list(train.aside) == [name] and len(train.aside[name]) == len(train)


def test_rows_in_time_stay_in_time(ready: Prepare) -> None:
    found, said = ready(roles(), "data.time=t", "ensemble.members=5")
    assert "rows are split by 't': the latest are the test rows" in said
    for number in range(5):
        train, validation, test = (set(ids(part)) for part in parts(found, number))
        # The moment of row i is -i.
        assert min(train) > max(validation) > min(validation) > max(test)
        assert (len(validation), len(test)) == (30, 40)
    measured, where, _ = found.evaluation
    assert (sorted(ids(measured)), where) == (list(range(40)), "held-out rows")


def test_rows_keep_their_weights(ready: Prepare) -> None:
    found, said = ready(roles(), "data.weight=w", *FIVE)
    assert "rows left out, of weight 0: 50" in said
    for number in range(5):
        for part in parts(found, number):
            assert part is not None and part.weights is not None
            assert part.weights.tolist() == [i % 4 for i in ids(part)]
            rows = found.rows(part)
            assert rows.weights is not None
            expected = part.weights / part.weights.mean()
            np.testing.assert_allclose(rows.weights, expected, rtol=1e-6)
    every = [w for p in parts(found) if p is not None for w in p.weights.tolist()]  # type: ignore[union-attr]
    assert sorted(every) == sorted(i % 4 for i in range(200) if i % 4)


def test_classes_are_weighed_by_training_rows_alone(ready: Prepare) -> None:
    found, said = ready(roles(), "train.class_weights=balanced", *ONE)
    train, validation, _ = parts(found)
    counts = np.bincount(train.target)
    expected = len(train) / (2 * counts)
    assert found.class_weights is not None and validation is not None
    np.testing.assert_allclose(found.class_weights, expected)
    assert said[-1].startswith("class weights no 0.6")
    rows = found.rows(validation)
    by_class = expected[validation.target]
    np.testing.assert_allclose(rows.weights, by_class / by_class.mean(), rtol=1e-6)


def test_balanced_classes_count_what_rows_weigh(ready: Prepare) -> None:
    given = ("train.class_weights=balanced", "data.weight=w", *ONE)
    found, _ = ready(roles(), *given)
    train, *_ = parts(found)
    weights = found.rows(train).weights
    assert weights is not None
    sums = np.bincount(train.target, weights)
    assert sums[0] == pytest.approx(sums[1])


def test_a_row_without_a_target_may_lack_the_rest(ready: Prepare) -> None:
    data = roles()
    assert isinstance(data.inputs, dict) and isinstance(data.target, list)
    data.inputs["w"][7] = np.nan
    with pytest.raises(DataError, match=r"column 'w' \(data.weight\), row 8: expected"):
        ready(data, "data.weight=w")
    data.target[7] = None
    ready(data, "data.weight=w")


def test_another_split_needs_its_column(ready: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"data\.split=grouped needs data\.group"):
        ready(roles(), "data.split=grouped", "data.time=t")
    with pytest.raises(ConfigError, match=r"data\.time is for data\.split=time, not"):
        ready(roles(), "data.split=grouped", "data.group=g", "data.time=t")


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
    assert len(found.splits) == 1
    train, validation, test = parts(found)
    assert validation is not None and validation is found.user_validation
    assert ids(validation) == [500, 501, 503]
    assert validation.target.tolist() == [2, 1, 0]
    assert test is not None
    assert sorted(ids(train) + ids(test)) == list(range(200))
    assert "the validation rows given choose the epoch" in said


def test_validation_rows_of_ones_own_choose_every_members_epoch(
    ready: Prepare, own: Callable[..., str]
) -> None:
    valid = own([500, 501], [2, 1])
    found, _ = ready(numbers(), "ensemble.members=3", validation=valid)
    assert len(found.splits) == 3
    for number in range(3):
        train, validation, test = parts(found, number)
        assert validation is found.user_validation and test is not None
        assert sorted(ids(train) + ids(test)) == list(range(200))


def test_few_rows_may_have_validation_rows_of_their_own(
    ready: Prepare, own: Callable[..., str]
) -> None:
    found, _ = ready(numbers(20), validation=own([500, 501], [0, 1]))
    train, validation, test = parts(found)
    assert (len(train), test) == (20, None)
    assert found.evaluation == (validation, "validation rows", True)


def test_two_ways_to_choose_the_epoch_are_wrong_usage(
    ready: Prepare, own: Callable[..., str]
) -> None:
    valid = own([500, 501], [0, 1])
    with pytest.raises(ConfigError, match=r"--valid .* data\.validation_fraction"):
        ready(numbers(), "data.validation_fraction=0.2", validation=valid)
    found, _ = ready(numbers(), "data.validation_fraction=0", validation=valid)
    assert ids(found.user_validation) == [500, 501]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2], [0, 7], "there is no class 7; there are 0, 1"),
        ([1, 2], ["", ""], "target 'y' has no value in any row"),
        ([1, "many"], [0, 1], "column 'x', row 2: expected a finite number"),
    ],
)
def test_validation_rows_that_do_not_fit_are_told(
    x: Any, y: Any, expected: str, ready: Prepare, own: Callable[..., str]
) -> None:
    with pytest.raises(DataError) as caught:
        ready(numbers(), validation=own(x, y))
    assert expected in str(caught.value)


@pytest.mark.parametrize("way", ["data.group=g", "data.time=t", "data.weight=w"])
def test_validation_rows_of_ones_own_go_with_every_division(
    way: str, ready: Prepare, write_csv: Callable[..., Path]
) -> None:
    columns = {
        "y": ["no", "yes", "no", "yes"],
        "x": [500, 501, 502, 503],
        "g": ["g1", "new", "g2", "g2"],
        "w": [1, 2, 0, 3],
        "t": [9, 9, 9, 9],
    }
    valid = str(write_csv(columns, "valid.csv"))
    found, _ = ready(roles(), way, *FIVE, validation=valid)
    assert found.user_validation is not None
    kept = [500, 501, 503] if way == "data.weight=w" else [500, 501, 502, 503]
    assert ids(found.user_validation) == kept
    assert (found.user_validation.weights is None) == (way != "data.weight=w")
    for number in range(5):
        train, validation, test = parts(found, number)
        assert validation is found.user_validation and test is not None
        assert len(train) + len(test) == len(found.data)
    # The column that orders or groups rows need not be there.
    bare = {k: v for k, v in columns.items() if k != way[-1]}
    valid = str(write_csv(bare, "valid.csv"))
    if way == "data.weight=w":
        with pytest.raises(
            DataError, match=r"valid\.csv: data\.weight: there is no column 'w'"
        ):
            ready(roles(), way, validation=valid)
    else:
        ready(roles(), way, validation=valid)


def test_validation_arrays_without_labels_are_told(
    ready: Prepare, tmp_path: Path
) -> None:
    path = tmp_path / "valid.npz"
    np.savez(path, X=np.zeros((3, 8, 8)))
    with pytest.raises(DataError, match="expected arrays 'X' and 'y'"):
        ready(read("builtin:digits", None), validation=str(path))


def test_a_part_is_told_from_another_by_every_weight() -> None:
    raw = {"x": np.random.default_rng(0).normal(size=3_000)}
    one = Part(raw, np.zeros(3_000), np.ones(3_000))
    assert one.digest == replace(one, weights=np.ones(3_000)).digest
    heavier = np.where(np.arange(3_000) == 1_500, 2.0, 1.0)
    others = (replace(one, weights=heavier), replace(one, weights=None))
    assert len({part.digest for part in (one, *others)}) == 3

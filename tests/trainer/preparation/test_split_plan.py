"""Rows divided by content, chance, group or time, and once more as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import DataError
from models.storage.artefact import Artefact
from models.storage.directory import DirectoryStore as Store
from trainer.config.defaults import choose_split
from trainer.config.loading import load
from trainer.config.recipes import DataFacts
from trainer.config.schema import SplitConfig
from trainer.data import Dataset, read, take
from trainer.data.roles import set_aside
from trainer.data.row_hashing import (
    by_time,
    count_occurrences,
    hash_rows,
    rehash_duplicates,
    rotating_splits,
)
from trainer.preparation.split_plan import SplitPlan, learnt_rows, plan_splits

bounded = settings(deadline=None, max_examples=100)


def whole(*assignments: str, rows: int = 1000) -> SplitConfig:
    """Return a config of which the division is complete."""
    given = load(None, assignments, {})
    return choose_split(given, DataFacts(rows, "binary"), False)[0]


def grouped(groups: list[Any], kind: str = "categorical") -> Dataset:
    n = len(groups)
    inputs = {"x": np.arange(float(n)), "g": groups}
    if kind != "categorical":
        inputs["g"] = np.array(groups, float)
    whole = Dataset(inputs, {"x": "numeric", "g": kind}, "y", [0, 1] * (n // 2))
    return set_aside(whole, {"group": "g"})


def timed(times: Any) -> Dataset:
    n = len(times)
    inputs = {"x": np.arange(float(n)), "t": np.asarray(times, float)}
    kinds = dict.fromkeys(inputs, "numeric")
    return set_aside(Dataset(inputs, kinds, "y", [0, 1] * (n // 2)), {"time": "t"})


def divided(data: Dataset, *assignments: str) -> SplitPlan:
    return plan_splits(whole(*assignments, rows=len(data)), data)


def test_rows_are_divided_by_what_stands_in_them() -> None:
    data = timed(np.arange(400))
    found = divided(data, "ensemble.members=5")
    assert (found.by, found.test_below) == ("hash", 0.1)
    expected = rotating_splits(hash_rows(data.inputs), 5, 0.15 / 0.9, 0.1)
    assert [[p.tolist() for p in s] for s in found.splits] == [
        [p.tolist() for p in s] for s in expected
    ]


def test_rows_too_alike_are_divided_by_chance() -> None:
    data = Dataset({"x": np.arange(400.0) % 3}, {"x": "numeric"}, "y", [0, 1] * 200)
    assert divided(data).by == "random"


def test_no_row_left_to_train_is_told() -> None:
    data = timed(np.arange(2))
    shares = ("data.validation_fraction=0", "data.test_fraction=0.999")
    with pytest.raises(DataError, match="2 rows are too few: none is left to train"):
        divided(data, *shares, "ensemble.members=1")


# Groups.


@bounded
@given(
    st.lists(st.integers(0, 300), min_size=40, max_size=400),
    st.integers(1, 7),
    st.sampled_from([(0.1, 0.1), (0.2, 0.2), (0.3, 0.0), (0.0, 0.25)]),
)
def test_a_group_is_never_on_two_sides(
    drawn: list[int], members: int, shares: tuple[float, float]
) -> None:
    groups = [f"g{g}" for g in drawn]
    given = (
        "data.group=g",
        f"ensemble.members={members}",
        f"data.validation_fraction={shares[0]}",
        f"data.test_fraction={shares[1]}",
    )
    data = grouped(groups[: len(groups) // 2 * 2])
    if len(set(data.aside["g"])) < 3:
        return  # it may be refused, as below
    found = divided(data, *given)
    assert found.by == "group" and len(found.splits) == members
    for split in found.splits:
        assert sum(map(len, split)) == len(groups) // 2 * 2
        train, validation, test = ({groups[i] for i in part} for part in split)
        assert not train & validation and not train & test and not validation & test
        assert train and bool(validation) == (shares[0] > 0)
        assert bool(test) == (shares[1] > 0)


def test_a_group_is_tested_for_ever_however_the_data_grow() -> None:
    names = [f"g{i % 200}" for i in range(1000)]
    grown = [f"new{i % 90}" for i in range(600)] + names
    before, after = (divided(grouped(g), "data.group=g") for g in (names, grown))
    assert before.test_below == after.test_below == 0.1
    test = after.splits[0].test
    assert before.splits[0].test.tolist() == (test[test >= 600] - 600).tolist()


@pytest.mark.parametrize("groups", [3, 4, 10])
def test_few_groups_leave_no_part_empty(groups: int) -> None:
    names = [f"patient {i % groups}" for i in range(600)]
    found = divided(grouped(names), "data.group=g", "ensemble.members=5")
    for split in found.splits:
        assert all(len(part) for part in split)
        assert split.test.tolist() == found.splits[0].test.tolist()


def test_too_few_groups_are_told() -> None:
    with pytest.raises(DataError) as caught:
        divided(grouped(["a", "b"] * 300), "data.group=g")
    assert str(caught.value) == (
        "column 'g' (data.group) has 2 groups, too few for 3 parts: training, "
        "validation and test rows need a group each"
    )


def test_a_group_is_the_same_written_as_number_or_text() -> None:
    numbers = [i % 300 for i in range(900)]
    one = divided(grouped(numbers, "numeric"), "data.group=g")
    other = divided(grouped([str(n) for n in numbers]), "data.group=g")
    for mine, its in zip(one.splits, other.splits, strict=True):
        assert [p.tolist() for p in mine] == [p.tolist() for p in its]


# Time.


def test_the_last_rows_are_measured_by_every_member() -> None:
    order = np.random.default_rng(1).permutation(600)
    found = divided(timed(order), "data.time=t")
    assert found.by == "time"
    assert len(found.splits) == 8
    for split in found.splits:
        assert split is found.splits[0]
        assert sorted(order[split.test].tolist()) == list(range(540, 600))
        assert sorted(order[split.validation].tolist()) == list(range(450, 540))


def test_too_few_times_are_told() -> None:
    with pytest.raises(DataError) as caught:
        divided(timed([1, 2] * 300), "data.time=t")
    assert str(caught.value) == (
        "column 't' (data.time) has 2 different times for 3 parts"
    )


def test_few_rows_all_train_however_they_are_divided() -> None:
    for found in (
        divided(timed(np.arange(20)), "data.time=t"),
        divided(grouped(list("abcd") * 5), "data.group=g"),
    ):
        assert [list(map(len, split)) for split in found.splits] == [[20, 0, 0]]


# Once more.

QUICK = (
    "ensemble.members=5",
    "network.architecture=realmlp",
    "network.hidden=[8]",
    "train.epochs=1",
)


@pytest.fixture
def fitted(
    fit: Callable[..., Any],
    store: Store,
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> Callable[..., tuple[Artefact, Dataset]]:
    """Fit a table with groups and times; return the artefact and the data."""

    def make(*settings: str, groups: int = 150, alike: bool = False) -> Any:
        columns = table(400)
        kept = {name: columns[name] for name in ("size", "colour", "churn")}
        if alike:
            kept = {"colour": columns["colour"], "churn": columns["churn"]}
        else:
            kept["g"] = [f"g{7 * i % groups}" for i in range(400)]
            kept["t"] = [i // 2 for i in range(400)]
        path = write_csv(kept)
        fit(store, path, target="churn", settings=(*QUICK, *settings))
        artefact = store.load("m", store.versions("m")[-1])
        return artefact, read(str(path), "churn", whole(*settings))

    return make


def test_rows_of_the_training_groups_are_learnt(
    fitted: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = fitted("data.group=g", groups=20)
    assert isinstance(data.inputs, dict)
    names = data.inputs["g"]
    plan = divided(set_aside(data, {"group": "g"}), "data.group=g")
    expected = np.ones(400, bool)
    expected[plan.splits[0].test] = False
    inputs = {name: data.inputs[name] for name in ("size", "colour", "t")}
    for raw, aside in (
        (inputs, {"g": names}),
        (data.inputs, {}),  # where it is an ordinary input by now
    ):
        found = learnt_rows(artefact.manifest, raw, aside)
        assert found.tolist() == expected.tolist()
    assert learnt_rows(artefact.manifest, inputs, {}).all()


def test_rows_are_learnt_by_their_hash_wherever_they_stand(
    fitted: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = fitted()
    assert artefact.manifest.recipe.split_strategy == "hash"
    hashes = hash_rows(data.inputs)
    some = np.arange(0, 400, 3)
    found = learnt_rows(artefact.manifest, take(data.inputs, some), {})
    assert found.tolist() == (hashes[some] >= 0.1).tolist()
    counted = artefact.manifest.data
    assert counted.test_rows == (hashes < 0.1).sum()


def test_equal_rows_are_learnt_by_their_occurrence(
    fitted: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = fitted(alike=True)
    assert artefact.manifest.recipe.split_strategy == "random"
    occurrence = count_occurrences(hash_rows(data.inputs))
    where = rehash_duplicates(hash_rows(data.inputs), occurrence, 0)
    found = learnt_rows(artefact.manifest, data.inputs, {}, occurrence)
    assert found.tolist() == (where >= 0.1).tolist()
    assert learnt_rows(artefact.manifest, data.inputs, {}).all()


def test_rows_are_learnt_up_to_the_time_of_the_test_rows(
    fitted: Callable[..., tuple[Artefact, Dataset]],
) -> None:
    artefact, data = fitted("data.time=t")
    assert artefact.manifest.recipe.split_strategy == "time"
    split = by_time(np.arange(400) // 2 * 1.0, 0.15, 0.1)
    counted = artefact.manifest.data
    assert (counted.train_rows, counted.validation_rows, counted.test_rows) == tuple(
        map(len, split)
    )
    expected = np.ones(400, bool)
    expected[split.test] = False
    found = learnt_rows(artefact.manifest, data.inputs, {})
    assert found.tolist() == expected.tolist()
    assert isinstance(data.inputs, dict)
    timeless = {name: data.inputs[name] for name in ("size", "colour", "g")}
    assert learnt_rows(artefact.manifest, timeless, {}).all()


@pytest.mark.parametrize("members", [1, 2])
def test_before_format_4_only_a_lone_network_has_rows_it_did_not_learn(
    members: int, fitted: Callable[..., tuple[Artefact, Dataset]]
) -> None:
    artefact, data = fitted()
    recipe = msgspec.structs.replace(artefact.manifest.recipe, test_below=None)
    old = msgspec.structs.replace(artefact.manifest, recipe=recipe, members=members)
    expected = (hash_rows(data.inputs) >= 0.1) | (members > 1)
    assert learnt_rows(old, data.inputs, {}).tolist() == expected.tolist()

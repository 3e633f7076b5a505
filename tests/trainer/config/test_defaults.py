"""What is chosen, why, and whether it learns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ConfigError
from models.features.predictions import Task
from models.storage.directory import DirectoryStore as Store
from tests.trainer.config.choosing import ENOUGH, EVERY, TASKS, chosen, image
from trainer.config.defaults import (
    TOO_FEW_TO_SPLIT,
    choose_split,
)
from trainer.config.recipes import (
    FEW_IMAGES,
    DataFacts,
)
from trainer.config.schema import NAME, Config, ResolvedConfig, settings

#: A value for every setting that a recipe may choose, and that none chooses.
GIVEN = {
    "network.architecture": "mlp",
    "network.hidden": [7],
    "network.activation": "gelu",
    "network.batch_norm": True,
    "network.dropout": 0.3,
    "train.learning_rate": 0.123,
    "train.beta2": 0.77,
    "train.weight_decay": 0.33,
    "train.augmentation": 0.0,
    "train.schedule": "step",
    "train.regularization": "step",
    "train.batch_size": 17,
    "train.epochs": 19,
    "train.averaging": 2.5,
    "train.patience": 5,
    "train.choose_epoch": "alone",
    "data.split": "random",
    "data.validation_fraction": 0.21,
    "data.test_fraction": 0.22,
    "ensemble.members": 3,
    "ensemble.minimum_gain": 0.1,
    "ensemble.linear": True,
}
#: What nothing is chosen for: it is off unless given.
OPTIONAL = {
    "train.clip_norm",
    "train.max_norm",
    "train.class_weights",
    "data.group",
    "data.time",
    "data.weight",
    "data.partitions",
    "gate.calibration",
    "gate.group",
    "gate.group_limit",
    "gate.minimum_gain",
    "guards.hours",
    "runtime.threads",
    "runtime.streaming",
}


def flat(config: Config) -> dict[str, Any]:
    found = {}
    for setting in settings():
        if NAME in setting.key:
            continue
        value: Any = config
        for part in setting.key.split("."):
            value = getattr(value, part)
        found[setting.key] = value
    return found


def test_every_open_setting_is_known_here() -> None:
    opened = {key for key, value in flat(Config()).items() if value is None}
    assert opened - OPTIONAL == set(GIVEN)


@pytest.mark.parametrize("facts", EVERY, ids=str)
def test_every_open_setting_gets_a_value_and_a_reason(facts: DataFacts) -> None:
    config, reasons = chosen(Config(), facts)
    values = flat(config)
    assert {k for k, v in values.items() if v is None} == OPTIONAL
    assert len(reasons) == len(set(reasons)) == len(GIVEN)
    defaults = flat(Config())
    assert {k: v for k, v in values.items() if k not in GIVEN} == {
        k: v for k, v in defaults.items() if k not in GIVEN
    }


@pytest.mark.parametrize("rows", [50, 5_000])
@pytest.mark.parametrize("key", GIVEN)
def test_a_given_setting_is_kept_and_needs_no_reason(
    key: str, rows: int, configured: Callable[..., Config]
) -> None:
    text = str(GIVEN[key]).lower()
    config, reasons = chosen(configured(f"{key}={text}"), DataFacts(rows, "binary"))
    assert flat(config)[key] == GIVEN[key]
    assert len(reasons) == len(GIVEN) - 1


def test_with_all_given_nothing_is_chosen(configured: Callable[..., Config]) -> None:
    given = configured(*(f"{k}={str(v).lower()}" for k, v in GIVEN.items()))
    config, reasons = chosen(given, DataFacts(500, "binary"))
    assert (flat(config), reasons) == (flat(given), [])


# The architecture, the members, and what they spare.


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("rows", [4, ENOUGH - 1, ENOUGH, 10**6])
@pytest.mark.parametrize("task", TASKS)
def test_a_table_of_enough_rows_gets_eight_realmlps(
    table: bool, rows: int, task: Task
) -> None:
    config = choose_split(Config(), DataFacts(rows, task, table), False)[0]
    real = table and rows >= ENOUGH
    assert config.network.architecture == ("realmlp" if real else "mlp")
    assert config.ensemble.members == (8 if real else 1)


def test_validation_rows_of_ones_own_make_one_network_of_the_same_kind() -> None:
    config = choose_split(Config(), DataFacts(5_000, "binary"), True)[0]
    assert config.network.architecture == "realmlp"
    assert config.ensemble.members == 1


@pytest.mark.parametrize("architecture", ["mlp", "realmlp"])
@pytest.mark.parametrize("rows", [50, 5_000])
def test_the_architecture_that_is_asked_for_is_trained_by_its_recipe(
    architecture: str, rows: int, configured: Callable[..., Config]
) -> None:
    given = configured(f"network.architecture={architecture}")
    config, _ = chosen(given, DataFacts(rows, "binary"))
    assert config.ensemble.members == (8 if architecture == "realmlp" else 1)
    waves = config.train.schedule == "coslog4"
    assert waves == (architecture == "realmlp")


@pytest.mark.parametrize("rows", [1, TOO_FEW_TO_SPLIT - 1])
def test_few_rows_are_not_divided(rows: int) -> None:
    config, reasons = choose_split(Config(), DataFacts(rows, "binary"), False)
    data = config.data
    assert (data.validation_fraction, data.test_fraction) == (0.0, 0.0)
    assert sum(f"{rows} rows are too few" in reason for reason in reasons) == 2


@pytest.mark.parametrize(
    ("rows", "table", "validation", "test"),
    [
        (TOO_FEW_TO_SPLIT, True, 0.15, 0.2),
        (ENOUGH - 1, True, 0.15, 0.2),
        (ENOUGH, True, 0.1, 0.2),
        (300, True, 0.109, 0.13),
        (400, True, 0.113, 0.1),
        (1_500, True, 0.05, 0.1),
        (10**6, True, 0.05, 0.1),
        (10**6, False, 0.15, 0.1),
    ],
)
def test_enough_rows_are_divided(
    rows: int, table: bool, validation: float, test: float
) -> None:
    facts = DataFacts(rows, "binary", table)
    data = choose_split(Config(), facts, False)[0].data
    assert (data.validation_fraction, data.test_fraction) == (validation, test)


def test_each_row_is_spared_by_some_member() -> None:
    config = choose_split(Config(), DataFacts(ENOUGH, "binary"), False)[0]
    spared = config.data.test_fraction + config.data.validation_fraction  # type: ignore[operator]
    assert config.ensemble.members * spared >= 1.0  # type: ignore[operator]


@pytest.mark.parametrize("rows", [10, 1_000])
def test_validation_rows_of_ones_own_replace_a_share(rows: int) -> None:
    config, reasons = choose_split(Config(), DataFacts(rows, "binary"), True)
    assert config.data.validation_fraction == 0.0
    assert "the validation rows given choose the epoch" in reasons
    assert not any("training figures" in reason for reason in reasons)


def test_two_ways_to_choose_the_epoch_are_wrong_usage(
    configured: Callable[..., Config],
) -> None:
    given = configured("data.validation_fraction=0.1")
    with pytest.raises(ConfigError, match=r"--valid and data\.validation_fraction"):
        choose_split(given, DataFacts(1_000, "binary"), True)


@pytest.mark.parametrize("members", [1, 5])
def test_shares_that_leave_no_rows_are_wrong_usage(
    members: int, configured: Callable[..., Config]
) -> None:
    shares = ("data.test_fraction=0.5", "data.validation_fraction=0.5")
    given = configured(f"ensemble.members={members}", *shares)
    with pytest.raises(ConfigError, match="leave no rows to train"):
        choose_split(given, DataFacts(1_000, "binary"), False)


# The training.


def test_enough_images_get_eight_networks() -> None:
    for rows in (FEW_IMAGES - 1, FEW_IMAGES, 60_000):
        config = choose_split(Config(), image(rows), False)[0]
        assert config.network.architecture == "mlp"
        assert config.ensemble.members == (8 if rows >= FEW_IMAGES else 1)
    alone = choose_split(Config(), image(60_000), validation_given=True)[0]
    assert alone.ensemble.members == 1


def test_each_reason_states_the_value_it_chose() -> None:
    for facts in EVERY:
        config, reasons = chosen(Config(), facts)
        run, net = config.train, config.network
        for words in (
            f"architecture {net.architecture}",
            f"hidden layers {net.hidden}",
            f"activation {net.activation}",
            f"dropout {net.dropout:g}",
            f"beta2 {run.beta2}",
            f"weight decay {run.weight_decay}",
            f"augmentation {run.augmentation:g}",
            f"learning rate {run.learning_rate}",
            f"schedule {run.schedule}",
            f"batch size {run.batch_size}",
            f"at most {run.epochs} epochs",
            f"patience {run.patience}",
            "averaged over the latest epoch",
        ):
            assert sum(words in reason for reason in reasons) == 1, words


# What comes of it.


@pytest.mark.parametrize("seed", range(31))
def test_xor_is_learnt_from_any_seed(
    seed: int, store: Store, fit: Callable[..., Any]
) -> None:
    result = fit(store, "builtin:xor", seed=seed, settings=())
    assert result.metrics["accuracy"] == 1.0
    columns = {"x1": np.array([0, 0, 1, 1.0]), "x2": np.array([0, 1, 0, 1.0])}
    found = store.load("m", 1).model.predict(columns)["probabilities"][:, 1]
    assert (found[[1, 2]] > 0.9).all() and (found[[0, 3]] < 0.1).all()


@pytest.mark.parametrize(
    ("rows", "seed"),
    [
        *product([20, ENOUGH - 1], [1, 2, 3]),
        # Eight networks, once each.
        pytest.param(ENOUGH, 2, marks=pytest.mark.long),
        pytest.param(1_000, 1, marks=pytest.mark.long),
    ],
)
def test_half_plus_two_is_learnt(
    rows: int,
    seed: int,
    store: Store,
    fit: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    x = np.random.default_rng(seed).uniform(-10, 10, rows)
    path = write_csv({"x": x.tolist(), "y": (x / 2 + 2).tolist()})
    fit(store, path, target="y", seed=seed, settings=())
    answer = store.load("m", 1).model.predict({"x": np.array([0.0, 2.0, 4.0])})
    np.testing.assert_allclose(answer["value"], [2, 3, 4], atol=0.05)


@pytest.mark.long
def test_digits_are_read(store: Store, fit: Callable[..., Any]) -> None:
    result = fit(store, "builtin:digits", settings=())
    assert result.metrics["measured_on"] == "held-out rows"
    assert result.metrics["rows"] >= 150  # a tenth of 1,797
    assert result.metrics["accuracy"] >= 0.98
    assert result.config["train"]["augmentation"] > 0


@pytest.mark.long
@pytest.mark.parametrize("target", ["churn", "level", "price"])
def test_a_table_is_learnt(
    target: str,
    store: Store,
    fit: Callable[..., Any],
    table: Callable[..., Any],
    write_csv: Callable[..., Path],
) -> None:
    kept = ("size", "colour", "member", "since", target)
    path = write_csv({name: table(600)[name] for name in kept})
    settings = ("network.hidden=[64, 64]", "train.epochs=40")
    figures = fit(store, path, target=target, settings=settings).metrics
    assert figures["measured_on"] == "held-out rows" and figures["rows"] > 50
    # One size in ten is missing, and a third of the score's spread is chance.
    if target == "price":
        assert figures["r2"] > 0.7
    else:
        assert figures["auc"] > 0.85


# How rows are split.


@pytest.mark.parametrize(
    ("given", "split"),
    [
        ((), "random"),
        (("data.group=g",), "grouped"),
        (("data.time=t",), "time"),
        (("data.split=grouped", "data.group=g"), "grouped"),
        (("data.split=time", "data.time=t"), "time"),
        (("data.weight=w",), "random"),
    ],
)
def test_the_column_that_is_given_decides_how_rows_are_divided(
    given: tuple[str, ...], split: str, configured: Callable[..., Config]
) -> None:
    config, reasons = chosen(configured(*given), DataFacts(ENOUGH, "binary"))
    assert config.data.split == split
    said = [reason for reason in reasons if reason.startswith("rows are split ")]
    assert len(said) == ("data.split" not in " ".join(given))


def test_all_members_spare_the_same_rows_in_time_and_so_more_of_them(
    configured: Callable[..., Config],
) -> None:
    for given, share in ((("data.time=t",), 0.15), (("data.group=g",), 0.05)):
        config, reasons = chosen(configured(*given), DataFacts(2_000, "binary"))
        assert config.ensemble.members == 8
        assert config.data.validation_fraction == share
        assert config.data.test_fraction == 0.1
        each = any("different rows for each network" in reason for reason in reasons)
        assert each == (share == 0.05)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("data.split=grouped",), "data.split=grouped needs data.group, the column"),
        (("data.split=time",), "data.split=time needs data.time, the column that"),
        (("data.split=time", "data.group=g"), "data.group is for data.split=grouped"),
        (("data.split=random", "data.time=t"), "data.time is for data.split=time, not"),
        (("data.group=g", "data.time=t"), "data.group and data.time exclude each"),
    ],
)
def test_a_division_without_its_column_is_wrong_usage(
    given: tuple[str, ...], expected: str, configured: Callable[..., Config]
) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(configured(*given), DataFacts(ENOUGH, "binary"))
    assert str(caught.value).startswith(expected)


# Evidence.


def realmlp(rows: int, *settings: str, configured: Any = None) -> ResolvedConfig:
    config = configured(*settings) if settings else Config()
    return chosen(config, DataFacts(rows, "binary"))[0]


def test_given_networks_are_all_fitted(configured: Callable[..., Config]) -> None:
    assert realmlp(20_000).ensemble.minimum_gain > 0.0
    given = realmlp(20_000, "ensemble.members=6", configured=configured)
    assert given.ensemble.minimum_gain == 0.0
    shared = realmlp(20_000, "data.partitions=members", configured=configured)
    assert shared.ensemble.minimum_gain == 0.0  # each has files of its own


def test_so_are_the_cheap_ones_of_few_rows() -> None:
    assert realmlp(2_000).ensemble.minimum_gain == 0.0


@pytest.mark.parametrize("rows", [ENOUGH, 500, 900])
def test_of_few_rows_each_is_held_out_once(rows: int) -> None:
    config = realmlp(rows)
    held_out = config.ensemble.members * config.data.validation_fraction
    assert held_out + config.data.test_fraction == pytest.approx(1.0, abs=0.01)
    assert config.train.choose_epoch == "together" and config.ensemble.linear

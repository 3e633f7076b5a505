"""What is chosen, why, and whether it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.output import Task
from models.store import Store
from trainer.config import Config, settings
from trainer.recipes import TOO_FEW_TO_SPLIT, Facts, choose_split, choose_training

TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
SIZES = (4, 99, 100, 1_000, 50_000)
EVERY = [
    Facts(rows, task, image)
    for rows in SIZES
    for task in TASKS
    for image in (False, True)
]

#: A value for every setting that a recipe may choose.
GIVEN = {
    "network.hidden": [7],
    "network.activation": "selu",
    "network.batch_norm": True,
    "network.dropout": 0.3,
    "train.learning_rate": 0.123,
    "train.batch_size": 17,
    "train.epochs": 19,
    "train.patience": 5,
    "data.validation_fraction": 0.21,
    "data.test_fraction": 0.22,
}
#: What nothing is chosen for: it is off unless given.
OPTIONAL = {"train.clip_norm"}


def flat(config: Config) -> dict[str, Any]:
    found = {}
    for setting in settings():
        value: Any = config
        for part in setting.key.split("."):
            value = getattr(value, part)
        found[setting.key] = value
    return found


def chosen(
    config: Config, facts: Facts, rows: int | None = None
) -> tuple[Config, list[str]]:
    split = choose_split(config, rows or facts.train_rows, validation_given=False)
    training = choose_training(split.config, facts)
    return training.config, split.reasons + training.reasons


def test_every_open_setting_is_known_here() -> None:
    opened = {key for key, value in flat(Config()).items() if value is None}
    assert opened - OPTIONAL == set(GIVEN)


@pytest.mark.parametrize("facts", EVERY, ids=str)
def test_every_open_setting_gets_a_value_and_a_reason(facts: Facts) -> None:
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
    config, reasons = chosen(configured(f"{key}={text}"), Facts(rows, "binary"))
    assert flat(config)[key] == GIVEN[key]
    assert len(reasons) == len(GIVEN) - 1


def test_with_all_given_nothing_is_chosen(configured: Callable[..., Config]) -> None:
    given = configured(*(f"{k}={str(v).lower()}" for k, v in GIVEN.items()))
    assert chosen(given, Facts(500, "binary")) == (given, [])


@pytest.mark.parametrize("rows", [1, TOO_FEW_TO_SPLIT - 1])
def test_few_rows_are_not_divided(rows: int) -> None:
    found = choose_split(Config(), rows, validation_given=False)
    data = found.config.data
    assert (data.validation_fraction, data.test_fraction) == (0.0, 0.0)
    assert f"{rows} rows are too few" in found.reasons[0]


@pytest.mark.parametrize("rows", [TOO_FEW_TO_SPLIT, 10**6])
def test_enough_rows_are_divided(rows: int) -> None:
    data = choose_split(Config(), rows, validation_given=False).config.data
    assert (data.validation_fraction, data.test_fraction) == (0.15, 0.15)


@pytest.mark.parametrize("rows", [10, 1_000])
def test_validation_rows_of_ones_own_replace_a_share(rows: int) -> None:
    found = choose_split(Config(), rows, validation_given=True)
    assert found.config.data.validation_fraction == 0.0
    assert not any("training figures" in reason for reason in found.reasons)


def test_more_rows_get_wider_layers_larger_batches_and_fewer_epochs() -> None:
    found = [chosen(Config(), Facts(n, "binary"))[0] for n in (50, 500, 50_000)]
    widths = [sum(config.network.hidden or []) for config in found]
    batches = [config.train.batch_size or 0 for config in found]
    epochs = [config.train.epochs or 0 for config in found]
    assert widths == sorted(widths) and widths[0] < widths[-1]
    assert batches == sorted(batches) and batches[0] < batches[-1]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] > epochs[-1]


def test_a_batch_is_no_larger_than_tiny_data() -> None:
    assert chosen(Config(), Facts(3, "binary"))[0].train.batch_size == 3


def test_the_learning_rate_suits_the_optimizer(
    configured: Callable[..., Config],
) -> None:
    for rule in ("gradient_descent", "momentum", "adam"):
        given = configured(f"train.optimizer={rule}")
        found, reasons = chosen(given, Facts(5_000, "binary"))
        assert found.train.optimizer == rule
        assert any(rule in reason for reason in reasons)


def test_each_reason_states_the_value_it_chose() -> None:
    for facts in EVERY:
        config, reasons = chosen(Config(), facts)
        run, net = config.train, config.network
        for words in (
            f"hidden layers {net.hidden}",
            f"activation {net.activation}",
            f"dropout {net.dropout:g}",
            f"learning rate {run.learning_rate}",
            f"batches of {run.batch_size}",
            f"at most {run.epochs} epochs",
            f"patience {run.patience}",
        ):
            assert sum(words in reason for reason in reasons) == 1


@pytest.mark.parametrize("seed", range(31))
def test_xor_is_learnt_from_any_seed(
    seed: int, store: Store, fit: Callable[..., Any]
) -> None:
    result = fit(store, "builtin:xor", seed=seed, settings=())
    assert result.metrics["accuracy"] == 1.0
    columns = {"x1": np.array([0, 0, 1, 1.0]), "x2": np.array([0, 1, 0, 1.0])}
    found = store.load("m", 1).model.predict(columns)["probabilities"][:, 1]
    assert (found[[1, 2]] > 0.9).all() and (found[[0, 3]] < 0.1).all()


@pytest.mark.parametrize("rows", [20, 100, 1_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
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


def test_digits_are_read(store: Store, fit: Callable[..., Any]) -> None:
    result = fit(store, "builtin:digits", settings=())
    assert result.metrics["measured_on"] == "held-out rows"
    assert result.metrics["rows"] >= 250
    assert result.metrics["accuracy"] >= 0.97

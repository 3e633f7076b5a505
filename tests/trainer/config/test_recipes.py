"""How networks are trained, by rows and task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from models.errors import ConfigError
from models.features.predictions import Task
from tests.trainer.config.choosing import ENOUGH, EVERY, TASKS, chosen, image
from trainer.config.recipes import (
    FEW_ROWS,
    WARM_EPOCHS,
    WARM_EPOCHS_REGRESSION,
    WARM_RATE,
    DataFacts,
)
from trainer.config.schema import Config


@pytest.mark.parametrize("table", [False, True])
def test_more_rows_get_larger_batches_and_fewer_epochs(table: bool) -> None:
    found = [
        chosen(Config(), DataFacts(n, "binary", table))[0]
        for n in (ENOUGH, 5_000, 50_000)
    ]
    batches = [config.train.batch_size for config in found]
    epochs = [config.train.epochs for config in found]
    assert batches == sorted(batches) and batches[0] < batches[-1]
    assert epochs == sorted(epochs, reverse=True) and epochs[0] > epochs[-1]


@pytest.mark.parametrize("facts", EVERY, ids=str)
def test_presets_spend_more_and_more(
    facts: DataFacts, configured: Callable[..., Config]
) -> None:
    fast, default, best = (
        chosen(configured(f"preset={name}"), facts)[0]
        for name in ("fast", "default", "best")
    )
    assert default == chosen(Config(), facts)[0]
    members = [config.ensemble.members for config in (fast, default, best)]
    several = default.network.architecture == "realmlp" or default.ensemble.members != 1
    assert members == ([2, 8, 16] if several else [1, 1, 1])
    epochs = [config.train.epochs or 0 for config in (fast, default, best)]
    assert epochs[0] < epochs[1]
    few = default.network.architecture == "realmlp" and facts.rows < FEW_ROWS
    assert epochs[2] == epochs[1] if few else epochs[2] > epochs[1]


@pytest.mark.parametrize("facts", EVERY, ids=str)
def test_a_warm_start_takes_fewer_and_smaller_steps(
    facts: DataFacts, configured: Callable[..., Config]
) -> None:
    cold, _ = chosen(Config(), facts)
    warm, reasons = chosen(Config(), replace(facts, warm=True))
    share = WARM_EPOCHS_REGRESSION if facts.task == "regression" else WARM_EPOCHS
    assert warm.train.epochs == max(1, round(cold.train.epochs * share))
    assert warm.train.learning_rate == cold.train.learning_rate * WARM_RATE
    assert (warm.network, warm.ensemble, warm.data) == (
        *(cold.network, cold.ensemble, cold.data),
    )
    assert sum("warm start" in reason for reason in reasons) == 3
    given = configured("train.epochs=7", "train.learning_rate=0.5")
    told = chosen(given, replace(facts, warm=True))[0].train
    assert (told.epochs, told.learning_rate) == (7, 0.5)


def test_few_rows_still_take_enough_steps() -> None:
    for rows in (300, 600, 1_500):
        run = chosen(Config(), DataFacts(rows, "regression"))[0].train
        assert run.epochs and run.batch_size
        steps = run.epochs * -(-rows // run.batch_size)
        assert 2_000 <= steps < 3_000


def test_of_plain_networks_more_rows_get_wider_ones() -> None:
    found = [
        chosen(Config(), DataFacts(n, "binary", False))[0] for n in (50, 500, 50_000)
    ]
    widths = [sum(config.network.hidden or []) for config in found]
    assert widths == sorted(widths) and widths[0] < widths[-1]


def test_a_batch_is_no_larger_than_tiny_data() -> None:
    assert chosen(Config(), DataFacts(3, "binary"))[0].train.batch_size == 3


def test_the_learning_rate_of_a_plain_network_suits_the_optimizer(
    configured: Callable[..., Config],
) -> None:
    for rule in ("gradient_descent", "momentum", "adam"):
        given = configured(f"train.optimizer={rule}")
        found, reasons = chosen(given, DataFacts(5_000, "binary", table=False))
        assert found.train.optimizer == rule
        assert any(rule in reason for reason in reasons)


@pytest.mark.parametrize("rows", [4, 1_000, 5_000, 60_000, 10**6])
@pytest.mark.parametrize("task", TASKS)
def test_images_are_moved_normalized_and_never_stopped_early(
    rows: int, task: Task
) -> None:
    config = chosen(Config(), image(rows, task))[0]
    assert config.network.batch_norm is True
    assert config.train.augmentation and config.train.augmentation > 0
    assert config.train.patience == config.train.epochs
    # Batch norm makes up for what dropout takes, which a number cannot bear.
    assert (config.network.dropout == 0) == (task == "regression")


def test_the_fewer_images_the_further_they_are_moved() -> None:
    found = [chosen(Config(), image(n))[0] for n in (1_000, 5_000, 60_000)]
    strengths = [config.train.augmentation or 0 for config in found]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] > strengths[-1] > 0


def test_the_more_images_the_larger_their_network() -> None:
    found = [chosen(Config(), image(n))[0].network for n in (1_000, 5_000, 60_000)]
    sizes = [
        (len(network.hidden or ()), sum(network.hidden or ())) for network in found
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_an_image_set_of_any_size_takes_a_bounded_time() -> None:
    """Row passes, which time goes with."""
    passes = {
        n: n * (chosen(Config(), image(n))[0].train.epochs or 0)
        for n in (10, 100, 1_000, 10_000, 50_000, 150_000)
    }
    assert max(passes.values()) <= 3_000_000
    assert list(passes.values()) == sorted(passes.values())


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("rows", [50, 5_000])
def test_only_images_are_moved(
    table: bool, rows: int, configured: Callable[..., Config]
) -> None:
    facts = DataFacts(rows, "binary", table)
    assert chosen(Config(), facts)[0].train.augmentation == 0.0
    with pytest.raises(ConfigError, match=r"train\.augmentation=0\.5 needs images"):
        chosen(configured("train.augmentation=0.5"), facts)


def test_patience_of_images_is_of_the_epochs_that_are_given(
    configured: Callable[..., Config],
) -> None:
    found = chosen(configured("train.epochs=7"), image(5_000))[0]
    assert found.train.patience == 7


def test_regularization_of_a_plain_network_stays() -> None:
    config = chosen(Config(), DataFacts(5_000, "binary", False))[0]
    run = config.train
    assert (run.schedule, run.regularization) == ("cosine", "constant")
    assert (run.beta2, run.weight_decay) == (0.999, 0.01)


def test_patience_is_of_the_epochs_that_are_given(
    configured: Callable[..., Config],
) -> None:
    for table in (False, True):
        facts = DataFacts(5_000, "binary", table)
        long = chosen(configured("train.epochs=10000"), facts)[0].train.patience
        short = chosen(configured("train.epochs=1"), facts)[0].train.patience
        assert long is not None and short is not None
        assert short <= 20 and 1_000 <= long <= 10_000


def test_fewer_rows_get_smaller_networks() -> None:
    found = [
        chosen(Config(), DataFacts(rows, "binary"))[0].network.hidden
        for rows in (500, 2_000, 20_000)
    ]
    assert found == [[64] * 3, [128] * 3, [256] * 3]

"""A batch that is learnt in parts against the same batch learnt whole."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from typing import Any

import msgspec
import numpy as np
import pytest

from models.architectures import mlp, realmlp
from models.errors import TrainingDiverged
from models.network import Network, NetworkSpec
from models.table import Layout
from trainer.augmentation import Augmentation
from trainer.config import TrainConfig
from trainer.loop import Run, train
from trainer.losses import (
    Loss,
    binary_cross_entropy,
    label_smoothing,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.optimizers import OPTIMIZERS
from trainer.replica import WORTH_DIVIDING, parts
from trainer.rows import Rows
from trainer.weights import over_batches

CONFIG = TrainConfig(
    optimizer="gradient_descent",
    learning_rate=0.05,
    beta2=0.999,
    weight_decay=0.0,
    schedule="cosine",
    regularization="constant",
    batch_size=7,
    averaging=0.0,
    epochs=3,
)
#: Four batches of 7, and one of 1: the second half of that has no row.
N = 29
PLAIN = mlp([3, 8, 6, 1])
SPECS: dict[str, NetworkSpec] = {
    "plain": PLAIN,
    "tanh": mlp([3, 8, 1], "tanh"),
    "categories": mlp([3, 8, 1], categories=[3]),
    "realmlp": realmlp(Layout(1, 1, (3,)), [8, 6], 1, "mish"),
}
RULES = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def numbers(weighted: bool = False, classes: bool = False) -> Rows:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    X[:, 2] = rng.integers(0, 3, N)
    T = X[:, 0] * X[:, 1] + rng.normal(0, 0.3, N)
    weights = rng.exponential(size=N) if weighted else None
    return Rows(X, (T > 0).astype(np.intp) if classes else T, weights)


def descent(
    spec: NetworkSpec = PLAIN,
    loss: Loss = mean_squared_error,
    rows: Rows | None = None,
    parts: int = 2,
    processes: int = 2,
    dtype: Any = np.float64,
    augment: Augmentation | None = None,
    limit: float = math.inf,
    **changes: Any,
) -> Run:
    network = Network(spec, dtype)
    network.initialize(np.random.default_rng(1))
    rows = rows or numbers()
    if dtype is np.float32:
        rows = Rows(rows.X.astype(dtype), rows.T, rows.weights)
    config = msgspec.structs.replace(CONFIG, **changes)
    return Run(
        network,
        loss,
        rows,
        rows,
        config,
        np.random.default_rng(4),
        limit,
        augment=augment,
        parts=parts,
        processes=processes,
    )


def orders_as_halves_do(run: Run) -> Run:
    """Let a run of one part draw from its generator what one of two does."""
    draw = run.epoch

    def epoch() -> None:
        permutation = run.rng.permutation(N)
        run.rng.integers(1 << 63)

        class Given:
            def permutation(self, n: int) -> Any:
                return permutation

        generator, run.rng = run.rng, Given()  # type: ignore[assignment]
        draw()
        run.rng = generator

    run.epoch = epoch  # type: ignore[method-assign]
    return run


def same(found: Run, expected: Run) -> None:
    train(found)
    train(orders_as_halves_do(expected))
    for a, b in zip(
        found.history.curves().values(), expected.history.curves().values(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    np.testing.assert_allclose(
        found.network.parameters, expected.network.parameters, rtol=1e-7, atol=1e-10
    )


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("spec", SPECS)
def test_halves_take_the_steps_of_the_whole(spec: str, processes: int) -> None:
    same(descent(SPECS[spec], processes=processes), descent(SPECS[spec], parts=1))


@RULES
def test_by_every_rule(optimizer: Any) -> None:
    given = {"optimizer": optimizer, "weight_decay": 0.1, "learning_rate": 0.01}
    same(descent(**given), descent(parts=1, **given))


@pytest.mark.parametrize(
    "given",
    [
        {"clip_norm": 0.1},
        {"max_norm": 0.5},
        {"averaging": 2.0},
        {"clip_norm": 0.1, "max_norm": 0.5, "averaging": 1.0},
        {"batch_size": 1},
        {"batch_size": 2},
        {"batch_size": 100},
    ],
    ids=str,
)
def test_with_every_limit_and_batch(given: dict[str, Any]) -> None:
    same(descent(**given), descent(parts=1, **given))


@pytest.mark.parametrize(
    "loss",
    [
        mean_squared_error,
        binary_cross_entropy,
        label_smoothing(binary_cross_entropy, 0.1),
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_by_every_loss_with_and_without_weights(loss: Loss, weighted: bool) -> None:
    rows = numbers(weighted, classes=loss is not mean_squared_error)
    given: dict[str, Any] = {"loss": over_batches(loss), "rows": rows}
    same(descent(**given), descent(parts=1, **given))


def test_of_three_classes() -> None:
    rows = numbers()
    classes = Rows(rows.X, rows.X[:, 2].astype(np.intp))
    given: dict[str, Any] = {"loss": softmax_cross_entropy, "rows": classes}
    same(descent(mlp([3, 8, 3]), **given), descent(mlp([3, 8, 3]), parts=1, **given))


def images(parts: int, processes: int) -> Run:
    rng = np.random.default_rng(0)
    rows = Rows(rng.random((40, 64)).astype(np.float32), rng.integers(0, 3, 40))
    return descent(
        mlp([64, 8, 3], dropout=0.3),
        softmax_cross_entropy,
        rows,
        parts,
        processes,
        np.float32,
        Augmentation((8, 8), 1.0),
    )


def dropped(parts: int, processes: int) -> Run:
    spec = realmlp(Layout(1, 1, (3,)), [8, 6], 1, "mish", dropout=0.2)
    return descent(
        spec,
        parts=parts,
        processes=processes,
        dtype=np.float32,
        optimizer="adamw",
        averaging=2.0,
    )


@pytest.mark.parametrize("make", [images, dropped])
def test_the_number_of_processes_changes_no_byte(make: Any) -> None:
    found = set()
    for processes in (1, 2, 1, 2, 2, 7):
        run = make(2, processes)
        train(run)
        found.add(run.network.parameters.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("make", [images, dropped])
def test_halves_draw_by_themselves(make: Any) -> None:
    run = make(2, 2)
    run.epoch()
    first, second = run.replicas
    assert first.rng is run.rng
    assert first.rng.bytes(16) != second.rng.bytes(16)


def test_one_network_is_learnt_by_all() -> None:
    run = descent()
    first, second = run.replicas
    assert first.network is run.network
    assert second.network.parameters is run.network.parameters
    assert not np.shares_memory(second.network.gradients, run.network.gradients)


def test_a_run_that_diverges_says_where_and_leaves_no_process() -> None:
    run = descent(dtype=np.float32, epochs=50)
    third = next(b for b in run.network.blocks if b.name.startswith("layer 3"))

    def break_it(history: Any) -> None:
        if history.epochs == 2:
            run.network.parameters[third.slice] = np.nan

    # Five steps an epoch: the eleventh is the first to see it.
    with pytest.raises(TrainingDiverged, match=r"step 11: .* layer 3 \(linear\)"):
        train(run, break_it)
    assert multiprocessing.active_children() == []


def test_what_fails_in_the_helper_ends_the_run() -> None:
    caller = os.getpid()

    def loss(Z: Any, T: Any, weights: Any) -> Any:
        if os.getpid() != caller:
            raise MemoryError
        return mean_squared_error(Z, T, weights)

    with pytest.raises(MemoryError):
        train(descent(loss=loss))
    assert multiprocessing.active_children() == []


def test_a_helper_is_there_while_an_epoch_is() -> None:
    seen: set[int] = set()

    def loss(Z: Any, T: Any, weights: Any) -> Any:
        seen.add(len(multiprocessing.active_children()))
        return mean_squared_error(Z, T, weights)

    def watch(history: Any) -> None:
        assert multiprocessing.active_children() == []

    train(descent(loss=loss), watch)
    assert seen == {1, 0}  # the second: validation rows


def test_a_clock_is_read_by_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper whose clock differed would end an epoch at another step."""
    caller, now = os.getpid(), time.perf_counter
    monkeypatch.setattr(
        time, "perf_counter", lambda: now() + (os.getpid() != caller) * 1e9
    )
    run = descent(limit=3600.0)
    train(run)
    assert run.history.epochs == CONFIG.epochs


def test_large_products_are_divided_and_small_ones_are_not() -> None:
    wide = mlp([784, 256, 128, 10])
    assert parts(Network(wide), 128) == 2
    assert parts(Network(mlp([784, 64, 32, 10])), 32) == 1
    assert parts(Network(mlp([20, 64, 64, 2])), 32) == 1
    one_row = 784 * 256 + 256 * 128 + 128 * 10
    enough = -(-WORTH_DIVIDING // one_row)
    assert [parts(Network(wide), size) for size in (enough - 1, enough)] == [1, 2]


def test_statistics_of_a_batch_are_of_the_whole() -> None:
    assert parts(Network(mlp([784, 256, 128, 10], batch_norm=True)), 512) == 1

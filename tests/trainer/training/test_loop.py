"""The loop against the textbook's, and what it promises about rows and epochs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import TrainingDiverged
from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.layers import Dropout
from models.nn.network import Network
from trainer.config.schema import ResolvedTrainConfig
from trainer.optimization.optimizers import OPTIMIZERS, Optimizer, OptimizerName
from trainer.optimization.schedules import SCHEDULES, warm_up
from trainer.preparation.augmentation import Augmentation
from trainer.training import loop, parameter_groups
from trainer.training.constraints import limit_norms
from trainer.training.history import History
from trainer.training.loop import EpochCallback, TrainingRun, make_optimizer, train
from trainer.training.losses import (
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.types import Loss, Rows

PLAIN = ResolvedTrainConfig(
    optimizer="gradient_descent",
    learning_rate=0.1,
    beta2=0.999,
    weight_decay=0.0,
    schedule="constant",
    regularization="constant",
    augmentation=0.0,
    batch_size=4,
    epochs=3,
    averaging=0.0,
    choose_epoch="alone",
    patience=1_000_000,
)


def plain(**changes: Any) -> ResolvedTrainConfig:
    return msgspec.structs.replace(PLAIN, **changes)


def make(spec: Any, seed: int = 1, dtype: type = np.float32) -> Network:
    network = Network(spec, dtype)
    network.initialize(np.random.default_rng(seed))
    return network


def each(optimizer: Optimizer, name: str) -> NDArray[Any]:
    """The rate or decay of every parameter, from the blocks that the steps go by."""
    blocks = optimizer._blocks
    assert [block.here.start for block in blocks[1:]] == [
        block.here.stop for block in blocks[:-1]
    ]
    return np.concatenate(
        [np.broadcast_to(getattr(b, name), b.here.stop - b.here.start) for b in blocks]
    )


def numbers(n: int = 10, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    T = (X @ [1.0, -2.0, 0.5] + rng.normal(0, 0.3, n)).astype(np.float32)
    return Rows(X, T)


def run(
    network: Network,
    loss: Loss,
    rows: Rows,
    validation: Rows | None,
    config: ResolvedTrainConfig,
    rng: np.random.Generator,
    watch: EpochCallback = lambda history: None,
) -> History:
    """Fit a network by a run of its own."""
    return train(TrainingRun(network, loss, rows, validation, config, rng), watch)


class Recorder:
    """A loss that writes down which rows each step took."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.targets: list[NDArray[Any]] = []
        self.inputs: list[NDArray[Any]] = []

    def __call__(self, Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        self.targets.append(T.copy())
        self.inputs.append(self.network.layers[0].X.copy())  # type: ignore[attr-defined]
        return mean_squared_error(Z, T, weights)


class Snapshots:
    """A watcher that keeps what the network held after every epoch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.parameters: list[NDArray[Any]] = []
        self.state: list[NDArray[Any]] = []

    def __call__(self, history: History) -> None:
        self.parameters.append(self.network.parameters.copy())
        self.state.append(self.network.state.copy())


def test_xor_takes_the_steps_of_the_textbook() -> None:
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float64)
    y = np.array([0.0, 1.0, 1.0, 0.0])
    network = make(mlp([2, 4, 1]), seed=42, dtype=np.float64)
    W1 = network.parameters[:8].reshape(2, 4).copy()
    W2 = network.parameters[12:16].reshape(4, 1).copy()
    b1, b2 = np.zeros(4), np.zeros(1)
    seen = Snapshots(network)
    history = run(
        network,
        binary_cross_entropy,
        Rows(X, y),
        None,
        plain(learning_rate=0.5, epochs=300),
        np.random.default_rng(0),
        seen,
    )
    for after, loss in zip(seen.parameters, history.loss, strict=True):
        Z1 = X @ W1 + b1
        A1 = np.maximum(Z1, 0)
        A2 = 1 / (1 + np.exp(-(A1 @ W2 + b2)))
        entropy = -(y * np.log(A2[:, 0]) + (1 - y) * np.log(1 - A2[:, 0]))
        assert loss == pytest.approx(entropy.mean(), rel=1e-9)
        d2 = A2 - y[:, None]
        d1 = (d2 @ W2.T) * (Z1 > 0)
        W2 = W2 - 0.5 * (A1.T @ d2) / 4
        b2 = b2 - 0.5 * d2.mean(axis=0)
        W1 = W1 - 0.5 * (X.T @ d1) / 4
        b1 = b1 - 0.5 * d1.mean(axis=0)
        expected = np.concatenate([W1.ravel(), b1, W2.ravel(), b2])
        np.testing.assert_allclose(after, expected, rtol=1e-8, atol=1e-12)


def test_every_epoch_takes_every_row_once_in_a_new_order() -> None:
    rows = numbers(10)
    network = make(mlp([3, 1]))
    seen = Recorder(network)
    run(network, seen, rows, None, plain(), np.random.default_rng(3))
    assert [len(T) for T in seen.targets] == [4, 4, 2] * 3
    epochs = [np.concatenate(seen.targets[i : i + 3]) for i in (0, 3, 6)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(rows.T))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_inputs_stay_with_their_targets() -> None:
    rows = numbers(10)
    by_target = dict(zip(rows.T.tolist(), rows.X.tolist(), strict=True))
    network = make(mlp([3, 1]))
    seen = Recorder(network)
    run(network, seen, rows, None, plain(), np.random.default_rng(3))
    for X, T in zip(seen.inputs, seen.targets, strict=True):
        assert X.tolist() == [by_target[t] for t in T.tolist()]


def test_a_batch_is_never_larger_than_the_rows() -> None:
    rows = numbers(10)
    network = make(mlp([3, 1]))
    seen = Recorder(network)
    run(network, seen, rows, None, plain(batch_size=64), np.random.default_rng(3))
    assert [len(T) for T in seen.targets] == [10, 10, 10]


def fitted(seed: int, spec: Any = None, start: int = 1, **changes: Any) -> Any:
    network = make(spec or mlp([3, 8, 1], dropout=0.3), seed=start)
    rng = np.random.default_rng(seed)
    run(network, mean_squared_error, numbers(), None, plain(**changes), rng)
    return network.parameters


def test_the_same_seed_gives_the_same_parameters() -> None:
    np.testing.assert_array_equal(fitted(5), fitted(5))


def test_another_seed_gives_other_parameters() -> None:
    assert (fitted(5) != fitted(6)).any()


def test_history_has_one_entry_an_epoch() -> None:
    network = make(mlp([3, 1]))
    rng = np.random.default_rng(1)
    history = run(network, mean_squared_error, numbers(), numbers(5, 9), PLAIN, rng)
    assert history.epochs == 3
    assert {len(curve) for curve in history.curves().values()} == {3}
    assert set(history.curves()) == {"loss", "learning_rate", "validation_loss"}


def test_epoch_loss_is_the_mean_over_rows_not_over_batches() -> None:
    network = make(mlp([3, 1]))
    seen: list[tuple[float, int]] = []

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        value, dZ = mean_squared_error(Z, T, weights)
        seen.append((value, len(T)))
        return value, dZ

    config = plain(epochs=1)
    history = run(network, loss, numbers(), None, config, np.random.default_rng(1))
    values, sizes = zip(*seen, strict=True)
    assert history.loss == [pytest.approx(np.average(values, weights=sizes))]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learning_rate_follows_the_schedule_step_by_step(schedule: Any) -> None:
    network = make(mlp([3, 1]))
    config = plain(schedule=schedule, warm_up=0.3, epochs=4)
    rng = np.random.default_rng(1)
    history = run(network, mean_squared_error, numbers(), None, config, rng)
    factor = warm_up(SCHEDULES[schedule], 0.3)
    # Three steps an epoch, twelve in all; an epoch shows the rate of its last step.
    expected = [0.1 * factor(step / 12) for step in (2, 5, 8, 11)]
    assert history.learning_rate == pytest.approx(expected)


def test_without_validation_the_last_weights_stand() -> None:
    network = make(mlp([3, 4, 1]))
    seen = Snapshots(network)
    config = plain(epochs=30, patience=1)
    rng = np.random.default_rng(1)
    history = run(network, mean_squared_error, numbers(), None, config, rng, seen)
    assert history.epochs == history.best_epoch == 30
    assert "validation_loss" not in history.curves()
    np.testing.assert_array_equal(network.parameters, seen.parameters[-1])


@pytest.mark.parametrize("batch_norm", [False, True])
def test_early_stopping_restores_the_best_epoch(batch_norm: bool) -> None:
    # What validation wants is the opposite of what is trained after a while.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    rows = Rows(X, (2 * X[:, 0]).astype(np.float32))
    held_out = Rows(X, (0.7 * X[:, 0]).astype(np.float32))
    network = make(mlp([3, 8, 1], batch_norm=batch_norm))
    seen = Snapshots(network)
    config = plain(epochs=200, patience=4, batch_size=8, learning_rate=0.01)
    history = run(network, mean_squared_error, rows, held_out, config, rng, seen)
    curve = history.validation_loss
    best = int(np.argmin(curve))
    assert history.best_epoch == best + 1
    assert history.epochs == best + 1 + 4 < 200
    np.testing.assert_array_equal(network.parameters, seen.parameters[best])
    np.testing.assert_array_equal(network.state, seen.state[best])
    assert (network.parameters != seen.parameters[-1]).any()
    assert (network.state != seen.state[-1]).any() == batch_norm
    again, _ = mean_squared_error(network.predict(held_out.X), held_out.T, None)
    assert again == curve[best] < curve[-1]


def test_without_patience_every_epoch_runs_and_the_best_is_kept() -> None:
    rows = numbers(30)
    held_out = Rows(rows.X, -rows.T)
    network = make(mlp([3, 1]))
    seen = Snapshots(network)
    config = plain(epochs=12)
    rng = np.random.default_rng(1)
    history = run(network, mean_squared_error, rows, held_out, config, rng, seen)
    assert history.epochs == 12
    best = int(np.argmin(history.validation_loss))
    assert best < 11
    np.testing.assert_array_equal(network.parameters, seen.parameters[best])


def test_the_first_of_equal_epochs_is_kept() -> None:
    network = make(mlp([3, 1]))
    seen = Snapshots(network)
    held_out = numbers(5, 9)
    config = plain(learning_rate=1e-30, patience=2, epochs=9)
    rng = np.random.default_rng(1)
    history = run(network, mean_squared_error, numbers(), held_out, config, rng, seen)
    assert (history.best_epoch, history.epochs) == (1, 3)


def test_row_weights_train_as_repeated_rows_do() -> None:
    rows = numbers(10)
    times = np.random.default_rng(2).integers(1, 4, 10)
    repeated = Rows(rows.X.repeat(times, 0), rows.T.repeat(times))
    found = []
    for some in (Rows(*rows[:2], times.astype(np.float32)), repeated):
        network = make(mlp([3, 4, 1], "tanh"))
        config = plain(batch_size=100, epochs=20)
        run(network, mean_squared_error, some, None, config, np.random.default_rng(1))
        found.append(network.parameters)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_validation_weights_count() -> None:
    rows, held_out = numbers(), numbers(5, 9)
    weights = np.array([1, 2, 3, 4, 5], np.float32)
    network = make(mlp([3, 1]))
    history = run(
        network,
        mean_squared_error,
        rows,
        Rows(held_out.X, held_out.T, weights),
        plain(epochs=1),
        np.random.default_rng(1),
    )
    Z = network.predict(held_out.X)[:, 0]
    expected = np.average((Z - held_out.T) ** 2 / 2, weights=weights)
    assert history.validation_loss == [pytest.approx(expected, rel=1e-5)]


def test_images_are_moved_before_the_step_and_anew_in_each_epoch() -> None:
    """What each step sees are the rows moved by the run's own generator, and the rows
    themselves stay: its gradients are those of a plain step over moved rows.
    """
    shape, n = (8, 8), 40
    X = np.random.default_rng(3).normal(size=(n, 64)).astype(np.float32)
    rows = Rows(X.copy(), np.arange(n, dtype=np.float32))
    network = make(mlp([64, 4, 1], dropout=0.5))
    seen = Recorder(network)
    config = plain(batch_size=24, epochs=2, learning_rate=1e-6)
    augment = Augmentation(shape, 1.0)
    rng = np.random.default_rng(5)
    train(TrainingRun(network, seen, rows, None, config, rng, augment=augment))
    np.testing.assert_array_equal(rows.X, X)
    rng, expected = np.random.default_rng(5), []
    for _ in range(2):
        order = rng.permutation(n)
        for chosen in (order[:24], order[24:]):
            batch = X[chosen]
            Augmentation(shape, 1.0)(batch, rng)
            rng.bit_generator.random_raw(-(-len(chosen) * 4 // 8))  # dropout's
            expected.append(batch)
    for moved, wanted in zip(seen.inputs, expected, strict=True):
        np.testing.assert_array_equal(moved, wanted)


def test_max_norm_holds_after_every_step() -> None:
    rows, limit = numbers(20), 0.7
    network, reference = make(mlp([3, 8, 8, 1])), make(mlp([3, 8, 8, 1]))
    config = plain(epochs=1, batch_size=20, max_norm=limit)
    run(network, mean_squared_error, rows, None, config, np.random.default_rng(0))
    free = plain(epochs=1, batch_size=20)
    run(reference, mean_squared_error, rows, None, free, np.random.default_rng(0))
    assert np.abs(network.parameters - reference.parameters).max() > 0.1
    limit_norms(reference, limit)
    np.testing.assert_array_equal(network.parameters, reference.parameters)


def test_clip_norm_bounds_a_step() -> None:
    network = make(mlp([3, 4, 1]))
    before = network.parameters.copy()
    rows = numbers(4)
    far = Rows(rows.X, rows.T + 1e3)
    config = plain(clip_norm=1.0, epochs=1)
    run(network, mean_squared_error, far, None, config, np.random.default_rng(1))
    moved = np.linalg.norm(network.parameters - before)
    assert moved == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_optimizer_is_made_as_configured(rule: OptimizerName) -> None:
    network = make(mlp([3, 4, 1], batch_norm=True))
    config = plain(
        optimizer=rule, momentum=0.5, beta1=0.6, beta2=0.7, rho=0.8, weight_decay=0.4
    )
    optimizer = make_optimizer(network, config)
    assert type(optimizer) is OPTIMIZERS[rule]
    assert optimizer.weight_decay == 0.4
    given = {"momentum": 0.5, "beta1": 0.6, "beta2": 0.7, "rho": 0.8}
    known = {
        "gradient_descent": (),
        "momentum": ("momentum",),
        "nesterov": ("momentum",),
        "rmsprop": ("rho",),
        "adam": ("beta1", "beta2"),
        "adamw": ("beta1", "beta2"),
    }
    remembered = OPTIMIZERS[rule].settings
    assert remembered == known.get(rule, remembered)
    for name in remembered:
        assert getattr(optimizer, name) == given[name]
    # W (3, 4), b, gamma, beta, W (4, 1), b
    decay = each(optimizer, "decay")
    np.testing.assert_array_equal(decay, [1] * 12 + [0] * 12 + [1] * 4 + [0])


@pytest.mark.parametrize("loss", [mean_squared_error, softmax_cross_entropy])
@pytest.mark.parametrize("held_out", [None, numbers(5, 9)])
def test_a_rate_too_high_is_told_as_divergence(loss: Any, held_out: Any) -> None:
    rows = numbers(20)
    if loss is softmax_cross_entropy:
        rows = Rows(rows.X, (rows.T > 0).astype(int))
        held_out = held_out and Rows(held_out.X, (held_out.T > 0).astype(int))
    outputs = 2 if loss is softmax_cross_entropy else 1
    network = make(mlp([3, 16, 16, outputs], "leaky_relu"))
    config = plain(learning_rate=1e6, epochs=100)
    rng = np.random.default_rng(1)
    with pytest.raises(TrainingDiverged, match=r"step \d+.*learning_rate"):
        run(network, loss, rows, held_out, config, rng)


def test_divergence_names_the_step_and_the_layer() -> None:
    network = make(mlp([3, 8, 8, 1]))
    third = next(b for b in network.blocks if b.name.startswith("layer 3"))

    def break_it(history: History) -> None:
        if history.epochs == 2:
            network.parameters[third.slice] = np.nan

    config, rng = plain(epochs=9), np.random.default_rng(1)
    # Three steps an epoch: the seventh is the first to see it.
    with pytest.raises(TrainingDiverged, match=r"step 7: .* layer 3 \(linear\)"):
        run(network, mean_squared_error, numbers(), None, config, rng, break_it)


@pytest.mark.parametrize("held_out", [None, numbers(5, 9)])
def test_divergence_in_the_very_last_step_is_told(held_out: Any) -> None:
    network = make(mlp([3, 8, 1]))
    config = plain(learning_rate=1e6, weight_decay=10.0, epochs=1, batch_size=10)
    network.parameters *= 1e34
    rows = numbers(10)

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        return 1.0, np.ones_like(Z)

    with pytest.raises(TrainingDiverged, match="step 1"):
        run(network, loss, rows, held_out, config, np.random.default_rng(1))


# Regularization has a course of its own.


@pytest.mark.parametrize("name", SCHEDULES)
def test_dropout_and_decay_follow_the_schedule_step_by_step(
    name: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make(mlp([3, 8, 8, 1], dropout=0.4))
    layers = [layer for layer in network.layers if isinstance(layer, Dropout)]
    optimizer: list[Any] = []
    seen: list[tuple[float, ...]] = []

    def made(*arguments: Any) -> Any:
        optimizer.append(make_optimizer(*arguments))
        return optimizer[0]

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        seen.append((optimizer[0].weight_decay, *(layer.rate for layer in layers)))
        return mean_squared_error(Z, T, weights)

    monkeypatch.setattr(loop, "make_optimizer", made)
    config = plain(regularization=name, weight_decay=0.02, epochs=4)
    run(network, loss, numbers(), None, config, np.random.default_rng(1))
    # Three steps an epoch, twelve in all.
    strengths = [SCHEDULES[name](step / 12) for step in range(12)]
    expected = [(0.02 * s, 0.4 * s, 0.4 * s) for s in strengths]
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-12)


def test_warm_up_is_for_the_rate_and_not_for_regularization() -> None:
    network = make(mlp([3, 8, 1], dropout=0.4))
    (layer,) = (x for x in network.layers if isinstance(x, Dropout))
    rates: list[float] = []

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        rates.append(layer.rate)
        return mean_squared_error(Z, T, weights)

    config = plain(warm_up=0.9, epochs=4)
    run(network, loss, numbers(), None, config, np.random.default_rng(1))
    assert rates == [0.4] * 12


def test_what_is_published_keeps_the_dropout_it_was_given() -> None:
    spec = mlp([3, 8, 1], dropout=0.4)
    network = make(spec)
    config = plain(regularization="flat_cosine", epochs=4)
    run(network, mean_squared_error, numbers(), None, config, np.random.default_rng(1))
    assert network.spec == spec == mlp([3, 8, 1], dropout=0.4)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_realmlp_moves_each_kind_at_its_rate(rule: OptimizerName) -> None:
    network = make(realmlp(Layout(2, 1, ()), [4], 1))
    optimizer = make_optimizer(network, plain(optimizer=rule, weight_decay=0.02))
    np.testing.assert_array_equal(
        each(optimizer, "rate"), parameter_groups.rates(network)
    )
    np.testing.assert_array_equal(
        each(optimizer, "decay"), parameter_groups.decay(network)
    )


def test_one_step_of_realmlp_is_rate_times_factor_times_gradient() -> None:
    network = make(realmlp(Layout(2, 1, ()), [4], 1, "mish"))
    before = network.parameters.copy()
    rows = numbers(4)
    run(
        *(network, mean_squared_error, rows, None),
        *(plain(epochs=1), np.random.default_rng(1)),
    )
    rates = parameter_groups.rates(network)
    assert rates is not None
    np.testing.assert_allclose(
        network.parameters, before - 0.1 * rates * network.gradients, rtol=1e-5
    )
    assert (network.parameters != before).mean() > 0.9


# Averaged weights.


class Steps:
    """A loss that keeps the network's numbers after each step of four rows."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.before: list[NDArray[Any]] = []
        self.state: list[NDArray[Any]] = []

    def __call__(self, Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        if len(T) == 4:  # and not those that validate
            # The forward pass has moved the state, the step is still to come.
            self.before.append(self.network.parameters.copy())
            self.state.append(self.network.state.copy())
        return mean_squared_error(Z, T, weights)


def mean_of_latest(steps: list[NDArray[Any]], horizon: float) -> NDArray[Any]:
    """Return the plain mean until there are `horizon`, then the exponential one."""
    first = max(1, int(horizon))
    mean = np.mean(steps[:first], axis=0, dtype=np.float64)
    for weights in steps[first:]:
        mean = mean * (1 - 1 / horizon) + weights / horizon
    return mean


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("averaging", [0.1, 2.0, 100.0])
def test_the_mean_of_the_latest_steps_is_judged_and_kept(
    averaging: float, batch_norm: bool
) -> None:
    rows, held_out = numbers(12), numbers(5, 9)
    network = make(mlp([3, 8, 1], batch_norm=batch_norm))
    steps, epochs = Steps(network), Snapshots(network)
    config = plain(averaging=averaging, epochs=8, learning_rate=0.3)
    rng = np.random.default_rng(1)
    history = run(network, steps, rows, held_out, config, rng, epochs)
    after = [*steps.before[1:], epochs.parameters[-1]]
    horizon = max(1.0, 3 * averaging)  # three steps an epoch
    judged = make(mlp([3, 8, 1], batch_norm=batch_norm))
    losses, kept = [], []
    for taken in range(3, 25, 3):
        judged.parameters[...] = mean_of_latest(after[:taken], horizon)
        judged.state[...] = mean_of_latest(steps.state[:taken], horizon)
        Z = judged.predict(held_out.X)
        losses.append(mean_squared_error(Z, held_out.T, None)[0])
        kept.append((judged.parameters.copy(), judged.state.copy()))
    assert history.validation_loss == pytest.approx(losses, rel=1e-4)
    assert history.best_epoch == int(np.argmin(losses)) + 1
    parameters, state = kept[history.best_epoch - 1]
    np.testing.assert_allclose(network.parameters, parameters, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network.state, state, rtol=1e-4, atol=1e-6)


def test_without_validation_the_mean_of_the_latest_steps_stands() -> None:
    network = make(mlp([3, 8, 1], batch_norm=True))
    steps, epochs = Steps(network), Snapshots(network)
    config = plain(averaging=2.0, epochs=8)
    run(network, steps, numbers(12), None, config, np.random.default_rng(1), epochs)
    after = [*steps.before[1:], epochs.parameters[-1]]
    for found, taken in ((network.parameters, after), (network.state, steps.state)):
        expected = mean_of_latest(taken, 6.0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (network.parameters != epochs.parameters[-1]).any()


@pytest.mark.parametrize("steps_an_epoch", [15, 16, 18])
def test_of_long_epochs_every_fourth_step_and_the_last_are_in_the_mean(
    steps_an_epoch: int,
) -> None:
    network = make(mlp([3, 8, 1]))
    steps, epochs = Steps(network), Snapshots(network)
    rows = numbers(steps_an_epoch * 4)
    config = plain(averaging=1.0, epochs=3)
    run(network, steps, rows, None, config, np.random.default_rng(1), epochs)
    after = [*steps.before[1:], epochs.parameters[-1]]
    taken, horizon = after, 15.0
    if steps_an_epoch > 15:
        ends = range(steps_an_epoch, len(after) + 1, steps_an_epoch)
        every = sorted({*range(4, len(after) + 1, 4), *ends})
        taken, horizon = [after[step - 1] for step in every], steps_an_epoch / 4
    expected = mean_of_latest(taken, horizon)
    np.testing.assert_allclose(network.parameters, expected, rtol=1e-4, atol=1e-6)


def test_an_epoch_that_ends_before_its_fourth_step_leaves_what_it_learnt() -> None:
    network = make(mlp([3, 8, 1]))
    began = network.parameters.copy()
    config = plain(averaging=1.0)
    history = train(
        TrainingRun(
            *(network, mean_squared_error, numbers(80), None, config),
            np.random.default_rng(1),
            limit=0.0,
        )
    )
    assert history.out_of_time and history.epochs == 1
    assert (network.parameters != began).any()


@pytest.mark.parametrize("held_out", [None, numbers(5, 9)])
def test_the_mean_leaves_the_descent_alone(held_out: Any) -> None:
    seen = []
    for averaging in (0.0, 2.0):
        network = make(mlp([3, 8, 1], batch_norm=True))
        epochs = Snapshots(network)
        config, rng = plain(averaging=averaging), np.random.default_rng(1)
        run(network, mean_squared_error, numbers(), held_out, config, rng, epochs)
        seen.append([*epochs.parameters, *epochs.state])
    np.testing.assert_equal(*seen)


# A limit in time.


class Clock:
    """Seconds that pass only when a test says so; a loss that takes one a step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(loop.time, "perf_counter", lambda: self.now)

    def __call__(self, Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        self.now += 1.0
        return mean_squared_error(Z, T, weights)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def limited(
    clock: Any, limit: float, held_out: Any = None, **changes: Any
) -> TrainingRun:
    """Return a run of three steps, of a second each, an epoch."""
    network, rng = make(mlp([3, 8, 1], dropout=0.4)), np.random.default_rng(1)
    config = plain(schedule="cosine", regularization="cosine", **changes)
    return TrainingRun(network, clock, numbers(), held_out, config, rng, limit)


def strengths(descent: TrainingRun) -> list[tuple[float, float]]:
    """Train; return the factor of rate and of dropout in each step."""
    (layer, share), found = descent.dropouts[0], []
    step = descent.optimizer.step

    def record(parameters: Any, gradients: Any, rate: float, *more: Any) -> None:
        found.append((rate / descent.learning_rate, layer.rate / share))
        step(parameters, gradients, rate, *more)

    descent.optimizer.step = record  # type: ignore[method-assign]
    train(descent)
    return found


@pytest.mark.parametrize("limit", [6.0, 7.0, 8.0])
def test_a_limit_runs_through_the_schedule_by_then(clock: Clock, limit: float) -> None:
    descent = limited(clock, limit, epochs=1000)
    found = strengths(descent)
    # Step t begins t seconds after the start.
    expected = [SCHEDULES["cosine"](t / limit) for t in range(int(limit))]
    np.testing.assert_allclose(found, np.transpose([expected, expected]), atol=1e-12)
    history = descent.history
    assert history.out_of_time
    assert history.epochs == -(-limit // 3) < history.planned == 1000
    assert history.seconds == limit


def test_a_partial_epochs_loss_is_that_of_the_rows_taken(clock: Clock) -> None:
    descent = limited(clock, 2.0, epochs=9)
    values = []

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        value, dZ = clock(Z, T, weights)
        values.append(value)
        return value, dZ

    descent.loss = loss
    assert train(descent).loss == [pytest.approx(np.mean(values))]
    assert len(values) == 2


def test_out_of_time_is_no_epoch_left_out(clock: Clock) -> None:
    # Twelve steps, which take twelve seconds.
    for limit, cut in ((11.0, True), (11.5, False), (12.0, False), (1e9, False)):
        history = train(limited(clock, limit, epochs=4))
        assert (history.epochs, history.out_of_time) == (4, cut)


def test_a_limit_that_is_no_nearer_than_the_last_step_changes_nothing(
    clock: Clock,
) -> None:
    found = [limited(clock, limit, epochs=4) for limit in (12.0, 1e9, np.inf)]
    for descent in found:
        train(descent)
    for descent in found[1:]:
        np.testing.assert_array_equal(
            descent.network.parameters, found[0].network.parameters
        )


@pytest.mark.parametrize("limit", [-3.0, 0.0, 0.5])
def test_at_least_one_step_is_taken(clock: Clock, limit: float) -> None:
    descent = limited(clock, limit, numbers(5, 9), epochs=9)
    history = train(descent)
    assert descent.optimizer.steps == 1
    assert (history.epochs, history.best_epoch) == (1, 1)
    assert history.out_of_time


def test_a_limit_restores_the_best_epoch(clock: Clock) -> None:
    rows = numbers(10)
    descent = limited(clock, 30.0, Rows(rows.X, -rows.T), epochs=1000)
    seen = Snapshots(descent.network)
    history = train(descent, seen)
    assert history.out_of_time
    best = int(np.argmin(history.validation_loss))
    assert best < history.epochs - 1
    np.testing.assert_array_equal(descent.network.parameters, seen.parameters[best])


def test_each_epoch_is_told_once(clock: Clock) -> None:
    seen: list[int] = []
    train(limited(clock, 6.0, epochs=9), lambda history: seen.append(history.epochs))
    assert seen == [1, 2]


# Kept after each epoch.


def test_the_run_is_given_to_be_kept_after_each_epoch() -> None:
    network = make(mlp([3, 4, 1]))
    rng = np.random.default_rng(1)
    descent = TrainingRun(network, mean_squared_error, numbers(), None, PLAIN, rng)
    seen: list[tuple[int, bool]] = []

    def keep(given: TrainingRun) -> None:
        assert given is descent
        seen.append((given.history.epochs, given.over))

    train(descent, keep=keep)
    assert seen == [(1, False), (2, False), (3, True)]


def test_a_run_that_went_further_before_it_was_interrupted_is_over() -> None:
    """... than it has to go now, since other networks have chosen the epoch."""
    network, rng = make(mlp([3, 4, 1])), np.random.default_rng(1)
    descent = TrainingRun(network, mean_squared_error, numbers(), None, PLAIN, rng)
    train(descent)
    assert descent.history.epochs == 3
    descent.until = 2
    assert descent.over


def test_a_validation_loss_that_never_is_a_number_is_told() -> None:
    rows = numbers()
    far = Rows(rows.X, np.full(10, 1e30, np.float32))
    network = make(mlp([3, 4, 1]))
    with pytest.raises(TrainingDiverged, match=r"step 9: .* too large for the loss"):
        run(network, mean_squared_error, rows, far, PLAIN, np.random.default_rng(1))


def test_a_validation_loss_that_becomes_a_number_is_enough() -> None:
    rows, held_out = numbers(), numbers(5, 9)
    far = [True, False, True]

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        value, dZ = mean_squared_error(Z, T, weights)
        return (np.inf if len(T) == 5 and far.pop(0) else value), dZ

    network = make(mlp([3, 4, 1]))
    history = run(network, loss, rows, held_out, PLAIN, np.random.default_rng(1))
    assert (history.epochs, history.best_epoch) == (3, 2)

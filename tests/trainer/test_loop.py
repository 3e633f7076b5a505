"""The loop against the textbook's, and what it promises about rows and epochs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from models.architectures import mlp, realmlp
from models.errors import TrainingDiverged
from models.layers import Dropout
from models.network import Network
from models.table import Layout
from trainer import groups, loop
from trainer.augmentation import Augmentation
from trainer.config import TrainConfig
from trainer.constraints import limit_norms
from trainer.loop import History, Rows, make_optimizer, train
from trainer.losses import (
    binary_cross_entropy,
    mean_squared_error,
    softmax_cross_entropy,
)
from trainer.optimizers import OPTIMIZERS, Rule
from trainer.schedules import SCHEDULES, warm_up

PLAIN = TrainConfig(
    optimizer="gradient_descent",
    learning_rate=0.1,
    beta2=0.999,
    weight_decay=0.0,
    schedule="constant",
    regularization="constant",
    batch_size=4,
    epochs=3,
)


def plain(**changes: Any) -> TrainConfig:
    return msgspec.structs.replace(PLAIN, **changes)


def make(spec: Any, seed: int = 1, dtype: type = np.float32) -> Network:
    network = Network(spec, dtype)
    network.initialize(np.random.default_rng(seed))
    return network


def numbers(n: int = 10, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    T = (X @ [1.0, -2.0, 0.5] + rng.normal(0, 0.3, n)).astype(np.float32)
    return Rows(X, T)


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
    history = train(
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
    train(network, seen, rows, None, plain(), np.random.default_rng(3))
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
    train(network, seen, rows, None, plain(), np.random.default_rng(3))
    for X, T in zip(seen.inputs, seen.targets, strict=True):
        assert X.tolist() == [by_target[t] for t in T.tolist()]


def test_a_batch_is_never_larger_than_the_rows() -> None:
    rows = numbers(10)
    network = make(mlp([3, 1]))
    seen = Recorder(network)
    train(network, seen, rows, None, plain(batch_size=64), np.random.default_rng(3))
    assert [len(T) for T in seen.targets] == [10, 10, 10]


def fitted(seed: int, spec: Any = None, start: int = 1, **changes: Any) -> Any:
    network = make(spec or mlp([3, 8, 1], dropout=0.3), seed=start)
    rng = np.random.default_rng(seed)
    train(network, mean_squared_error, numbers(), None, plain(**changes), rng)
    return network.parameters


def test_the_same_seed_gives_the_same_parameters() -> None:
    np.testing.assert_array_equal(fitted(5), fitted(5))


def test_another_seed_gives_other_parameters() -> None:
    assert (fitted(5) != fitted(6)).any()


def test_history_has_one_entry_an_epoch() -> None:
    network = make(mlp([3, 1]))
    rng = np.random.default_rng(1)
    history = train(network, mean_squared_error, numbers(), numbers(5, 9), PLAIN, rng)
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
    history = train(network, loss, numbers(), None, config, np.random.default_rng(1))
    values, sizes = zip(*seen, strict=True)
    assert history.loss == [pytest.approx(np.average(values, weights=sizes))]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_learning_rate_follows_the_schedule_step_by_step(schedule: Any) -> None:
    network = make(mlp([3, 1]))
    config = plain(schedule=schedule, warm_up=0.3, epochs=4)
    rng = np.random.default_rng(1)
    history = train(network, mean_squared_error, numbers(), None, config, rng)
    factor = warm_up(SCHEDULES[schedule], 0.3)
    # Three steps an epoch, twelve in all; an epoch shows the rate of its last step.
    expected = [0.1 * factor(step / 12) for step in (2, 5, 8, 11)]
    assert history.learning_rate == pytest.approx(expected)


def test_without_validation_the_last_weights_stand() -> None:
    network = make(mlp([3, 4, 1]))
    seen = Snapshots(network)
    config = plain(epochs=30, patience=1)
    rng = np.random.default_rng(1)
    history = train(network, mean_squared_error, numbers(), None, config, rng, seen)
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
    history = train(network, mean_squared_error, rows, held_out, config, rng, seen)
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
    history = train(network, mean_squared_error, rows, held_out, config, rng, seen)
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
    history = train(network, mean_squared_error, numbers(), held_out, config, rng, seen)
    assert (history.best_epoch, history.epochs) == (1, 3)


def test_row_weights_train_as_repeated_rows_do() -> None:
    rows = numbers(10)
    times = np.random.default_rng(2).integers(1, 4, 10)
    repeated = Rows(rows.X.repeat(times, 0), rows.T.repeat(times))
    found = []
    for some in (Rows(*rows[:2], times.astype(np.float32)), repeated):
        network = make(mlp([3, 4, 1], "tanh"))
        config = plain(batch_size=100, epochs=20)
        train(network, mean_squared_error, some, None, config, np.random.default_rng(1))
        found.append(network.parameters)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_validation_weights_count() -> None:
    rows, held_out = numbers(), numbers(5, 9)
    weights = np.array([1, 2, 3, 4, 5], np.float32)
    network = make(mlp([3, 1]))
    history = train(
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
    train(network, seen, rows, None, config, np.random.default_rng(5), augment=augment)
    np.testing.assert_array_equal(rows.X, X)
    rng, expected = np.random.default_rng(5), []
    for _ in range(2):
        order = rng.permutation(n)
        for chosen in (order[:24], order[24:]):
            batch = X[chosen]
            Augmentation(shape, 1.0)(batch, rng)
            rng.bytes(len(chosen) * 4)  # dropout's
            expected.append(batch)
    for moved, wanted in zip(seen.inputs, expected, strict=True):
        np.testing.assert_array_equal(moved, wanted)


def test_max_norm_holds_after_every_step() -> None:
    rows, limit = numbers(20), 0.7
    network, reference = make(mlp([3, 8, 8, 1])), make(mlp([3, 8, 8, 1]))
    config = plain(epochs=1, batch_size=20, max_norm=limit)
    train(network, mean_squared_error, rows, None, config, np.random.default_rng(0))
    free = plain(epochs=1, batch_size=20)
    train(reference, mean_squared_error, rows, None, free, np.random.default_rng(0))
    assert np.abs(network.parameters - reference.parameters).max() > 0.1
    limit_norms(reference, limit)
    np.testing.assert_array_equal(network.parameters, reference.parameters)


def test_clip_norm_bounds_a_step() -> None:
    network = make(mlp([3, 4, 1]))
    before = network.parameters.copy()
    rows = numbers(4)
    far = Rows(rows.X, rows.T + 1e3)
    config = plain(clip_norm=1.0, epochs=1)
    train(network, mean_squared_error, far, None, config, np.random.default_rng(1))
    moved = np.linalg.norm(network.parameters - before)
    assert moved == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_optimizer_is_made_as_configured(rule: Rule) -> None:
    network = make(mlp([3, 4, 1], batch_norm=True))
    config = plain(
        optimizer=rule, momentum=0.5, beta1=0.6, beta2=0.7, rho=0.8, weight_decay=0.4
    )
    optimizer = make_optimizer(network, config)
    assert type(optimizer) is OPTIMIZERS[rule]
    assert optimizer.weight_decay == 0.4
    given = {"momentum": 0.5, "beta1": 0.6, "beta2": 0.7, "rho": 0.8}
    remembered = {
        "gradient_descent": (),
        "momentum": ("momentum",),
        "nesterov": ("momentum",),
        "rmsprop": ("rho",),
        "adam": ("beta1", "beta2"),
        "adamw": ("beta1", "beta2"),
    }[rule]
    for name in remembered:
        assert getattr(optimizer, name) == given[name]
    # W (3, 4), b, gamma, beta, W (4, 1), b
    np.testing.assert_array_equal(optimizer.decay, [1] * 12 + [0] * 12 + [1] * 4 + [0])


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
        train(network, loss, rows, held_out, config, rng)


def test_divergence_names_the_step_and_the_layer() -> None:
    network = make(mlp([3, 8, 8, 1]))
    third = next(b for b in network.blocks if b.name.startswith("layer 3"))

    def break_it(history: History) -> None:
        if history.epochs == 2:
            network.parameters[third.slice] = np.nan

    config, rng = plain(epochs=9), np.random.default_rng(1)
    # Three steps an epoch: the seventh is the first to see it.
    with pytest.raises(TrainingDiverged, match=r"step 7: .* layer 3 \(linear\)"):
        train(network, mean_squared_error, numbers(), None, config, rng, break_it)


@pytest.mark.parametrize("held_out", [None, numbers(5, 9)])
def test_divergence_in_the_very_last_step_is_told(held_out: Any) -> None:
    network = make(mlp([3, 8, 1]))
    config = plain(learning_rate=1e6, weight_decay=10.0, epochs=1, batch_size=10)
    network.parameters *= 1e34
    rows = numbers(10)

    def loss(Z: Any, T: Any, weights: Any) -> tuple[float, Any]:
        return 1.0, np.ones_like(Z)

    with pytest.raises(TrainingDiverged, match="step 1"):
        train(network, loss, rows, held_out, config, np.random.default_rng(1))


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
    train(network, loss, numbers(), None, config, np.random.default_rng(1))
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
    train(network, loss, numbers(), None, config, np.random.default_rng(1))
    assert rates == [0.4] * 12


def test_what_is_published_keeps_the_dropout_it_was_given() -> None:
    spec = mlp([3, 8, 1], dropout=0.4)
    network = make(spec)
    config = plain(regularization="flat_cosine", epochs=4)
    train(
        network, mean_squared_error, numbers(), None, config, np.random.default_rng(1)
    )
    assert network.spec == spec == mlp([3, 8, 1], dropout=0.4)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_realmlp_moves_each_kind_at_its_rate(rule: Rule) -> None:
    network = make(realmlp(Layout(2, 1, ()), [4], 1))
    optimizer = make_optimizer(network, plain(optimizer=rule, weight_decay=0.02))
    np.testing.assert_array_equal(optimizer.rates, groups.rates(network))
    np.testing.assert_array_equal(optimizer.decay, groups.decay(network))


def test_one_step_of_realmlp_is_rate_times_factor_times_gradient() -> None:
    network = make(realmlp(Layout(2, 1, ()), [4], 1, "mish"))
    before = network.parameters.copy()
    rows = numbers(4)
    train(
        *(network, mean_squared_error, rows, None),
        *(plain(epochs=1), np.random.default_rng(1)),
    )
    rates = groups.rates(network)
    assert rates is not None
    np.testing.assert_allclose(
        network.parameters, before - 0.1 * rates * network.gradients, rtol=1e-5
    )
    assert (network.parameters != before).mean() > 0.9

"""Looking at layers changes nothing, and what is seen is so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.nn.architectures import mlp
from models.nn.layers.activations import Function
from models.nn.network import Network
from models.storage.directory import LocalFile
from trainer.config.schema import Config
from trainer.training.checkpoint import Checkpoint
from trainer.training.layer_stats import MAX_SNAPSHOTS, LayerStatsRecorder
from trainer.training.loop import TrainingRun, train
from trainer.training.losses import binary_cross_entropy
from trainer.types import Rows

Make = Callable[..., TrainingRun]


@pytest.fixture
def make(configured: Callable[..., Config]) -> Make:
    """Make a run of a small network on 40 rows before its first step."""

    def make(
        activation: Function = "relu", epochs: int = 12, batch_norm: bool = False
    ) -> TrainingRun:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((40, 3)).astype(np.float32)
        network = Network(mlp([3, 8, 8, 1], activation, batch_norm=batch_norm))
        network.initialize(rng)
        config = configured(
            f"train.epochs={epochs}",
            "train.batch_size=16",
            "train.learning_rate=0.05",
            "train.schedule=cosine",
            "train.regularization=constant",
            "train.weight_decay=0.01",
            "train.beta2=0.999",
            "train.patience=1000",
        ).train
        rows = Rows(X, (X[:, 0] > 0).astype(np.intp))
        generator = np.random.default_rng(1)
        return TrainingRun(network, binary_cross_entropy, rows, rows, config, generator)

    return make


def watched(run: TrainingRun) -> TrainingRun:
    watch = LayerStatsRecorder(run)
    train(run, keep=watch.record)
    return run


@pytest.mark.parametrize("batch_norm", [False, True])
def test_looking_changes_no_bit(make: Make, batch_norm: bool) -> None:
    plain, seen = make(batch_norm=batch_norm), watched(make(batch_norm=batch_norm))
    train(plain)
    assert (plain.network.parameters == seen.network.parameters).all()
    assert (plain.network.state == seen.network.state).all()
    assert plain.history.loss == seen.history.loss
    assert "health" not in seen.history.curves()


def test_a_look_tells_what_the_layers_give_and_get(make: Make) -> None:
    """Against a pass of the network itself over the same rows."""
    run = make(epochs=1)
    before = run.network.parameters.copy()
    watch = LayerStatsRecorder(run)
    run.run_epoch()
    watch.record(run)
    (look,) = run.history.health
    X, T, weights = run.rows
    Z = run.network.forward(X)
    _, dZ = run.loss(Z, T, weights)
    run.network.backward(dZ)
    linear, activation = look.layers[0], look.layers[1]
    assert (linear.name, activation.name) == (
        "layer 1 (linear)",
        "layer 2 (activation)",
    )
    layer = run.network.layers[0]
    gradients = np.concatenate([layer.dW.ravel(), layer.db])  # type: ignore[attr-defined]
    assert linear.gradient == pytest.approx(np.linalg.norm(gradients), rel=1e-3)
    n = len(gradients)
    step = np.linalg.norm(run.network.parameters[:n] - before[:n])
    assert linear.moved == pytest.approx(step / np.linalg.norm(before[:n]), rel=1e-3)
    A = np.maximum(X @ layer.W + layer.b, 0)  # type: ignore[attr-defined]
    assert activation.mean == pytest.approx(A.mean(), rel=1e-3)
    assert activation.spread == pytest.approx(A.std(), rel=1e-3)
    assert activation.gradient is None and activation.moved is None


def test_dead_and_saturated_units_are_counted(make: Make) -> None:
    run = make("relu")
    run.network.layers[0].b[:6] = -100.0  # type: ignore[attr-defined]
    watch = LayerStatsRecorder(run)
    assert watch._layers(run)[1].dead == 0.75
    for activation in ("sigmoid", "tanh"):
        run = make(activation)
        assert LayerStatsRecorder(run)._layers(run)[1].saturated < 0.2  # type: ignore[operator]
        run.network.layers[0].W[...] *= 1000.0  # type: ignore[attr-defined]
        found = LayerStatsRecorder(run)._layers(run)[1]
        assert found.saturated > 0.95 and found.dead is None  # type: ignore[operator]


def test_looks_are_few_however_long_the_run(make: Make) -> None:
    epochs = [look.epoch for look in watched(make(epochs=130)).history.health]
    assert epochs == [1, *range(3, 131, 3)]
    assert len(epochs) <= MAX_SNAPSHOTS + 1
    assert len(watched(make(epochs=5)).history.health) == 5


def test_an_interrupted_run_looks_as_one_that_was_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the epoch before the next look came before the interruption."""
    monkeypatch.setattr("trainer.training.checkpoint.LEAST_SECONDS", 0.0)
    whole = watched(make(epochs=130))
    for stop in (4, 5, 6):
        first = make(epochs=130)
        watch = LayerStatsRecorder(first)
        for _ in range(stop):
            first.run_epoch()
            watch.record(first)
        place = Checkpoint(LocalFile(tmp_path / str(stop) / "1.npz"), lambda said: None)
        place.save(first)
        again = make(epochs=130)
        assert place.restore(again)
        watched(again)
        assert again.history.health == whole.history.health


def test_what_is_no_number_is_very_large(make: Make) -> None:
    run = make()
    run.network.layers[0].W[...] = 1e30  # type: ignore[attr-defined]
    with np.errstate(all="ignore"):
        found = LayerStatsRecorder(run)._layers(run)
    assert found[-1].spread == 1e38
    numbers = [x for reading in found for x in (reading.mean, reading.spread)]
    assert np.isfinite(numbers).all()

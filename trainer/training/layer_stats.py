"""Statistics of the layers, taken after some epochs on the same rows.

They come from a second network with a copy of the numbers, so that recording changes
no byte of the result.
"""

from __future__ import annotations

import math

import numpy as np

from models.nn.layers import Activation
from models.nn.layers.activations import ReLU, Sigmoid, Tanh
from models.nn.network import Network
from models.types import Array
from trainer.data.dataset import evenly_spaced
from trainer.training.history import LayerSnapshot, LayerStats
from trainer.training.loop import TrainingRun

#: Rows of the sample, and the largest number of snapshots: about 1% of a run's time.
SAMPLE_ROWS, MAX_SNAPSHOTS = 64, 50
#: A unit is saturated where its slope is below this share of the steepest.
FLAT_SLOPE = 0.05


class LayerStatsRecorder:
    """Records the statistics of a run's layers."""

    def __init__(self, run: TrainingRun) -> None:
        n = len(run.rows.X)
        rows = evenly_spaced(n, SAMPLE_ROWS)
        self.X, self.T = run.rows.X[rows], run.rows.T[rows]
        self.weights = None if run.rows.weights is None else run.rows.weights[rows]
        self.network = Network(run.network.spec)
        self.every = -(-run.history.planned // MAX_SNAPSHOTS)
        self.before = run.network.parameters.copy()

    def record(self, run: TrainingRun) -> None:
        """Add a snapshot to the run's history, if one is due after this epoch."""
        epoch = run.history.epochs
        if epoch == 1 or epoch % self.every == 0:
            run.history.health.append(LayerSnapshot(epoch, self._layers(run)))
        if (epoch + 1) % self.every == 0:
            self.before[...] = run.network.parameters

    def _layers(self, run: TrainingRun) -> list[LayerStats]:
        self.network.parameters[...] = run.network.parameters
        self.network.state[...] = run.network.state
        outputs: list[Array] = []
        X = self.X
        for layer in self.network.layers:
            X = layer.forward(X, False, None)
            outputs.append(X)
        _, dZ = run.loss(X, self.T, self.weights)
        self.network.backward(dZ)
        names = [
            f"layer {n} ({x.display_name})"
            for n, x in enumerate(self.network.layers, 1)
        ]
        return [
            LayerStats(
                name,
                **_output_stats(Y),
                **_unit_stats(layer, Y),
                **self._parameter_stats(name),
            )
            for name, layer, Y in zip(names, self.network.layers, outputs, strict=True)
        ]

    def _parameter_stats(self, name: str) -> dict[str, float]:
        """Return how a layer's parameters change, if it has any."""
        slices = [block.slice for block in self.network.blocks if block.name == name]
        if not slices:
            return {}
        layer = slice(slices[0].start, slices[-1].stop)
        now, before = self.network.parameters[layer], self.before[layer]
        return {
            "gradient": _number(np.linalg.norm(self.network.gradients[layer])),
            "moved": _number(
                np.linalg.norm(now - before) / max(float(np.linalg.norm(before)), 1e-12)
            ),
        }


def _output_stats(Y: Array) -> dict[str, float]:
    return {"mean": _number(Y.mean()), "spread": _number(Y.std())}


def _unit_stats(layer: object, Y: Array) -> dict[str, float]:
    if not isinstance(layer, Activation):
        return {}
    if layer.function is ReLU:
        return {"dead": _number((layer.A <= 0.0).all(axis=0).mean())}
    if layer.function is Sigmoid:
        flat = 4.0 * layer.A * (1.0 - layer.A) < FLAT_SLOPE
    elif layer.function is Tanh:
        flat = 1.0 - layer.A**2 < FLAT_SLOPE
    else:
        return {}
    return {"saturated": _number(flat.mean())}


def _number(value: float | np.floating) -> float:
    """Round to four digits for a picture; NaN and infinity become 1e38."""
    return float(f"{value:.4g}") if math.isfinite(value) else 1e38

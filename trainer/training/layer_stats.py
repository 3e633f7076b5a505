"""How the layers fare while they learn: looked at after an epoch, on the same rows.

The looking network is made over the numbers of the one that learns and keeps what a
pass leaves behind to itself, so nothing that is looked at changes what is learnt.
"""

from __future__ import annotations

import math

import numpy as np

from models.nn.layers import Activation
from models.nn.layers.activations import ReLU, Sigmoid, Tanh
from models.nn.network import Network
from models.types import Array
from trainer.training.history import LayerSnapshot, LayerStats
from trainer.training.loop import TrainingRun

#: Rows looked at, and looks in a run at most: about a hundredth of its time.
ROWS, LOOKS = 64, 50
#: Of its steepest slope a unit has this much left where it is called saturated.
FLAT = 0.05


class LayerStatsRecorder:
    """Looks at a run after its epochs, seldom enough to cost little."""

    def __init__(self, run: TrainingRun) -> None:
        n = len(run.rows.X)
        rows = np.linspace(0, n - 1, min(n, ROWS)).astype(np.intp)
        self.X, self.T = run.rows.X[rows], run.rows.T[rows]
        self.weights = None if run.rows.weights is None else run.rows.weights[rows]
        # Of its own: what the run keeps between two passes stays as it is.
        self.network = Network(run.network.spec)
        self.every = -(-run.history.planned // LOOKS)
        self.before = run.network.parameters.copy()

    def record(self, run: TrainingRun) -> None:
        """Write a look into the run's history, if it is time for one."""
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
                name, **_of_outputs(Y), **_of_units(layer, Y), **self._moved(name)
            )
            for name, layer, Y in zip(names, self.network.layers, outputs, strict=True)
        ]

    def _moved(self, name: str) -> dict[str, float]:
        """Return what has become of a layer's parameters, if it has any."""
        slices = [block.slice for block in self.network.blocks if block.name == name]
        if not slices:
            return {}
        here = slice(slices[0].start, slices[-1].stop)
        now, before = self.network.parameters[here], self.before[here]
        return {
            "gradient": _number(np.linalg.norm(self.network.gradients[here])),
            "moved": _number(
                np.linalg.norm(now - before) / max(float(np.linalg.norm(before)), 1e-12)
            ),
        }


def _of_outputs(Y: Array) -> dict[str, float]:
    return {"mean": _number(Y.mean()), "spread": _number(Y.std())}


def _of_units(layer: object, Y: Array) -> dict[str, float]:
    if not isinstance(layer, Activation):
        return {}
    if layer.function is ReLU:
        return {"dead": _number((layer.A <= 0.0).all(axis=0).mean())}
    if layer.function is Sigmoid:
        flat = 4.0 * layer.A * (1.0 - layer.A) < FLAT
    elif layer.function is Tanh:
        flat = 1.0 - layer.A**2 < FLAT
    else:
        return {}
    return {"saturated": _number(flat.mean())}


def _number(value: float | np.floating) -> float:
    """Return four digits, which are enough to draw; what is no number is very large."""
    found = float(value)
    return float(f"{found:.4g}") if math.isfinite(found) else 1e38

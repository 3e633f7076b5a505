"""The training loop: forward, loss, backward, update, and again.

One epoch is every training row once, in a new order. After it the validation rows are
answered, and the weights of the best epoch are kept; without validation rows the last
weights stand.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from models.errors import TrainingDiverged
from models.layers import Dropout
from models.network import Network
from models.types import Array
from trainer import groups
from trainer.augmentation import Augmentation
from trainer.config import TrainConfig
from trainer.constraints import limit_norms
from trainer.losses import Loss, Targets, Weights
from trainer.optimizers import OPTIMIZERS, Optimizer, clip_by_norm
from trainer.schedules import SCHEDULES, warm_up


class Rows(NamedTuple):
    """Encoded rows with their targets, and a weight each where they differ."""

    X: Array
    T: Targets
    weights: Weights = None


@dataclass
class History:
    """What each epoch brought, and which one is kept (counted from 1)."""

    member: str = ""
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        return len(self.loss)

    def curves(self) -> dict[str, list[float]]:
        """Return the curves as they stand in the manifest."""
        curves = {"loss": self.loss, "learning_rate": self.learning_rate}
        if self.validation_loss:
            curves["validation_loss"] = self.validation_loss
        return curves


#: Called after each epoch with the history so far.
Watcher = Callable[[History], None]


def make_optimizer(network: Network, config: TrainConfig) -> Optimizer:
    """Return the configured rule over the network's parameters."""
    assert config.weight_decay is not None and config.beta2 is not None
    rates, decay = groups.rates(network), groups.decay(network)
    rule = OPTIMIZERS[config.optimizer]
    memory: dict[str, float] = {
        "momentum": {"momentum": config.momentum},
        "nesterov": {"momentum": config.momentum},
        "rmsprop": {"rho": config.rho},
        "adam": {"beta1": config.beta1, "beta2": config.beta2},
        "adamw": {"beta1": config.beta1, "beta2": config.beta2},
    }.get(config.optimizer, {})
    return rule(len(decay), decay, config.weight_decay, rates, **memory)


# What overflows is told as TrainingDiverged, not in NumPy's warnings.
@np.errstate(over="ignore", invalid="ignore")
def train(
    network: Network,
    loss: Loss,
    rows: Rows,
    validation: Rows | None,
    config: TrainConfig,
    rng: np.random.Generator,
    watch: Watcher = lambda history: None,
    augment: Augmentation | None = None,
) -> History:
    """Fit the network's parameters in place; every choice of `config` is made.

    Raises TrainingDiverged when a loss or a parameter is no longer a number.
    """
    assert config.epochs and config.batch_size and config.learning_rate
    assert config.schedule and config.regularization
    assert config.weight_decay is not None
    optimizer = make_optimizer(network, config)
    schedule = warm_up(SCHEDULES[config.schedule], config.warm_up)
    regularization = SCHEDULES[config.regularization]
    dropouts = [(x, x.rate) for x in network.layers if isinstance(x, Dropout)]
    n, size = len(rows.X), min(config.batch_size, len(rows.X))
    steps_an_epoch = -(-n // size)
    total = config.epochs * steps_an_epoch
    batch = np.empty((size, rows.X.shape[1]), rows.X.dtype)
    best = _Best(network)
    history = History()
    started = time.perf_counter()
    for epoch in range(1, config.epochs + 1):
        order = rng.permutation(n)
        summed = 0.0
        for number, start in enumerate(range(0, n, size)):
            chosen = order[start : start + size]
            # mode='clip' lets take write straight into `out`, without a copy.
            X = rows.X.take(chosen, 0, out=batch[: len(chosen)], mode="clip")
            if augment is not None:
                augment(X, rng)
            weights = None if rows.weights is None else rows.weights[chosen]
            step = (epoch - 1) * steps_an_epoch + number
            rate = config.learning_rate * schedule(step / total)
            strength = regularization(step / total)
            optimizer.weight_decay = config.weight_decay * strength
            for layer, share in dropouts:
                layer.rate = share * strength
            Z = network.forward(X, training=True, rng=rng)
            value, dZ = loss(Z, rows.T.take(chosen), weights)
            if not math.isfinite(value):
                raise TrainingDiverged(_diverged(network, step + 1, rate))
            network.backward(dZ)
            if config.clip_norm:
                clip_by_norm(network.gradients, config.clip_norm)
            optimizer.step(network.parameters, network.gradients, rate)
            if config.max_norm:
                limit_norms(network, config.max_norm)
            summed += value * len(chosen)
        if not np.isfinite(network.parameters).all():
            raise TrainingDiverged(_diverged(network, step + 1, rate))
        history.loss.append(summed / n)
        history.learning_rate.append(rate)
        history.seconds = time.perf_counter() - started
        if validation is not None:
            held_out, _ = loss(
                network.predict(validation.X), validation.T, validation.weights
            )
            history.validation_loss.append(held_out)
            best.consider(held_out, epoch)
            history.best_epoch = best.epoch
        else:
            history.best_epoch = epoch
        watch(history)
        if config.patience and epoch - history.best_epoch >= config.patience:
            break
    best.restore()
    history.seconds = time.perf_counter() - started
    return history


class _Best:
    """The parameters and state of the epoch with the lowest validation loss."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.loss = np.inf
        self.epoch = 0

    def consider(self, loss: float, epoch: int) -> None:
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.parameters = self.network.parameters.copy()
            self.state = self.network.state.copy()

    def restore(self) -> None:
        if self.epoch:
            self.network.parameters[...] = self.parameters
            self.network.state[...] = self.state


def _diverged(network: Network, step: int, rate: float) -> str:
    """Name the first layer whose numbers are gone, and the likely cause."""
    for block in network.blocks:
        if not np.isfinite(network.parameters[block.slice]).all():
            where = f"the weights of {block.name} are no longer numbers"
            break
    else:
        where = "the outputs are too large for the loss"
    return (
        f"training diverged at step {step}: {where}; the learning rate ({rate:.3g}) is "
        "likely too high: lower train.learning_rate or set train.clip_norm=1"
    )

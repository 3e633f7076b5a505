"""The training loop: forward, loss, backward, update.

An epoch takes every training row once, in a new order, and then computes the loss of
the validation rows. The weights of the best epoch are kept, or the last ones if there
are no validation rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.nn.layers import Dropout
from models.nn.network import Network
from models.types import Array
from trainer.config.schema import ResolvedTrainConfig
from trainer.optimization.optimizers import OPTIMIZERS, Optimizer, clip_by_norm
from trainer.optimization.schedules import SCHEDULES, warm_up
from trainer.preparation.augmentation import Augmentation
from trainer.preparation.row_order import shuffled
from trainer.training import parameter_groups
from trainer.training.averaging import Average
from trainer.training.common_epoch import Snapshots
from trainer.training.constraints import limit_norms
from trainer.training.divergence import diverged
from trainer.training.history import History
from trainer.training.losses import error_rate
from trainer.training.monotone import MonotonePenalty
from trainer.types import Loss, Rows

#: In an epoch of at least this many steps, the averaged weights take every fourth step:
#: weights change little in between, and each update is three passes over them.
LONG_EPOCH, AVERAGED_STEP = 16, 4

#: Called after each epoch with the history so far.
EpochCallback = Callable[[History], None]


def make_optimizer(network: Network, config: ResolvedTrainConfig) -> Optimizer:
    """Return the configured rule over the network's parameters."""
    rates, decay = parameter_groups.rates(network), parameter_groups.decay(network)
    rule = OPTIMIZERS[config.optimizer]
    options = {name: getattr(config, name) for name in rule.settings}
    return rule(len(decay), decay, config.weight_decay, rates, **options)


class TrainingRun:
    """One network's training: everything that one step leaves for the next.

    `rows` and `validation` hold X (n, I) and targets (n,). `config` is complete. The
    schedule ends after `limit` seconds at the latest. The run ends after epoch `until`,
    if it is given; the schedule is that of all epochs. `monotone` adds to its
    gradients.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        rows: Rows,
        validation: Rows | None,
        config: ResolvedTrainConfig,
        rng: np.random.Generator,
        limit: float = math.inf,
        augment: Augmentation | None = None,
        until: int | None = None,
        monotone: MonotonePenalty | None = None,
    ) -> None:
        self.network, self.loss, self.rng = network, loss, rng
        self.rows, self.validation = rows, validation
        self.optimizer = make_optimizer(network, config)
        self.patience = config.patience
        self.clip_norm, self.max_norm = config.clip_norm, config.max_norm
        self.monotone = monotone
        self.learning_rate = config.learning_rate
        self.weight_decay = config.weight_decay
        self.schedule = warm_up(SCHEDULES[config.schedule], config.warm_up)
        self.regularization = SCHEDULES[config.regularization]
        self.size = min(config.batch_size, len(rows.X))
        self.augment = augment
        self.dropouts = [
            (layer, layer.rate)
            for layer in network.layers
            if isinstance(layer, Dropout)
        ]
        self.steps_an_epoch = -(-len(rows.X) // self.size)
        self.total = config.epochs * self.steps_an_epoch
        self.averaged_every = AVERAGED_STEP if self.steps_an_epoch >= LONG_EPOCH else 1
        self.average = None
        if config.averaging:
            horizon = config.averaging * self.steps_an_epoch / self.averaged_every
            self.average = Average(network, max(1.0, horizon))
        self.best = Best(network)
        together = config.choose_epoch == "together" and validation is not None
        self.snapshots = Snapshots(network, config.epochs) if together else None
        self.by_error = config.choose_by == "error" and not np.issubdtype(
            rows.T.dtype, np.floating
        )
        self.history = History(planned=config.epochs, rows=len(rows.X))
        self.until = config.epochs if until is None else until
        self.limit = max(limit, 1e-9)  # it may have passed before the first step
        self.started = time.perf_counter()
        self._batch = np.empty((self.size, *rows.X.shape[1:]), rows.X.dtype)

    @property
    def over(self) -> bool:
        """Whether training is finished: all epochs, out of time or out of patience."""
        history = self.history
        waited = history.epochs - history.best_epoch
        return (
            history.epochs >= self.until
            or history.out_of_time
            or waited >= self.patience
        )

    def run_epoch(self) -> None:
        """Take every training row once, then compute the validation loss.

        Raises TrainingDiverged.
        """
        order = shuffled(len(self.rows.X), self.rng)
        summed, taken, rate = 0.0, 0, 0.0
        for start in range(0, len(order), self.size):
            progress = self.progress
            if progress == 1.0 and taken:
                break
            chosen = order[start : start + self.size]
            rate = self.learning_rate * self.schedule(progress)
            summed += self._step(chosen, rate, progress)
            taken += len(chosen)
        steps = self.optimizer.steps
        if self.average is not None and steps % self.averaged_every:
            self.average.update()  # so that the mean includes the latest weights
        if not np.isfinite(self.network.parameters).all():
            last = self._batch[: taken % self.size or self.size]
            raise diverged(self.network, last, steps, rate)
        self._validate(summed / taken, rate)
        self.history.out_of_time = steps < self.total and self.progress == 1.0

    def _step(self, chosen: NDArray[np.intp], rate: float, progress: float) -> float:
        """Update the weights once; return the summed loss of the chosen rows (B,)."""
        network, optimizer = self.network, self.optimizer
        strength = self.regularization(progress)
        optimizer.weight_decay = self.weight_decay * strength
        for layer, share in self.dropouts:
            layer.rate = share * strength
        X = self._batch[: len(chosen)]
        summed = len(chosen) * self._forward_backward(chosen, X)
        if not math.isfinite(summed):
            raise diverged(network, X, optimizer.steps + 1, rate)
        if self.clip_norm:
            clip_by_norm(network.gradients, self.clip_norm)
        optimizer.step(network.parameters, network.gradients, rate)
        if self.max_norm:
            limit_norms(network, self.max_norm)
        if self.average is not None and optimizer.steps % self.averaged_every == 0:
            self.average.update()
        return summed

    def _forward_backward(self, chosen: NDArray[np.intp], X: Array) -> float:
        """Copy rows `chosen` (B,) to X (B, I), fill the gradients, return the loss."""
        rows = self.rows
        # mode='clip' lets `take` write into `out` without a copy.
        rows.X.take(chosen, 0, X, "clip")
        if self.augment is not None:
            self.augment(X, self.rng)
        Z = self.network.forward(X, True, self.rng)
        weights = None if rows.weights is None else rows.weights.take(chosen)
        value, dZ = self.loss(Z, rows.T.take(chosen), weights)
        self.network.backward(dZ)
        if self.monotone is not None:
            self.monotone.add_gradient(X, self.rng)
        return value

    def _validate(self, loss: float, rate: float) -> None:
        """Record the epoch, and keep its weights if they are the best so far."""
        history, network = self.history, self.network
        history.loss.append(loss)
        history.learning_rate.append(rate)
        history.best_epoch = history.epochs
        if self.validation is not None:
            X, T, weights = self.validation
            if self.average is not None:
                self.average.swap()
            Z = network.predict(X)
            if self.by_error:
                held_out = error_rate(Z, T, weights)
            else:
                held_out, _ = self.loss(Z, T, weights)
            self.best.consider(held_out, history.epochs)
            if self.snapshots is not None:
                self.snapshots.keep(network, history.epochs)
            if self.average is not None:
                self.average.swap()
            history.validation_loss.append(held_out)
            history.best_epoch = self.best.epoch
        history.seconds = self.seconds

    @property
    def progress(self) -> float:
        """The share done of the steps or of the time, whichever is larger."""
        steps = self.optimizer.steps / self.total
        if self.limit == math.inf:
            return min(steps, 1.0)
        return min(max(steps, self.seconds / self.limit), 1.0)

    @property
    def seconds(self) -> float:
        """Seconds since the first step, including those before an interruption."""
        return time.perf_counter() - self.started

    def finish(self) -> None:
        """Put the best or averaged weights into the network.

        Raises TrainingDiverged if no validation loss was finite.
        """
        if self.validation is not None:
            if not self.best.epoch:
                rate = self.history.learning_rate[-1]
                X, steps = self.validation.X, self.optimizer.steps
                raise diverged(self.network, X, steps, rate)
            self.best.restore()
        elif self.average is not None:
            self.average.swap()
        self.history.seconds = self.seconds


# An overflow ends in TrainingDiverged, so NumPy need not warn.
@np.errstate(over="ignore", invalid="ignore")
def train(
    run: TrainingRun,
    watch: EpochCallback = lambda history: None,
    keep: Callable[[TrainingRun], None] = lambda run: None,
) -> History:
    """Fit the run's network in place; call `watch` and `keep` after each epoch.

    Raises TrainingDiverged if a loss or a parameter is not finite, or the validation
    loss never was.
    """
    while not run.over:
        run.run_epoch()
        watch(run.history)
        keep(run)
    run.finish()
    return run.history


class Best:
    """The parameters and state of the epoch with the lowest validation loss."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.loss = np.inf
        self.epoch = 0
        self.parameters = network.parameters.copy()
        self.state = network.state.copy()

    def consider(self, loss: float, epoch: int) -> None:
        """Keep the network's numbers if the loss is the lowest so far."""
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.parameters[...] = self.network.parameters
            self.state[...] = self.network.state

    def restore(self) -> None:
        """Copy them into the network."""
        self.network.parameters[...] = self.parameters
        self.network.state[...] = self.state

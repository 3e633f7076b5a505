"""The training loop: forward, loss, backward, update, and again.

One epoch is every training row once, in a new order. After it the validation rows are
answered, and the weights of the best epoch are kept; without validation rows the last
weights stand.
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
from trainer.training import parameter_groups
from trainer.training.averaging import Average
from trainer.training.constraints import limit_norms
from trainer.training.divergence import diverged
from trainer.training.history import History
from trainer.training.losses import error_rate
from trainer.types import Loss, Rows

#: Weights change little from step to step: in an epoch of so many, a mean of every
#: fourth says the same, and saves three passes over the weights in the others.
LONG, SPARSE = 16, 4

#: Called after each epoch with the history so far.
EpochCallback = Callable[[History], None]


def make_optimizer(network: Network, config: ResolvedTrainConfig) -> Optimizer:
    """Return the configured rule over the network's parameters."""
    rates, decay = parameter_groups.rates(network), parameter_groups.decay(network)
    rule = OPTIMIZERS[config.optimizer]
    options = {name: getattr(config, name) for name in rule.settings}
    return rule(len(decay), decay, config.weight_decay, rates, **options)


class TrainingRun:
    """One network's descent: everything that one step leaves for the next.

    Every choice of `config` is made. The schedule is run through in `limit` seconds.
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
    ) -> None:
        self.network, self.loss, self.rng = network, loss, rng
        self.rows, self.validation = rows, validation
        self.optimizer = make_optimizer(network, config)
        self.patience = config.patience
        self.clip_norm, self.max_norm = config.clip_norm, config.max_norm
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
        self.averaged_each = SPARSE if self.steps_an_epoch >= LONG else 1
        self.average = None
        if config.averaging:
            horizon = config.averaging * self.steps_an_epoch / self.averaged_each
            self.average = Average(network, max(1.0, horizon))
        self.best = Best(network)
        self.by_error = config.choose_by == "error" and not np.issubdtype(
            rows.T.dtype, np.floating
        )
        self.history = History(planned=config.epochs, rows=len(rows.X))
        self.limit = max(limit, 1e-9)  # it may be up before the first step
        self.started = time.perf_counter()
        self._batch = np.empty((self.size, *rows.X.shape[1:]), rows.X.dtype)

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        history = self.history
        waited = history.epochs - history.best_epoch
        return (
            history.epochs == history.planned
            or history.out_of_time
            or waited >= self.patience
        )

    def epoch(self) -> None:
        """Take every training row once, then ask the validation rows."""
        order = self.rng.permutation(len(self.rows.X))
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
        if self.average is not None and steps % self.averaged_each:
            self.average.update()  # what is judged holds the latest weights
        if not np.isfinite(self.network.parameters).all():
            last = self._batch[: taken % self.size or self.size]
            raise diverged(self.network, last, steps, rate)
        self._validate(summed / taken, rate)
        self.history.out_of_time = steps < self.total and self.progress == 1.0

    def _step(self, chosen: NDArray[np.intp], rate: float, progress: float) -> float:
        """Move the weights once; return the summed loss of the chosen rows."""
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
        if self.average is not None and optimizer.steps % self.averaged_each == 0:
            self.average.update()
        return summed

    def _forward_backward(self, chosen: NDArray[np.intp], X: Array) -> float:
        """Fill the gradients from the chosen rows, copied into X; return their loss."""
        rows = self.rows
        # mode='clip' lets take write straight into `out`, without a copy.
        rows.X.take(chosen, 0, X, "clip")
        if self.augment is not None:
            self.augment(X, self.rng)
        Z = self.network.forward(X, True, self.rng)
        weights = None if rows.weights is None else rows.weights.take(chosen)
        value, dZ = self.loss(Z, rows.T.take(chosen), weights)
        self.network.backward(dZ)
        return value

    def _validate(self, loss: float, rate: float) -> None:
        """Write down the epoch, and keep its weights if they are the best so far."""
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
            if self.average is not None:
                self.average.swap()
            history.validation_loss.append(held_out)
            history.best_epoch = self.best.epoch
        history.seconds = self.seconds

    @property
    def progress(self) -> float:
        """How much is behind: of the steps or of the time, whichever is further."""
        steps = self.optimizer.steps / self.total
        if self.limit == math.inf:
            return min(steps, 1.0)
        return min(max(steps, self.seconds / self.limit), 1.0)

    @property
    def seconds(self) -> float:
        """Seconds since the first step; those before an interruption count."""
        return time.perf_counter() - self.started

    def finish(self) -> None:
        """Leave the chosen weights in the network."""
        if self.validation is not None:
            if not self.best.epoch:
                rate = self.history.learning_rate[-1]
                X, steps = self.validation.X, self.optimizer.steps
                raise diverged(self.network, X, steps, rate)
            self.best.restore()
        elif self.average is not None:
            self.average.swap()
        self.history.seconds = self.seconds


# What overflows is told as TrainingDiverged, not in NumPy's warnings.
@np.errstate(over="ignore", invalid="ignore")
def train(
    run: TrainingRun,
    watch: EpochCallback = lambda history: None,
    keep: Callable[[TrainingRun], None] = lambda run: None,
) -> History:
    """Fit the run's network in place; `keep` is given the run after each epoch.

    Raises TrainingDiverged when a loss or a parameter is no longer a number, or the
    validation loss never was one.
    """
    while not run.over:
        run.epoch()
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
        """Put the kept numbers back."""
        self.network.parameters[...] = self.parameters
        self.network.state[...] = self.state

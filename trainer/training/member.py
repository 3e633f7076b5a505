"""Fit one network of an ensemble from its own random stream: the task and its result.

Both are plain data, so that another process or machine can do the work.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from models.nn.layers.embeddings import FASTEST
from models.nn.network import Network, NetworkSpec
from models.storage.interfaces import StoredFile
from models.types import Array
from trainer.engines.blas import find_blas
from trainer.preparation.encoded import EncodedData, TrainingData
from trainer.preparation.partitions import PartitionedData
from trainer.training.checkpoint import Checkpoint
from trainer.training.common_epoch import Snapshots
from trainer.training.history import History
from trainer.training.initialization import initialize_from_data
from trainer.training.layer_stats import LayerStatsRecorder
from trainer.training.loop import TrainingRun, train
from trainer.training.losses import training_loss
from trainer.training.monotone import MonotonePenalty
from trainer.training.parameter_groups import is_realmlp

#: Of fewer rows every second network has slow waves: some tables need fast ones, which
#: overfit others, and different networks err less together. More rows can tell.
SLOW_WAVE_ROWS = 1_000
SLOW_WAVE = 1.0

DataT = TypeVar("DataT", bound=TrainingData)


@dataclass(frozen=True)
class SharedWork(Generic[DataT]):
    """The input of all tasks: rows, network, and the end of the time (`time.time`)."""

    data: DataT
    spec: NetworkSpec
    ends: float | None = None
    live: bool = False


@dataclass(frozen=True)
class StartingWeights:
    """The weights (N,) and the state (S,) that a warm start continues."""

    parameters: Array
    state: Array


@dataclass(frozen=True)
class MemberTask:
    """A network to fit, counted from 0; `rounds` of tasks share the time left.

    Training ends after epoch `until`, if it is given.
    """

    number: int
    stream: np.random.SeedSequence
    rounds: int
    checkpoint: StoredFile
    start: StartingWeights | None = None
    until: int | None = None


@dataclass(frozen=True)
class Epoch:
    """The message after an epoch, with the run itself if someone watches it live."""

    history: History
    run: TrainingRun | None = None


#: After an epoch; a sentence for the user; at the end.
Message: TypeAlias = Epoch | str | None


@dataclass(frozen=True)
class FittedArrays:
    """The result of a task; `spent` counts the seconds before an interruption.

    `snapshots` (K, N) and `snapshot_states` (K, S) are the weights after K epochs, from
    which `members_of` chooses; K is 0 if it is not to.
    """

    parameters: Array
    state: Array
    history: History
    spent: float
    ran_on: str
    snapshots: Array
    snapshot_states: Array

    def member(self, spec: NetworkSpec) -> Member:
        """Return the network that these arrays belong to."""
        network = Network(spec)
        network.parameters[...] = self.parameters
        network.state[...] = self.state
        return Member(network, self.history, self.ran_on)


@dataclass(frozen=True)
class Member:
    """One fitted network of an ensemble."""

    network: Network
    history: History
    #: Its machine, and the BLAS there.
    ran_on: str = ""


def fit_member(
    shared: SharedWork[Any], task: MemberTask, report: Callable[[Message], None]
) -> FittedArrays:
    """Fit one network, continuing from its checkpoint if there is one.

    Reports an Epoch after each epoch, sentences about the checkpoint, and None at the
    end. Raises TrainingDiverged.
    """
    left = math.inf if shared.ends is None else shared.ends - time.time()
    run = make_run(
        shared.data,
        shared.spec,
        task.number,
        task.stream,
        left / task.rounds,
        task.start,
        task.until,
    )
    checkpoint = Checkpoint(task.checkpoint, report)
    spent = run.history.seconds if checkpoint.restore(run) else 0.0
    recorder = LayerStatsRecorder(run)

    def keep(run: TrainingRun) -> None:
        recorder.record(run)
        checkpoint.save(run)

    watched = run if shared.live else None
    history = train(run, lambda history: report(Epoch(history, watched)), keep)
    report(None)
    network, ran_on = run.network, f"{platform.node()}: {find_blas()}"
    kept = run.snapshots or Snapshots(network, 0)
    return FittedArrays(
        network.parameters,
        network.state,
        history,
        spent,
        ran_on,
        kept.parameters,
        kept.state,
    )


def fit_encoded_member(
    shared: SharedWork[EncodedData],
    task: MemberTask,
    report: Callable[[Message], None],
) -> FittedArrays:
    """Fit one network where there is nothing but its arrays, as `fit_member` does."""
    return fit_member(shared, task, report)


def fit_partition(
    shared: SharedWork[PartitionedData],
    task: MemberTask,
    report: Callable[[Message], None],
) -> FittedArrays:
    """Fit one network where its files are, as `fit_member` does.

    Raises DataError if they are not the files that were read before.
    """
    return fit_member(shared, task, report)


def make_run(
    data: TrainingData,
    spec: NetworkSpec,
    number: int,
    stream: np.random.SeedSequence,
    limit: float = math.inf,
    start: StartingWeights | None = None,
    until: int | None = None,
) -> TrainingRun:
    """Return a member's run before its first step; it ends after epoch `until`."""
    starting, training = (np.random.default_rng(s) for s in stream.spawn(2))
    rows, validation = data.member_rows(number)
    config = data.train_config
    network = Network(spec)
    inputs = data.monotone_inputs
    monotone = None if inputs is None else MonotonePenalty(network, inputs, rows.X)
    if start is not None:
        network.parameters[...] = start.parameters
        network.state[...] = start.state
    elif is_realmlp(network):
        slow = number % 2 and len(rows.X) < SLOW_WAVE_ROWS
        fastest = SLOW_WAVE if slow else FASTEST
        initialize_from_data(network, rows.X, starting, fastest)
    else:
        network.initialize(starting)
    return TrainingRun(
        network,
        training_loss(data.task, config.label_smoothing),
        rows,
        validation,
        config,
        training,
        limit,
        data.augmentation(),
        until,
        monotone,
    )

"""Fit the networks of a run, several at once, each from its own random stream."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from models.errors import ConfigError
from models.nn.architectures import mlp, realmlp
from models.nn.layers.embeddings import FASTEST
from models.nn.network import Network, NetworkSpec, count_parameters
from models.storage.archive import MAX_FILE_BYTES
from models.storage.artefact import MAX_MANIFEST_BYTES
from models.storage.interfaces import StoredFile
from models.types import Array
from trainer.engines import EngineName, open_engine
from trainer.engines.blas import find_blas
from trainer.preparation.encoded import EncodedData, TrainingData, encode
from trainer.preparation.prepare import Prepared
from trainer.training.checkpoint import Checkpoint, Checkpoints
from trainer.training.common_epoch import Snapshots, common_epoch, kept_epochs
from trainer.training.history import History
from trainer.training.initialization import initialize_from_data
from trainer.training.layer_stats import LayerStatsRecorder
from trainer.training.loop import TrainingRun, train
from trainer.training.losses import training_loss
from trainer.training.parameter_groups import is_realmlp
from trainer.training.progress import ProgressCallback, ProgressTracker
from trainer.training.rounds import ROUND, Fit, expected_gain, fit_as_needed

#: Of fewer rows every second network has slow waves: some tables need fast ones, which
#: overfit others, and different networks err less together. More rows can tell.
SLOW_WAVE_ROWS = 1_000
SLOW_WAVE = 1.0
#: Parameters that fit into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4


@dataclass(frozen=True)
class Member:
    """One fitted network of an ensemble."""

    network: Network
    history: History
    #: Its machine, and the BLAS there.
    ran_on: str = ""


def network_spec(prepared: Prepared) -> NetworkSpec:
    """Return the configured network; ConfigError if no artefact could hold it."""
    config = prepared.config.network
    n_out, dropout = prepared.output.width, config.dropout
    layout = prepared.inputs.layout
    if config.architecture == "realmlp":
        spec = realmlp(layout, config.hidden, n_out, config.activation, dropout=dropout)
    else:
        spec = mlp(
            [prepared.inputs.width, *config.hidden, n_out],
            config.activation,
            batch_norm=config.batch_norm,
            dropout=dropout,
            categories=layout.categories,
        )
    n_parameters = count_parameters(spec)[0] * prepared.config.ensemble.members
    if n_parameters > MAX_PARAMETERS:
        raise ConfigError(
            f"network.hidden={config.hidden} makes {n_parameters:,} parameters, but an "
            f"artefact holds at most {MAX_PARAMETERS:,}"
        )
    return spec


def fit_members(
    prepared: Prepared,
    spec: NetworkSpec,
    streams: Sequence[np.random.SeedSequence],
    watch: ProgressCallback,
    checkpoints: Checkpoints,
    limit: float = math.inf,
    live: bool = False,
    place: EngineName = "processes",
    numbers: Sequence[int] | None = None,
) -> tuple[list[FittedArrays], float]:
    """Fit as many members as pay (`fit_as_needed`); return the seconds it took, too.

    With `numbers`, counted from 0, exactly those are fitted. `members_of` makes
    networks of the arrays.

    A member's numbers depend on its own stream only, not on how many are fitted at
    once, or where. Each gets an equal share of `limit` seconds. The seconds before an
    interruption are counted. With `live` the members are fitted one after the other,
    and `watch` gets each run itself.

    Raises TrainingDiverged, and GlassnetError if a process ends without a result.
    """
    count, threads = len(prepared.splits), prepared.config.runtime.threads
    # BLAS threads change the last bits of a product: never take all cores unasked.
    blas = threads or 1 if count == 1 else 1
    ends, wanted = deadline(limit), range(count) if numbers is None else numbers
    with (
        open_engine(
            place, 1 if live else threads, blas, checkpoints.say_once
        ) as engine,
        threadpool_limits(blas, user_api="blas"),
    ):
        started, total = time.perf_counter(), len(wanted)
        at_once, tracker = min(total, engine.size), ProgressTracker(total, watch, limit)
        shared = SharedWork(prepared, spec, ends, live)
        starts = [StartingWeights(n.parameters, n.state) for n in prepared.start]
        encoded = None
        if not engine.shares_memory:
            encoded = SharedWork(encode(prepared), spec, ends)

        def fit(numbers: Sequence[int], until: int | None = None) -> list[FittedArrays]:
            done = wanted.index(numbers[0])
            rounds = -(-(total - done) // at_once)  # all that may follow share the time
            tasks = [
                MemberTask(
                    number,
                    streams[number],
                    rounds - index // at_once,
                    checkpoints.file(number),
                    starts[number] if starts else None,
                    until,
                )
                for index, number in enumerate(numbers)
            ]

            def on_message(index: int, message: Message) -> None:
                if message is None:
                    tracker.finish(done + index)
                elif isinstance(message, str):
                    checkpoints.say_once(message)
                else:
                    tracker.update(done + index, message.history, message.run)

            if encoded is None:
                return engine.map(fit_member, shared, tasks, on_message)
            return engine.map(fit_encoded_member, encoded, tasks, on_message)

        fitted = as_needed(prepared, spec, fit) if numbers is None else fit(numbers)
    spent = sum(arrays.spent for arrays in fitted) / at_once
    return fitted, time.perf_counter() - started + spent


def as_needed(
    prepared: Prepared, spec: NetworkSpec, fit: Fit[FittedArrays]
) -> list[FittedArrays]:
    """Return what `fit` makes of the numbers of as many networks as pay."""

    def gain_of_more(fitted: Sequence[FittedArrays]) -> float:
        return expected_gain(prepared, members_of(fitted, spec))

    config, count = prepared.config, len(prepared.splits)
    epoch_of = shared_epoch if config.train.choose_epoch == "together" else None
    return fit_as_needed(
        count, config.ensemble.minimum_gain, fit, gain_of_more, epoch_of
    )


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


def members_of(fitted: Sequence[FittedArrays], spec: NetworkSpec) -> list[Member]:
    """Return the networks at the epoch that the first round chose, if it chose one.

    A later network is as if it was trained no longer, also if a run of its own fitted
    it.
    """
    epoch = shared_epoch(fitted)
    if epoch is None:
        return [arrays.member(spec) for arrays in fitted]
    index = kept_epochs(fitted[0].history.planned).index(epoch)
    return [
        dataclasses.replace(
            arrays,
            parameters=arrays.snapshots[index],
            state=arrays.snapshot_states[index],
            history=dataclasses.replace(arrays.history, best_epoch=epoch)
            if number < ROUND
            else arrays.history.until(epoch),
        ).member(spec)
        for number, arrays in enumerate(fitted)
    ]


def shared_epoch(fitted: Sequence[FittedArrays]) -> int | None:
    """Return the best epoch of the first round, or None if each network has its own.

    With a time limit each run has a schedule of its own.
    """
    histories = [arrays.history for arrays in fitted]
    untrained = any(h.out_of_time or not h.epochs for h in histories)
    if untrained or not len(fitted[0].snapshots):
        return None
    return common_epoch(histories, ROUND)


def fit_encoded_member(
    shared: SharedWork[EncodedData],
    task: MemberTask,
    report: Callable[[Message], None],
) -> FittedArrays:
    """Fit one network where there is nothing but its arrays, as `fit_member` does."""
    return fit_member(shared, task, report)


def deadline(limit: float) -> float | None:
    """Return the time (`time.time`) in `limit` seconds, or None if there is no limit.

    All machines of a cluster know it, where `time.perf_counter` is each one's own.
    """
    return None if limit == math.inf else time.time() + limit


def time_limit_note(members: Sequence[Member]) -> list[str]:
    """Return a sentence on the epochs trained if the time limit ended training."""
    histories = [member.history for member in members]
    if not any(history.out_of_time for history in histories):
        return []
    epochs = ", ".join(str(history.epochs) for history in histories)
    planned = histories[0].planned
    return [f"the time limit ended training in epoch {epochs} of {planned}"]


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
    )

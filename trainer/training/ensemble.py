"""Fit the networks of a run, several at once, and choose their epoch."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from models.errors import ConfigError
from models.nn.architectures import mlp, realmlp
from models.nn.network import NetworkSpec, count_parameters
from models.storage.archive import MAX_FILE_BYTES
from models.storage.artefact import MAX_MANIFEST_BYTES
from trainer.engines import EngineName, open_engine
from trainer.preparation.encoded import encode, partition
from trainer.preparation.prepare import Prepared
from trainer.training.checkpoint import Checkpoints
from trainer.training.common_epoch import common_epoch, kept_epochs
from trainer.training.member import (
    FittedArrays,
    Member,
    MemberTask,
    Message,
    SharedWork,
    StartingWeights,
    fit_encoded_member,
    fit_member,
    fit_partition,
)
from trainer.training.progress import ProgressCallback, ProgressTracker
from trainer.training.rounds import Fit, expected_gain, first_round, fit_as_needed

#: Parameters that fit into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4


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
        encoded, partitioned = None, None
        if not engine.shares_memory and prepared.shares is not None:
            partitioned = SharedWork(partition(prepared), spec, ends)
        elif not engine.shares_memory:
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

            if partitioned is not None:
                return engine.map(fit_partition, partitioned, tasks, on_message)
            if encoded is not None:
                return engine.map(fit_encoded_member, encoded, tasks, on_message)
            return engine.map(fit_member, shared, tasks, on_message)

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
    first = first_round(len(prepared.splits[0].train))
    return fit_as_needed(
        count, first, config.ensemble.minimum_gain, fit, gain_of_more, epoch_of
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
    first = first_round(fitted[0].history.rows)
    return [
        dataclasses.replace(
            arrays,
            parameters=arrays.snapshots[index],
            state=arrays.snapshot_states[index],
            history=dataclasses.replace(arrays.history, best_epoch=epoch)
            if number < first
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
    return common_epoch(histories, first_round(histories[0].rows))


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

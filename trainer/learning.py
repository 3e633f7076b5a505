"""Every network of a run, fitted: some at once, each from its own stream of chance."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from threading import Event

import numpy as np
from threadpoolctl import threadpool_limits

from models.architectures import mlp, realmlp
from models.artefact import MAX_FILE_BYTES, MAX_MANIFEST_BYTES
from models.errors import ConfigError
from models.network import Network, NetworkSpec, sizes
from trainer.checkpoint import Checkpoints
from trainer.groups import is_realmlp
from trainer.health import Watch
from trainer.initialization import initialize_from_data
from trainer.loop import History, Run, train
from trainer.preparation import Prepared, layout_of
from trainer.replica import parts
from trainer.standing import Course, Watcher

#: What fits into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4
#: How long Ctrl-C may go unseen.
WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Member:
    """One fitted network of an ensemble."""

    network: Network
    history: History


def network_spec(prepared: Prepared) -> NetworkSpec:
    """Return the configured network; ConfigError if no artefact could hold it."""
    config = prepared.config.network
    assert config.hidden is not None and config.activation is not None
    n_out, dropout = prepared.output.width, config.dropout or 0.0
    layout = layout_of(prepared.inputs)
    if config.architecture == "realmlp":
        spec = realmlp(layout, config.hidden, n_out, config.activation, dropout=dropout)
    else:
        spec = mlp(
            [prepared.inputs.width, *config.hidden, n_out],
            config.activation,
            batch_norm=bool(config.batch_norm),
            dropout=dropout,
            categories=layout.categories,
        )
    n_parameters = sizes(spec)[0] * (prepared.config.ensemble.members or 1)
    if n_parameters > MAX_PARAMETERS:
        raise ConfigError(
            f"network.hidden={config.hidden} makes {n_parameters:,} parameters, "
            f"an artefact holds {MAX_PARAMETERS:,}"
        )
    return spec


def learn_all(
    prepared: Prepared,
    spec: NetworkSpec,
    streams: Sequence[np.random.SeedSequence],
    watch: Watcher,
    checkpoints: Checkpoints,
    limit: float = math.inf,
) -> tuple[list[Member], float]:
    """Fit every member, some at once; return them with the seconds it took.

    A member's numbers depend on its own stream alone: how many are fitted at once
    changes nothing but the time. Of a `limit` in seconds each gets an equal share. The
    seconds before an interruption are counted.
    """
    count = len(prepared.splits)
    at_once = min(count, prepared.config.runtime.threads or _cores())
    turns = -(-count // at_once)
    course = Course(count, watch, limit)
    started = time.perf_counter()
    spent = [0.0] * count
    ended = Event()

    def one(number: int) -> Member:
        left = limit - (time.perf_counter() - started)
        share = left / (turns - number // at_once)
        run = make_run(prepared, spec, number, streams[number], share)
        checkpoint = checkpoints.of(number)
        if checkpoint.restore(run):
            spent[number] = run.history.seconds
        health = Watch(run)

        def keep(run: Run) -> None:
            health.look(run)
            checkpoint.save(run)
            if ended.is_set():
                raise CancelledError

        history = train(run, lambda history: course.tell(number, history, run), keep)
        course.ended(number)
        return Member(run.network, history)

    # Cores are better spent on members, or on parts of a batch, than on one product.
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(at_once) as pool,
    ):
        futures = [pool.submit(one, number) for number in range(count)]
        try:
            _wait(futures)
        finally:  # after an error or Ctrl-C nobody goes on
            ended.set()
            pool.shutdown(cancel_futures=True)
    members = [future.result() for future in futures]
    return members, time.perf_counter() - started + sum(spent) / at_once


def _wait(futures: Iterable[Future[Member]]) -> None:
    """Return when all are done; raise the first error as soon as it is there."""
    waiting = set(futures)
    while waiting:
        # In pieces: polars makes Ctrl-C wait for the wait to end (its issue 21739).
        done, waiting = wait(waiting, WAIT_SECONDS, FIRST_COMPLETED)
        for future in done:
            future.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def make_run(
    prepared: Prepared,
    spec: NetworkSpec,
    number: int,
    stream: np.random.SeedSequence,
    limit: float = math.inf,
) -> Run:
    """Return a member's run before its first step.

    One of several has a core; a lone network has all there are.
    """
    starting, training = (np.random.default_rng(s) for s in stream.spawn(2))
    split = prepared.splits[number]
    rows = prepared.rows(prepared.part(split.train))
    validation = prepared.validation(split)
    network = Network(spec)
    if is_realmlp(network):
        initialize_from_data(network, rows.X, starting)
    else:
        network.initialize(starting)
    config = prepared.config.train
    assert config.batch_size
    lone = len(prepared.splits) == 1
    return Run(
        network,
        prepared.loss,
        rows,
        None if validation is None else prepared.rows(validation),
        config,
        training,
        limit,
        prepared.augmentation(),
        parts(network, min(config.batch_size, len(rows.X))) if lone else 1,
        prepared.config.runtime.threads or _cores(),
    )

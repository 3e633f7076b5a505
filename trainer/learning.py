"""Every network of a run, fitted: some at once, each from its own stream of chance."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from models.architectures import mlp, realmlp
from models.artefact import MAX_FILE_BYTES, MAX_MANIFEST_BYTES
from models.errors import ConfigError
from models.network import Network, NetworkSpec, sizes
from models.types import Array
from trainer.checkpoint import Checkpoints
from trainer.groups import is_realmlp
from trainer.health import Watch
from trainer.history import History
from trainer.initialization import initialize_from_data
from trainer.loop import Run, train
from trainer.preparation import Prepared, layout_of
from trainer.replica import WORTH_A_PROCESS, parts
from trainer.standing import Course, Watcher
from trainer.team import Tell, share_out

#: What fits into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4


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
    own: dict[int, Run] = {}

    def one(number: int, tell: Tell) -> _Fitted:
        left = limit - (time.perf_counter() - started)
        share = left / (turns - number // at_once)
        run = own[number] = make_run(prepared, spec, number, streams[number], share)
        checkpoint = checkpoints.of(number, tell)
        spent = run.history.seconds if checkpoint.restore(run) else 0.0
        health = Watch(run)

        def keep(run: Run) -> None:
            health.look(run)
            checkpoint.save(run)

        history = train(run, tell, keep)
        tell(None)
        del own[number]
        return _Fitted(run.network.parameters, run.network.state, history, spent)

    def heard(number: int, message: History | str | None) -> None:
        if message is None:
            course.ended(number)
        elif isinstance(message, str):
            checkpoints.say_once(message)
        else:
            course.tell(number, message, own.get(number))

    # Cores are better spent on members, or on parts of a batch, than on one product.
    with threadpool_limits(1, user_api="blas"):
        fitted = share_out(count, at_once, one, heard)
    spent = sum(each.spent for each in fitted) / at_once
    members = [each.member(spec) for each in fitted]
    return members, time.perf_counter() - started + spent


@dataclass(frozen=True)
class _Fitted:
    """What a process says of a network it fitted; the seconds of an earlier start."""

    parameters: Array
    state: Array
    history: History
    spent: float

    def member(self, spec: NetworkSpec) -> Member:
        network = Network(spec)
        network.parameters[...] = self.parameters
        network.state[...] = self.state
        return Member(network, self.history)


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
    size = min(config.batch_size, len(rows.X))
    lone, long = len(prepared.splits) == 1, len(rows.X) >= WORTH_A_PROCESS * size
    return Run(
        network,
        prepared.loss,
        rows,
        None if validation is None else prepared.rows(validation),
        config,
        training,
        limit,
        prepared.augmentation(),
        parts(network, size) if lone else 1,
        (prepared.config.runtime.threads or _cores()) if long else 1,
    )

"""One run: read → prepare → fit → measure → gate → publish → promote."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.architectures import mlp, realmlp
from models.artefact import (
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    Artefact,
    Fingerprint,
    Golden,
    Manifest,
    Recipe,
    dump,
    load,
)
from models.errors import (
    ArtefactCorrupt,
    ConfigError,
    LabelNotFound,
    ModelNotFound,
    VersionNotFound,
)
from models.model import Model, Raw
from models.network import Network, NetworkSpec, sizes
from models.output import Task
from models.reference import Reference
from models.rows import json_rows
from models.store import ARTEFACT, CANDIDATE, PRODUCTION, RUN, Store
from trainer import evaluate, gate, targets
from trainer.config import Config
from trainer.data import Source, join, read
from trainer.groups import is_realmlp
from trainer.initialization import initialize_from_data
from trainer.loop import History, Watcher, train
from trainer.preparation import Part, Prepared, Say, layout_of, prepare

#: Rows of the golden request.
GOLDEN_ROWS = 3
#: What fits into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4


@dataclass(frozen=True)
class Request:
    """What `trainer fit` was asked for."""

    data: Source | str
    target: str | None
    model: str
    task: Task | None
    validation: Source | str | None
    config: Config
    promote: gate.Policy


@dataclass(frozen=True)
class Result:
    """What came of it, as `--json` prints it."""

    model: str
    version: int
    sha256: str
    task: Task
    metrics: dict[str, Any]
    promoted: bool
    reason: str
    timing: dict[str, float]
    config: dict[str, Any]


def fit(request: Request, store: Store, say: Say, watch: Watcher) -> Result:
    """Run the whole path and return the result; nothing is published on an error."""
    started = time.perf_counter()
    store.check_name(request.model)
    data = read(request.data, request.target)
    load_s = time.perf_counter() - started
    splitting, *streams = np.random.SeedSequence(request.config.seed).spawn(65)
    prepared = prepare(
        data,
        request.task,
        request.validation,
        request.config,
        np.random.default_rng(splitting),
        say,
    )
    spec = network_spec(prepared)
    members, train_s = learn_all(prepared, spec, streams, watch)
    networks = [member.network for member in members]
    encoded = dump(manifest(prepared, members), networks)
    # Prove it as a reader will: what is published is what was measured.
    candidate = load(encoded)
    parts, where = prepared.measured
    verdict = gate.decide(
        request.promote,
        candidate,
        _production(store, request.model, say),
        *_together(parts),
        where,
    )
    timing = _timing(prepared, members, train_s)
    timing |= {"load_s": round(load_s, 6)}
    timing |= {"total_s": round(time.perf_counter() - started, 6)}
    run = _run(request, timing, verdict)
    refused = CANDIDATE if request.promote == "auto" else None
    label = PRODUCTION if verdict.promoted else refused
    version = store.publish(request.model, {ARTEFACT: encoded, RUN: run}, label)
    say(f"published {request.model} version {version}")
    return Result(
        model=request.model,
        version=version,
        sha256=candidate.sha256,
        task=prepared.task,
        metrics=candidate.manifest.metrics,
        promoted=verdict.promoted,
        reason=verdict.reason,
        timing=timing,
        config=msgspec.to_builtins(prepared.config),
    )


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
) -> tuple[list[Member], float]:
    """Fit every member, some at once; return them with the seconds it took.

    A member's numbers depend on its own stream alone: how many are fitted at once
    changes nothing but the time.
    """
    count = len(prepared.splits)
    at_once = prepared.config.runtime.threads or len(os.sched_getaffinity(0))
    lock = Lock()

    def told(number: int) -> Watcher:
        def tell(history: History) -> None:
            with lock:
                history.member = f"{number + 1} of {count}" if count > 1 else ""
                watch(history)

        return tell

    def one(number: int) -> Member:
        return learn(prepared, spec, number, streams[number], told(number))

    # Cores are better spent on members than on one matrix product, and a product of
    # this size waits longer for a second thread than that saves.
    products = 1 if count > 1 else prepared.config.runtime.threads or 1
    started = time.perf_counter()
    with (
        threadpool_limits(products, user_api="blas"),
        ThreadPoolExecutor(min(count, at_once)) as pool,
    ):
        members = list(pool.map(one, range(count)))
    return members, time.perf_counter() - started


def learn(
    prepared: Prepared,
    spec: NetworkSpec,
    number: int,
    stream: np.random.SeedSequence,
    watch: Watcher,
) -> Member:
    """Fit one member to its training rows; its validation rows choose the epoch."""
    starting, training = (np.random.default_rng(s) for s in stream.spawn(2))
    split = prepared.splits[number]
    rows = prepared.rows(prepared.part(split.train))
    validation = prepared.validation(split)
    network = Network(spec)
    if is_realmlp(network):
        initialize_from_data(network, rows.X, starting)
    else:
        network.initialize(starting)
    history = train(
        network,
        targets.LOSSES[prepared.task],
        rows,
        None if validation is None else prepared.rows(validation),
        prepared.config.train,
        training,
        watch,
    )
    return Member(network, history)


def manifest(prepared: Prepared, members: Sequence[Member]) -> Manifest:
    """Measure the fitted networks and describe everything about them.

    Each network is measured on rows of its own that it has never seen; the figures
    are those of one network. Of all together they would be no worse, since log loss
    and squared error are convex, but no row is left that none of them has seen.
    """
    inputs, output = prepared.inputs, prepared.output
    parts, where = prepared.measured
    answers = [
        Model(inputs, [member.network], output).predict(part.raw)
        for member, part in zip(members, parts, strict=True)
        if len(part)
    ]
    answer = {
        name: np.concatenate([a[name] for a in answers]) for name in output.tensors
    }
    raw, target = _together(parts)
    figures = evaluate.metrics(output, answer, target)
    model = Model(inputs, [member.network for member in members], output)
    golden = json_rows(inputs, raw, slice(0, GOLDEN_ROWS))
    data, first = prepared.data, prepared.splits[0]
    own = prepared.own
    return Manifest(
        task=prepared.task,
        inputs=inputs,
        output=output,
        target=data.target_name,
        network=members[0].network.spec,
        recipe=Recipe(prepared.reasons),
        config=_lasting(prepared.config),
        data=Fingerprint(
            sha256=data.fingerprint(),
            rows=len(data),
            columns=data.n_columns,
            train_rows=len(first.train),
            validation_rows=len(first.validation if own is None else own),
            test_rows=len(first.test),
        ),
        metrics={**figures, "rows": len(target), "measured_on": where},
        history=[
            {
                **member.history.curves(),
                "best_epoch": [float(member.history.best_epoch)],
            }
            for member in members
        ],
        reference=Reference.fit(inputs, data.inputs, output, answer),
        golden=Golden(golden, model.answer_json(msgspec.json.encode(golden))),
    )


def _lasting(config: Config) -> dict[str, Any]:
    """Return the settings that the model depends on: not how fast it was made."""
    settings: dict[str, Any] = msgspec.to_builtins(config)
    del settings["runtime"]
    return settings


def _together(parts: Sequence[Part]) -> tuple[Raw, NDArray[Any]]:
    """Return the rows of all parts as one, in their order."""
    return join([part.raw for part in parts]), np.concatenate(
        [part.target for part in parts]
    )


def _timing(
    prepared: Prepared, members: Sequence[Member], train_s: float
) -> dict[str, float]:
    epochs = [member.history.epochs for member in members]
    rows = sum(
        n * len(split.train) for n, split in zip(epochs, prepared.splits, strict=True)
    )
    lone = members[0].history.seconds if len(members) == 1 else train_s
    return {
        "train_s": round(lone, 6),
        "epochs": sum(epochs),
        "rows_per_s": round(rows / max(lone, 1e-9), 1),
    }


def _production(store: Store, name: str, say: Say) -> Artefact | None:
    """Return what serves now; a damaged version stands in nobody's way."""
    try:
        return store.load(name, store.resolve(name, label=PRODUCTION))
    except (ModelNotFound, LabelNotFound):
        return None
    except (VersionNotFound, ArtefactCorrupt, OSError) as error:
        say(f"the version in production cannot be read and is not compared: {error}")
        return None


def _run(request: Request, timing: dict[str, float], verdict: gate.Verdict) -> bytes:
    """Return run.json: what is true of this run and not of the model."""
    run = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(request.data),
        "query": request.data.query if isinstance(request.data, Source) else None,
        "timing": timing,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return msgspec.json.format(msgspec.json.encode(run))

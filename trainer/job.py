"""One run: read → prepare → fit → measure → gate → publish → promote."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from models.architectures import mlp
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
from models.model import Model
from models.network import Network, sizes
from models.output import Task
from models.reference import Reference
from models.rows import json_rows
from models.store import ARTEFACT, CANDIDATE, PRODUCTION, RUN, Store
from trainer import evaluate, gate, targets
from trainer.config import Config
from trainer.data import read
from trainer.loop import History, Watcher, train
from trainer.preparation import Prepared, Say, prepare

#: Rows of the golden request.
GOLDEN_ROWS = 3
#: What fits into an artefact beside its manifest.
MAX_PARAMETERS = (MAX_FILE_BYTES - MAX_MANIFEST_BYTES) // 4


@dataclass(frozen=True)
class Request:
    """What `trainer fit` was asked for."""

    data: str
    target: str | None
    model: str
    task: Task | None
    validation: str | None
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
    splitting, starting, training = _generators(request.config.seed)
    prepared = prepare(
        data, request.task, request.validation, request.config, splitting, say
    )
    network = new_network(prepared, starting)
    history = learn(prepared, network, training, watch)
    encoded = dump(manifest(prepared, network, history), network)
    # Prove it as a reader will: what is published is what was measured.
    candidate = load(encoded)
    measured, where = prepared.measured
    verdict = gate.decide(
        request.promote,
        candidate,
        _production(store, request.model, say),
        measured.raw,
        measured.target,
        where,
    )
    rows = history.epochs * len(prepared.train)
    timing = {
        "load_s": round(load_s, 6),
        "train_s": round(history.seconds, 6),
        "epochs": history.epochs,
        "rows_per_s": round(rows / max(history.seconds, 1e-9), 1),
        "total_s": round(time.perf_counter() - started, 6),
    }
    run = _run(request, timing, verdict)
    version = store.publish(request.model, {ARTEFACT: encoded, RUN: run})
    say(f"published {request.model} version {version}")
    if verdict.promoted:
        store.promote(request.model, version, PRODUCTION)
    elif request.promote == "auto":
        store.promote(request.model, version, CANDIDATE)
    return Result(
        model=request.model,
        version=version,
        sha256=candidate.sha256,
        task=prepared.task,
        metrics=candidate.manifest.metrics,
        promoted=verdict.promoted,
        reason=verdict.reason,
        timing=timing,
        config=candidate.manifest.config,
    )


def _generators(seed: int) -> list[np.random.Generator]:
    """Return streams for splitting, starting weights and training.

    They are independent, so that a change to one use does not shift another.
    """
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]


def new_network(prepared: Prepared, rng: np.random.Generator) -> Network:
    """Return the configured network with starting weights drawn from `rng`."""
    config = prepared.config.network
    assert config.hidden is not None and config.activation is not None
    widths = [prepared.inputs.width, *config.hidden, prepared.output.width]
    spec = mlp(
        widths,
        config.activation,
        batch_norm=bool(config.batch_norm),
        dropout=config.dropout or 0.0,
    )
    n_parameters, _ = sizes(spec)
    if n_parameters > MAX_PARAMETERS:
        raise ConfigError(
            f"network.hidden={config.hidden} makes {n_parameters:,} parameters, "
            f"an artefact holds {MAX_PARAMETERS:,}"
        )
    network = Network(spec)
    network.initialize(rng)
    return network


def learn(
    prepared: Prepared, network: Network, rng: np.random.Generator, watch: Watcher
) -> History:
    """Fit the network to the training rows; the validation rows choose the epoch."""
    validation = prepared.validation
    return train(
        network,
        targets.LOSSES[prepared.task],
        prepared.rows(prepared.train),
        None if validation is None else prepared.rows(validation),
        prepared.config.train,
        rng,
        watch,
    )


def manifest(prepared: Prepared, network: Network, history: History) -> Manifest:
    """Measure the fitted network and describe everything about it."""
    model = Model(prepared.inputs, network, prepared.output)
    measured, where = prepared.measured
    answer = model.predict(measured.raw)
    figures = evaluate.metrics(prepared.output, answer, measured.target)
    golden = json_rows(prepared.inputs, measured.raw, slice(0, GOLDEN_ROWS))
    data, validation, test = prepared.data, prepared.validation, prepared.test
    return Manifest(
        task=prepared.task,
        inputs=prepared.inputs,
        output=prepared.output,
        target=data.target_name,
        network=network.spec,
        recipe=Recipe(prepared.reasons),
        config=msgspec.to_builtins(prepared.config),
        data=Fingerprint(
            sha256=data.fingerprint(),
            rows=len(data),
            columns=data.n_columns,
            train_rows=len(prepared.train),
            validation_rows=0 if validation is None else len(validation),
            test_rows=0 if test is None else len(test),
        ),
        metrics={**figures, "rows": len(measured), "measured_on": where},
        history={**history.curves(), "best_epoch": [float(history.best_epoch)]},
        reference=Reference.fit(
            prepared.inputs, prepared.train.raw, prepared.output, answer
        ),
        golden=Golden(golden, model.answer_json(msgspec.json.encode(golden))),
    )


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
        "data": request.data,
        "timing": timing,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return msgspec.json.format(msgspec.json.encode(run))

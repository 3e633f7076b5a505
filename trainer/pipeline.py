"""One run: read → prepare → check → fit → measure → gate → publish → promote."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from models.codecs import json_rows
from models.errors import TrainingDiverged
from models.features.predictions import Task
from models.features.reference import Reference
from models.model import Model
from models.nn.network import NetworkSpec
from models.storage.artefact import (
    Finding,
    Fingerprint,
    Golden,
    Manifest,
    Recipe,
    dump,
    load,
)
from models.storage.base import ARTEFACT, CANDIDATE, PRODUCTION, RUN, ArtefactStore
from trainer import report
from trainer.checks.data_checks import diagnose
from trainer.checks.production_guards import guard
from trainer.config.schema import Config
from trainer.data import Source, read
from trainer.evaluation import gate, row_fingerprints
from trainer.evaluation import metrics as evaluate
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.paired_comparison import Comparison
from trainer.evaluation.production import load_production
from trainer.preparation.prepare import Prepared, joined, prepare
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import Member, fit_members, network_spec
from trainer.training.progress import ProgressCallback
from trainer.types import Say

#: Rows of the golden request.
GOLDEN_ROWS = 3


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
    resume: bool = False
    live: bool = False
    time_limit: float = math.inf


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
    gate: tuple[Comparison, ...]
    timing: dict[str, float]
    config: dict[str, Any]


def run(
    request: Request, store: ArtefactStore, say: Say, watch: ProgressCallback
) -> Result:
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
    gate.check(prepared.config.gate, prepared)
    findings = diagnose(prepared, say)
    before = load_production(store, request.model, lambda said: None)
    guarded = guard(prepared, before, say)
    spec = network_spec(prepared)
    checkpoints = _checkpoints(request, prepared, spec, store, say)
    limit = request.time_limit - (time.perf_counter() - started)
    try:
        members, train_s = fit_members(
            prepared, spec, streams, watch, checkpoints, limit, request.live
        )
    except TrainingDiverged:
        checkpoints.clear()  # it would do so again
        raise
    prepared = calibrate(prepared, [member.network for member in members])
    for sentence in _cut_short(members):
        say(sentence)
    networks = [member.network for member in members]
    encoded = dump(manifest(prepared, members, findings), networks)
    # Prove it as a reader will: what is published is what was measured.
    candidate = load(encoded)
    parts, where = prepared.evaluation_parts
    rows = joined(parts)
    policy, standards = request.promote, prepared.config.gate
    production = load_production(store, request.model, say)
    verdict = gate.decide(policy, standards, candidate, production, rows, where)
    timing = _timing(prepared, members, train_s)
    total = time.perf_counter() - started
    timing |= {"load_s": round(load_s, 6), "total_s": round(total, 6)}
    run = _run(request, timing, verdict, guarded)
    refused = CANDIDATE if request.promote == "auto" else None
    label = PRODUCTION if verdict.promoted else refused
    measured = row_fingerprints.dump(
        row_fingerprints.fingerprint_rows(rows, prepared.inputs, prepared.output)
    )
    contents = {ARTEFACT: encoded, RUN: run, row_fingerprints.ROWS: measured}
    if prepared.config.runtime.report:
        figures = verdict.production
        contents |= report.keep(prepared, members, candidate, figures, say)
    version = store.publish(request.model, contents, label)
    checkpoints.clear()
    say(f"published {request.model} version {version}")
    if prepared.config.runtime.report:
        report.try_to_write(store, request.model, version, say)
    return Result(
        model=request.model,
        version=version,
        sha256=candidate.sha256,
        task=prepared.task,
        metrics=candidate.manifest.metrics,
        promoted=verdict.promoted,
        reason=verdict.reason,
        gate=verdict.comparisons,
        timing=timing,
        config=msgspec.to_builtins(prepared.config),
    )


def _checkpoints(
    request: Request,
    prepared: Prepared,
    spec: NetworkSpec,
    store: ArtefactStore,
    say: Say,
) -> Checkpoints:
    """Return the checkpoints of this very run, those of an earlier start or none."""
    own = prepared.user_validation
    found = Checkpoints(
        store.scratch,
        request.model,
        say,
        prepared.data.fingerprint,
        own and own.digest,
        _lasting(prepared.config),
        spec,
        prepared.task,
        np.__version__,
    )
    if not request.resume:
        found.clear()
    elif found.exist:
        say("going on where the last run was interrupted")
    else:
        say("no run on this data with these settings was interrupted: a new one begins")
    return found


def _cut_short(members: Sequence[Member]) -> list[str]:
    """Say what the time limit skipped, if it did."""
    histories = [member.history for member in members]
    if not any(history.out_of_time for history in histories):
        return []
    epochs = ", ".join(str(history.epochs) for history in histories)
    planned = histories[0].planned
    return [f"the time limit ended training in epoch {epochs} of {planned}"]


def manifest(
    prepared: Prepared, members: Sequence[Member], findings: Sequence[Finding] = ()
) -> Manifest:
    """Measure the fitted networks and describe everything about them.

    Each network is measured on rows of its own that it has never seen; the figures
    are those of one network. Of all together they would be no worse, since log loss
    and squared error are convex, but no row is left that none of them has seen. Rows
    that are the same for all, as the last in time, are answered by all together.
    """
    inputs, output = prepared.inputs, prepared.output
    parts, where = prepared.evaluation_parts
    networks = [member.network for member in members]
    model = Model(inputs, networks, output)
    models = [Model(inputs, [network], output) for network in networks]
    measured = zip([model] if len(parts) == 1 else models, parts, strict=True)
    answers = [each.predict(part.raw) for each, part in measured if len(part)]
    answer = {
        name: np.concatenate([a[name] for a in answers]) for name in output.tensors
    }
    rows = joined(parts)
    figures = evaluate.metrics(output, answer, rows.target, rows.weights)
    weight = prepared.config.data.weight
    basis = {} if weight is None else {"weighted_by": weight}
    golden = json_rows(inputs, rows.raw, slice(0, GOLDEN_ROWS))
    data, division, own = prepared.data, prepared.division, prepared.user_validation
    first = division.splits[0]
    return Manifest(
        task=prepared.task,
        inputs=inputs,
        output=output,
        target=data.target_name,
        network=members[0].network.spec,
        recipe=Recipe(
            (*prepared.reasons, *_cut_short(members)),
            division.by,
            division.groups,
            division.salt,
            tuple(findings),
        ),
        config=_lasting(prepared.config),
        data=Fingerprint(
            sha256=data.fingerprint,
            rows=len(data),
            columns=data.n_columns,
            train_rows=len(first.train),
            validation_rows=len(first.validation if own is None else own),
            test_rows=len(first.test),
        ),
        metrics={**figures, "rows": len(rows), "measured_on": where, **basis},
        history=[
            {
                **member.history.curves(),
                "best_epoch": [float(member.history.best_epoch)],
            }
            for member in members
        ],
        reference=Reference.fit(
            inputs, data.inputs, output, answer, prepared.all_rows.target
        ),
        golden=Golden(golden, model.answer_json(msgspec.json.encode(golden))),
    )


def _lasting(config: Config) -> dict[str, Any]:
    """Return the settings that the model's bytes depend on.

    These are not the gate's and the guards', and of the machine's only the BLAS threads
    that were asked for: they change the last bits of a lone network.
    """
    settings: dict[str, Any] = msgspec.to_builtins(config)
    del settings["runtime"], settings["gate"], settings["guards"]
    if config.ensemble.members == 1 and (config.runtime.threads or 1) > 1:
        settings["runtime"] = {"threads": config.runtime.threads}
    return settings


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


def _run(
    request: Request,
    timing: dict[str, float],
    verdict: gate.Verdict,
    guarded: Sequence[Finding],
) -> bytes:
    """Return run.json: what is true of this run and not of the model."""
    run = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(request.data),
        "query": request.data.query if isinstance(request.data, Source) else None,
        "timing": timing,
        "guards": guarded,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "gate": verdict.comparisons,
        "production": verdict.production,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return msgspec.json.format(msgspec.json.encode(run))

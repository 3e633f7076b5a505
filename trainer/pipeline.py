"""A run of the trainer: read, prepare, check, fit, measure, gate, publish, promote."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np

from models.errors import ProductionMoved, TrainingDiverged
from models.features.columns import Floats
from models.features.predictions import Predictions, Task
from models.features.reference import Reference
from models.model import Model
from models.nn.network import NetworkSpec
from models.storage.artefact import (
    Artefact,
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
from trainer.checks.data_checks import diagnose, report_findings
from trainer.checks.production_guards import guard, refusing
from trainer.config.schema import Config, ResolvedConfig
from trainer.data import Source, read
from trainer.evaluation import gate, row_fingerprints
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.measurement import Measurement, measure
from trainer.evaluation.paired_comparison import Comparison
from trainer.evaluation.prediction_intervals import fit_intervals
from trainer.evaluation.production import ProductionModel, load_production
from trainer.preparation.prepare import Evaluation, Prepared, prepare
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import (
    Member,
    fit_members,
    network_spec,
    time_limit_note,
)
from trainer.training.progress import ProgressCallback
from trainer.types import Messages, Say

#: Rows of the golden request, which every reader of the artefact replays.
GOLDEN_ROWS = 3


@dataclass(frozen=True)
class FitRequest:
    """The arguments of `trainer fit`."""

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
class FitResult:
    """The result of a run, as `--json` prints it."""

    model: str
    version: int
    sha256: str
    task: Task
    metrics: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    baselines: dict[str, dict[str, float]]
    promoted: bool
    reason: str
    gate: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    diagnosis: str | None
    report: str | None
    data: Fingerprint
    timing: dict[str, float]
    config: dict[str, Any]


def run(
    request: FitRequest,
    store: ArtefactStore,
    messages: Messages,
    on_epoch: ProgressCallback,
) -> FitResult:
    """Run all steps; an error, such as TrainingDiverged, leaves the store as it was."""
    started, say = time.perf_counter(), messages.step
    store.check_name(request.model)
    store.check_writable()
    store.labels(request.model)  # damaged ones end the run now rather than at its end
    previous = load_production(store, request.model, lambda sentence: None)
    known = None if previous is None else previous.artefact.manifest.inputs
    data = read(request.data, request.target, request.config, known)
    load_s = time.perf_counter() - started
    report_findings(data.findings, request.config.data, messages.finding)
    streams = np.random.SeedSequence(request.config.seed).spawn(64)
    prepared = prepare(
        data, request.task, request.validation, request.config, messages.finding
    )
    findings, guard_findings = _check(prepared, previous, messages)
    spec = network_spec(prepared)
    checkpoints = _checkpoints(request, prepared, spec, store, say)
    limit = request.time_limit - (time.perf_counter() - started)
    try:
        members, train_s = fit_members(
            prepared, spec, streams, on_epoch, checkpoints, limit, request.live
        )
    except TrainingDiverged:
        checkpoints.clear()  # resuming would diverge again
        raise
    for sentence in time_limit_note(members):
        say(sentence)
    networks = [member.network for member in members]
    prepared = fit_intervals(calibrate(prepared, networks), networks)
    model = Model(prepared.inputs, networks, prepared.output)
    predictions = model.predict(prepared.evaluation.rows.raw)
    measurement = measure(prepared, model, predictions)
    encoded = dump(
        manifest(prepared, members, model, predictions, measurement, findings), networks
    )
    candidate = load(encoded)  # as a reader does: the gate measures what is published
    version, verdict, timing, diagnosis = _gate_and_publish(
        request,
        prepared,
        members,
        candidate,
        encoded,
        measurement.constant_losses,
        partial(_timing, prepared, members, train_s, load_s, started),
        guard_findings,
        store,
        say,
    )
    written = None
    checkpoints.clear()
    if prepared.config.runtime.report:
        written = report.try_to_write(store, request.model, version, say)
    return FitResult(
        model=request.model,
        version=version,
        sha256=candidate.sha256,
        task=prepared.task,
        metrics=candidate.manifest.metrics,
        promoted=verdict.promoted,
        intervals=candidate.manifest.intervals,
        baselines=candidate.manifest.baselines,
        reason=verdict.reason,
        gate=verdict.comparisons,
        findings=(*findings, *guard_findings),
        diagnosis=diagnosis,
        report=written,
        data=candidate.manifest.data,
        timing=timing,
        config=msgspec.to_builtins(prepared.config),
    )


def _is_example(request: FitRequest, evaluation: Evaluation) -> bool:
    """Tell whether there is nothing to judge: a few built-in rows, all learnt."""
    builtin = str(request.data).startswith("builtin:")
    return builtin and request.promote == "auto" and not evaluation.held_out


def _label(policy: gate.Policy, promoted: bool) -> str | None:
    """Return the label that is pointed at the version, if any."""
    if promoted:
        return PRODUCTION
    return CANDIDATE if policy == "auto" else None


def _check(
    prepared: Prepared, previous: ProductionModel | None, messages: Messages
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Print the findings on the data, and those on their changes, and return both."""
    gate.check(prepared.config.gate, prepared)
    findings = diagnose(prepared, messages.finding)
    guard_findings = guard(prepared, previous, messages.finding)
    for reason in prepared.reasons:
        messages.reason(reason)
    return findings, guard_findings


def _gate_and_publish(
    request: FitRequest,
    prepared: Prepared,
    members: Sequence[Member],
    candidate: Artefact,
    encoded: bytes,
    constant_losses: Floats,
    timing_now: Callable[[], dict[str, float]],
    guard_findings: Sequence[Finding],
    store: ArtefactStore,
    say: Say,
) -> tuple[int, gate.Verdict, dict[str, float], str | None]:
    """Compare with production and publish; again, if production moved in between."""
    evaluation = prepared.evaluation
    prints = row_fingerprints.fingerprint_rows(
        evaluation.rows, prepared.inputs, prepared.output
    )
    faults = refusing(guard_findings, prepared.config.guards)
    contents = {ARTEFACT: encoded, row_fingerprints.ROWS: row_fingerprints.dump(prints)}
    diagnosis = None
    while True:
        compared_with = store.labelled(request.model, PRODUCTION)
        production = load_production(store, request.model, say)
        verdict = gate.decide(
            request.promote,
            prepared.config.gate,
            candidate,
            production,
            evaluation,
            constant_losses,
            faults,
        )
        if _is_example(request, evaluation):
            verdict = gate.Verdict(True, "an example, too small to hold rows out")
        timing = timing_now()
        contents[RUN] = _run_json(request, timing, verdict, guard_findings)
        if prepared.config.runtime.report:
            diagnosis, record = report.record_run(
                prepared, members, candidate, verdict.production, say
            )
            contents |= record
        label = _label(request.promote, verdict.promoted)
        try:
            version = store.publish(request.model, contents, label, compared_with)
            return version, verdict, timing, diagnosis
        except ProductionMoved as moved:
            say(f"{moved}: comparing with that version")


def _checkpoints(
    request: FitRequest,
    prepared: Prepared,
    spec: NetworkSpec,
    store: ArtefactStore,
    say: Say,
) -> Checkpoints:
    """Return the checkpoints of this run: with --resume those an earlier start left."""
    validation = prepared.user_validation
    checkpoints = Checkpoints(
        store.scratch,
        request.model,
        say,
        prepared.data.fingerprint,
        validation and validation.digest,
        _model_settings(prepared.config),
        spec,
        prepared.task,
        np.__version__,
    )
    if not request.resume:
        checkpoints.clear()
    elif checkpoints.exist:
        say("resuming the interrupted run")
    else:
        say("found no interrupted run with these data and settings: starting a new one")
    return checkpoints


def manifest(
    prepared: Prepared,
    members: Sequence[Member],
    model: Model,
    predictions: Predictions,
    measurement: Measurement,
    findings: Sequence[Finding] = (),
) -> Manifest:
    """Return the manifest of the fitted networks.

    `predictions` are those for the evaluation rows, which were measured.
    """
    inputs, output = prepared.inputs, prepared.output
    rows, measured_on, _ = prepared.evaluation
    weight = prepared.config.data.weight
    basis = {} if weight is None else {"weighted_by": weight}
    golden = inputs.to_json(rows.raw, slice(0, GOLDEN_ROWS))
    data, division = prepared.data, prepared.split_plan
    first, validation = division.splits[0], prepared.user_validation
    return Manifest(
        task=prepared.task,
        inputs=inputs,
        output=output,
        target=data.target_name,
        network=members[0].network.spec,
        recipe=Recipe(
            (*prepared.reasons, *time_limit_note(members)),
            division.by,
            findings=tuple(findings),
            test_below=division.test_below,
            test_from=division.test_from,
        ),
        config=_model_settings(prepared.config),
        data=Fingerprint(
            sha256=data.fingerprint,
            rows=len(data),
            columns=data.n_columns,
            train_rows=len(first.train),
            validation_rows=len(first.validation if validation is None else validation),
            test_rows=len(first.test),
        ),
        metrics={
            **measurement.metrics,
            "rows": len(rows),
            "measured_on": measured_on,
            **basis,
        },
        history=[
            {
                **member.history.curves(),
                "best_epoch": [float(member.history.best_epoch)],
            }
            for member in members
        ],
        reference=Reference.fit(
            inputs, data.inputs, output, predictions, prepared.all_rows.target
        ),
        intervals=measurement.intervals,
        baselines=measurement.baselines,
        golden=Golden(golden, model.answer_json(msgspec.json.encode(golden))),
    )


def _model_settings(config: ResolvedConfig) -> dict[str, Any]:
    """Return the settings that the artefact's bytes depend on.

    Gate, guards and runtime are left out, except for several BLAS threads of a single
    network: they change the last bits of its weights.
    """
    settings: dict[str, Any] = msgspec.to_builtins(config)
    del settings["runtime"], settings["gate"], settings["guards"]
    if config.ensemble.members == 1 and (config.runtime.threads or 1) > 1:
        settings["runtime"] = {"threads": config.runtime.threads}
    return settings


def _timing(
    prepared: Prepared,
    members: Sequence[Member],
    train_s: float,
    load_s: float,
    started: float,
) -> dict[str, float]:
    epochs = [member.history.epochs for member in members]
    rows = sum(
        n * len(split.train) for n, split in zip(epochs, prepared.splits, strict=True)
    )
    seconds = members[0].history.seconds if len(members) == 1 else train_s
    return {
        "train_s": round(seconds, 6),
        "epochs": sum(epochs),
        "rows_per_s": round(rows / max(seconds, 1e-9), 1),
        "load_s": round(load_s, 6),
        "total_s": round(time.perf_counter() - started, 6),
    }


def _run_json(
    request: FitRequest,
    timing: dict[str, float],
    verdict: gate.Verdict,
    guard_findings: Sequence[Finding],
) -> bytes:
    """Return run.json: facts about this run that are not part of the artefact."""
    run = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(request.data),
        "query": request.data.query if isinstance(request.data, Source) else None,
        "timing": timing,
        "guards": guard_findings,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "gate": verdict.comparisons,
        "production": verdict.production,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return msgspec.json.format(msgspec.json.encode(run))

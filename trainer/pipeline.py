"""A run of the trainer: read, prepare, check, fit, measure, gate, publish, promote."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from models.errors import ProductionMoved
from models.features.predictions import Task
from models.storage.artefact import Finding, Fingerprint
from models.storage.base import (
    ARTEFACT,
    CANDIDATE,
    PRODUCTION,
    ROWS,
    RUN,
    ArtefactStore,
)
from trainer import report
from trainer.candidate import Candidate, fit_candidate
from trainer.candidate import FitRequest as FitRequest
from trainer.checks.production_guards import refusing
from trainer.data import Source
from trainer.evaluation import gate, row_fingerprints
from trainer.evaluation.paired_comparison import Comparison
from trainer.evaluation.production import load_production
from trainer.preparation.prepare import Evaluation
from trainer.training.progress import ProgressCallback
from trainer.types import Messages, Say


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
    check_store(request, store)
    production = load_production(store, request.model, lambda sentence: None)
    candidate = fit_candidate(request, store, messages, on_epoch, production)
    return publish(candidate, request, store, messages.step)


def publish(
    candidate: Candidate, request: FitRequest, store: ArtefactStore, say: Say
) -> FitResult:
    """Compare a candidate with production, publish it, and write its report."""
    started = time.perf_counter()
    check_store(request, store)
    version, verdict, timing, diagnosis = _gate_and_publish(
        candidate, request, store, started, say
    )
    candidate.checkpoints.clear()
    prepared, manifest = candidate.prepared, candidate.artefact.manifest
    written = None
    if prepared.config.runtime.report:
        written = report.try_to_write(store, request.model, version, say)
    return FitResult(
        model=request.model,
        version=version,
        sha256=candidate.artefact.sha256,
        task=prepared.task,
        metrics=manifest.metrics,
        promoted=verdict.promoted,
        intervals=manifest.intervals,
        baselines=manifest.baselines,
        reason=verdict.reason,
        gate=verdict.comparisons,
        findings=(*candidate.findings, *candidate.guard_findings),
        diagnosis=diagnosis,
        report=written,
        data=manifest.data,
        timing=timing,
        config=msgspec.to_builtins(prepared.config),
    )


def check_store(request: FitRequest, store: ArtefactStore) -> None:
    """Find at once what would end the run after hours, such as damaged labels."""
    store.check_name(request.model)
    store.check_writable()
    store.labels(request.model)


def _is_example(request: FitRequest, evaluation: Evaluation) -> bool:
    """Tell whether there is nothing to judge: a few built-in rows, all learnt."""
    builtin = str(request.data).startswith("builtin:")
    return builtin and request.promote == "auto" and not evaluation.held_out


def _label(policy: gate.Policy, promoted: bool) -> str | None:
    """Return the label that is pointed at the version, if any."""
    if promoted:
        return PRODUCTION
    return CANDIDATE if policy == "auto" else None


def _gate_and_publish(
    candidate: Candidate,
    request: FitRequest,
    store: ArtefactStore,
    started: float,
    say: Say,
) -> tuple[int, gate.Verdict, dict[str, float], str | None]:
    """Compare with production and publish; again, if production moved in between."""
    prepared = candidate.prepared
    evaluation = prepared.evaluation
    prints = row_fingerprints.fingerprint_rows(
        evaluation.rows, prepared.inputs, prepared.output
    )
    contents = {
        ARTEFACT: candidate.encoded,
        ROWS: row_fingerprints.dump(prints),
    }
    diagnosis = None
    while True:
        compared_with = store.labelled(request.model, PRODUCTION)
        production = load_production(store, request.model, say)
        verdict = gate.decide(
            request.promote,
            prepared.config.gate,
            candidate.artefact,
            production,
            evaluation,
            candidate.constant_losses,
            refusing(candidate.guard_findings, prepared.config.guards),
        )
        if verdict.reason == gate.FIRST and compared_with is not None:
            reason = f"version {compared_with}, in production, cannot be read"
            verdict = msgspec.structs.replace(verdict, reason=reason)
        if _is_example(request, evaluation):
            verdict = gate.Verdict(True, "an example, too small to hold rows out")
        total = candidate.timing["total_s"] + time.perf_counter() - started
        timing = {**candidate.timing, "total_s": round(total, 6)}
        contents[RUN] = _run_json(request, timing, verdict, candidate)
        if prepared.config.runtime.report:
            diagnosis, record = report.record_run(
                prepared, candidate.members, candidate.artefact, verdict.production, say
            )
            contents |= record
        label = _label(request.promote, verdict.promoted)
        try:
            version = store.publish(request.model, contents, label, compared_with)
            return version, verdict, timing, diagnosis
        except ProductionMoved as moved:
            say(f"{moved}: comparing with that version")


def _run_json(
    request: FitRequest,
    timing: dict[str, float],
    verdict: gate.Verdict,
    candidate: Candidate,
) -> bytes:
    """Return run.json: facts about this run that are not part of the artefact."""
    run = {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(request.data),
        "query": request.data.query if isinstance(request.data, Source) else None,
        "timing": timing,
        "guards": candidate.guard_findings,
        "promoted": verdict.promoted,
        "reason": verdict.reason,
        "gate": verdict.comparisons,
        "production": verdict.production,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "networks": [member.ran_on for member in candidate.members],
    }
    return msgspec.json.format(msgspec.json.encode(run))

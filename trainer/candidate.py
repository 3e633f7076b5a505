"""The first half of a run: read, prepare, check, fit, measure. Nothing is published."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from models.errors import TrainingDiverged
from models.features.columns import Floats
from models.features.inputs import Inputs
from models.features.predictions import Output, Predictions, Task
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
from models.storage.base import ArtefactStore
from trainer.checks.data_checks import diagnose, report_findings
from trainer.checks.production_guards import guard
from trainer.config.schema import Config, ResolvedConfig
from trainer.data import Source, read
from trainer.engines import EngineName
from trainer.evaluation import gate
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.measurement import Measurement, measure
from trainer.evaluation.monotone_check import check_directions
from trainer.evaluation.prediction_intervals import fit_intervals
from trainer.evaluation.production import ProductionModel
from trainer.preparation.prepare import Prepared, prepare
from trainer.training.blend import blend
from trainer.training.checkpoint import Checkpoints
from trainer.training.ensemble import (
    fit_members,
    members_of,
    network_spec,
    time_limit_note,
)
from trainer.training.member import FittedArrays, Member
from trainer.training.member_files import gather_members
from trainer.training.progress import ProgressCallback
from trainer.types import Messages, Say

#: Whether a run fits all networks, one that another run will need, or none: it takes
#: those that other runs have fitted.
Parts: TypeAlias = Literal["all", "one", "none"]
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
    engine: EngineName = "processes"
    parts: Parts = "all"


@dataclass(frozen=True)
class Candidate:
    """A fitted and measured ensemble, and its artefact as a reader loads it.

    `constant_losses` (n,) are those of the constant answer on the n evaluation rows.
    `timing` counts the seconds so far.
    """

    prepared: Prepared
    members: Sequence[Member]
    artefact: Artefact
    encoded: bytes
    constant_losses: Floats
    findings: tuple[Finding, ...]
    guard_findings: tuple[Finding, ...]
    timing: dict[str, float]
    checkpoints: Checkpoints


@dataclass(frozen=True)
class PreparedRun:
    """All that is known before the first step; `load_s` seconds read the data."""

    prepared: Prepared
    spec: NetworkSpec
    checkpoints: Checkpoints
    findings: tuple[Finding, ...]
    guard_findings: tuple[Finding, ...]
    started: float
    load_s: float


def prepare_run(
    request: FitRequest,
    store: ArtefactStore,
    messages: Messages,
    production: ProductionModel | None = None,
) -> PreparedRun:
    """Read, prepare and check the data, as `fit_candidate` does."""
    started = time.perf_counter()
    known: tuple[Inputs, Output] | None = None
    if production is not None:
        manifest = production.artefact.manifest
        known = manifest.inputs, manifest.output
    data = read(request.data, request.target, request.config, *(known or ()))
    load_s = time.perf_counter() - started
    for sentence in data.storage:
        messages.step(sentence)
    report_findings(data.findings, request.config.data, messages.finding)
    prepared = prepare(
        data,
        request.task,
        request.validation,
        request.config,
        messages.finding,
        None if production is None else production.artefact,
    )
    if prepared.shares is not None:
        messages.step(prepared.shares.reason)
    findings = _check(prepared, production, messages)
    spec = network_spec(prepared)
    checkpoints = _checkpoints(request, prepared, spec, store, messages.step)
    return PreparedRun(prepared, spec, checkpoints, *findings, started, load_s)


def fit_candidate(
    request: FitRequest,
    store: ArtefactStore,
    messages: Messages,
    on_epoch: ProgressCallback,
    production: ProductionModel | None = None,
) -> Candidate:
    """Fit and measure a candidate; the store takes its checkpoints.

    Columns are read as those of `production`, and compared with them. Raises
    TrainingDiverged, and DataError or ConfigError for data or settings that do not fit.
    """
    run = prepare_run(request, store, messages, production)
    prepared = run.prepared
    fitted, train_s = fit_networks(request, run, on_epoch)
    members = members_of(fitted, run.spec)
    for sentence in time_limit_note(members):
        messages.step(sentence)
    prepared, networks, held_out = blend(
        prepared.with_members(len(members)), [member.network for member in members]
    )
    prepared = calibrate(prepared, held_out, len(networks))
    prepared = fit_intervals(prepared, held_out, networks)
    model = Model(prepared.inputs, networks, prepared.output)
    kept = check_directions(prepared, model)
    prepared = replace(prepared, reasons=(*prepared.reasons, *kept))
    predictions = model.predict(prepared.evaluation.rows.raw)
    measurement = measure(prepared, model, predictions)
    encoded = dump(
        manifest(prepared, members, model, predictions, measurement, run.findings),
        networks,
    )
    return Candidate(
        prepared=prepared,
        members=members,
        artefact=load(encoded),  # as a reader does: the gate measures what is published
        encoded=encoded,
        constant_losses=measurement.constant_losses,
        findings=run.findings,
        guard_findings=run.guard_findings,
        timing=_timing(prepared, members, train_s, run.load_s, run.started),
        checkpoints=run.checkpoints,
    )


def fit_networks(
    request: FitRequest,
    run: PreparedRun,
    on_epoch: ProgressCallback,
    numbers: Sequence[int] | None = None,
) -> tuple[list[FittedArrays], float]:
    """Fit the networks in the time that is left; return them and the seconds taken.

    With `numbers` only those, counted from 0. Raises TrainingDiverged.
    """
    prepared, spec, checkpoints = run.prepared, run.spec, run.checkpoints
    if request.parts == "none":
        return gather_members(prepared, spec, checkpoints)
    streams = np.random.SeedSequence(request.config.seed).spawn(64)
    limit = request.time_limit - (time.perf_counter() - run.started)
    how = (limit, request.live, request.engine, numbers)
    try:
        return fit_members(prepared, spec, streams, on_epoch, checkpoints, *how)
    except TrainingDiverged:
        checkpoints.clear()  # resuming would diverge again
        raise


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
        [hashlib.sha256(n.parameters.data).hexdigest() for n in prepared.start],
        spec,
        prepared.task,
        np.__version__,
    )
    if request.parts != "all":
        return checkpoints  # others of the same run may have left theirs
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
    first, validation = prepared.common_split, prepared.user_validation
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

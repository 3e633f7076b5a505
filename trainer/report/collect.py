"""Gather what the report needs from the rows, while the run still holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.features.inputs import RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text
from models.storage.artefact import Artefact
from trainer.data import take
from trainer.data.dataset import evenly_spaced
from trainer.evaluation import metrics
from trainer.preparation.prepare import Part, Prepared
from trainer.report import curves, importance
from trainer.report.dependence import partial_dependence
from trainer.report.importance import evenly_spaced_rows
from trainer.report.record import Mistake, Points, Production, Record
from trainer.report.rendering import number
from trainer.training.member import Member

#: Rows predicted for the report.
MAX_ROWS = 50_000
#: Points of a scatter plot.
MAX_POINTS = 800
#: Worst predictions shown.
MAX_MISTAKES = 8
#: Columns shown of a row, and characters of a value: a report must not hold the data.
MAX_COLUMNS, MAX_CHARACTERS = 12, 80


def gather(
    prepared: Prepared,
    members: Sequence[Member],
    artefact: Artefact,
    production: dict[str, float] | None,
) -> Record:
    """Return the record of a run, from predictions of its held-out rows."""
    output = artefact.model.output
    rows = evenly_spaced_rows(prepared.evaluation.rows, MAX_ROWS)
    predictions = artefact.model.predict(rows.raw)
    history, train = members[0].history, prepared.config.train
    assert train.batch_size is not None
    record = Record(
        rows=len(rows),
        measured=artefact.manifest.metrics["rows"],
        where=artefact.manifest.metrics["measured_on"],
        steps_an_epoch=-(-history.rows // min(train.batch_size, history.rows)),
        health=[member.history.health for member in members],
        production=None if production is None else Production(production),
    )
    _predictions(record, output, predictions, rows.target)
    _importance(record, artefact, rows)
    record.mistakes = _mistakes(artefact, predictions, rows, record)
    return record


def _predictions(
    record: Record, output: Output, predictions: Predictions, target: Any
) -> None:
    """Record the curves and tables of the predictions."""
    if isinstance(output, Classification):
        P = predictions["probabilities"]
        record.confusion = curves.confusion(output, P, target)
        record.roc = curves.roc(output, P, target)
        record.precision_recall = curves.precision_recall(output, P, target)
        record.reliability = curves.reliability(P, target)
        if len(output.classes) == 2:
            record.thresholds = curves.thresholds(P, target)
            record.lift = curves.lift(output, P, target)
        return
    rows = evenly_spaced(len(target), MAX_POINTS)
    record.points = Points(
        [float(f"{x:.5g}") for x in target[rows]],
        [float(f"{x:.5g}") for x in predictions["value"][rows]],
    )


def _importance(record: Record, artefact: Artefact, rows: Part) -> None:
    """Record what each column, or each pixel, counts."""
    inputs = artefact.model.inputs
    if not inputs.is_image:
        record.weights = importance.column_importances(artefact, rows)
        names = [column.name for column in record.weights]
        record.dependence = partial_dependence(artefact.model, rows, names)
        return
    sizes = importance.mean_attributions(artefact, rows)
    ((_, shape),) = inputs.tensors.values()
    sizes = sizes.reshape(shape)
    if sizes.ndim == 3:  # sum over the channels, the shortest axis
        sizes = sizes.sum(axis=int(np.argmin(sizes.shape)))
    if sizes.ndim == 2:
        record.saliency = np.round(sizes / max(sizes.max(), 1e-30), 3).tolist()


def _mistakes(
    artefact: Artefact, predictions: Predictions, rows: Part, record: Record
) -> list[Mistake]:
    """Return the rows with the largest losses, the worst first."""
    output = artefact.model.output
    losses = metrics.losses(output, predictions, rows.target)
    worst = np.argsort(-losses, kind="stable")[:MAX_MISTAKES]
    raw: RawColumns = take(rows.raw, worst)
    as_json = artefact.model.inputs.to_json(raw, slice(0, len(worst)))
    mistakes = []
    for index, row in zip(worst.tolist(), as_json, strict=True):
        values, picture = _excerpt(row, [weight.name for weight in record.weights])
        if isinstance(output, Classification):
            truth = label_text(output.classes[rows.target[index]])
            predicted = label_text(predictions["label"][index])
            loss = float(np.exp(-losses[index]))
        else:
            truth = number(float(rows.target[index]), 5)
            predicted = number(float(predictions["value"][index]), 5)
            loss = float(predictions["value"][index] - rows.target[index])
        mistakes.append(Mistake(truth, predicted, loss, values, picture))
    return mistakes


def _excerpt(row: Any, important: list[str]) -> tuple[dict[str, Any], list[Any] | None]:
    """Return the most important values of a row, or its pixels if it is an image."""
    if isinstance(row, dict):
        return {n: _short(row[n]) for n in important[:MAX_COLUMNS]}, None
    values = np.asarray(row)
    if values.ndim == 1:
        named = dict(zip([f"x[{i}]" for i in range(len(values))], row, strict=True))
        return {n: named[n] for n in important[:MAX_COLUMNS]}, None
    is_image = values.ndim in (2, 3)
    return {}, np.round(values, 3).tolist() if is_image else None


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return value[:MAX_CHARACTERS] + "…"
    return value

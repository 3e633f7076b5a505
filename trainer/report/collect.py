"""While the rows are there: everything a report needs of them, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.features.inputs import RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text
from models.model import Model
from models.storage.artefact import Artefact
from trainer.data import take
from trainer.evaluation import metrics
from trainer.preparation.prepare import Part, Prepared, joined
from trainer.report import curves, importance
from trainer.report.markup import number
from trainer.report.record import Mistake, Points, Production, Record
from trainer.training.ensemble import Member

#: Rows that pictures are made from, points of a cloud, mistakes that are shown.
MOST_ROWS, MOST_POINTS, MOST_MISTAKES = 50_000, 800, 8
#: Columns of a mistake, and letters of a value: a report is no data set.
MOST_VALUES, MOST_LETTERS = 12, 80


def gather(
    prepared: Prepared,
    members: Sequence[Member],
    artefact: Artefact,
    production: dict[str, float] | None,
) -> Record:
    """Return the record of a run: its measured rows answered once more, and looked at.

    Each network answers the rows that it has not seen, as for the figures.
    """
    measured = _measured(prepared, artefact)
    answers = [model.predict(part.raw) for model, part in measured]
    output = artefact.model.output
    answer = {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}
    rows = joined([part for _, part in measured])
    history, train = members[0].history, prepared.config.train
    assert train.batch_size is not None
    record = Record(
        rows=len(rows),
        measured=artefact.manifest.metrics["rows"],
        where=artefact.manifest.metrics["measured_on"],
        constant=_constant(output, rows.target),
        steps_an_epoch=-(-history.rows // min(train.batch_size, history.rows)),
        health=[member.history.health for member in members],
        production=None if production is None else Production(production),
    )
    _answers(record, output, answer, rows.target)
    _columns(record, artefact, measured)
    record.mistakes = _mistakes(artefact, answer, rows, record)
    return record


def _measured(prepared: Prepared, artefact: Artefact) -> list[tuple[Model, Part]]:
    """Return the models that answer, each with rows it has not seen."""
    parts, _ = prepared.evaluation_parts
    model = artefact.model
    alone = [Model(model.inputs, [n], model.output) for n in model.networks]
    models = [model] if len(parts) == 1 else alone
    most = MOST_ROWS // len(parts)
    pairs = zip(models, parts, strict=True)
    return [(each, importance.spread(part, most)) for each, part in pairs if len(part)]


def _constant(output: Output, target: Any) -> float:
    """Return the log loss, or the standard deviation, of one answer for every row."""
    if not output.classes:
        return float(target.std())
    shares = np.bincount(target) / len(target)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _answers(record: Record, output: Output, answer: Predictions, target: Any) -> None:
    if isinstance(output, Classification):
        P = answer["probabilities"]
        record.confusion = curves.confusion(output, P, target)
        record.roc = curves.roc(output, P, target)
        record.precision_recall = curves.precision_recall(output, P, target)
        record.reliability = curves.reliability(P, target)
        return
    n = len(target)
    kept = np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int))
    record.points = Points(
        [float(f"{x:.5g}") for x in target[kept]],
        [float(f"{x:.5g}") for x in answer["value"][kept]],
    )


def _columns(
    record: Record, artefact: Artefact, measured: Sequence[tuple[Model, Part]]
) -> None:
    """Write down what each column counts, or each pixel."""
    inputs = artefact.model.inputs
    if not inputs.is_image:
        record.weights = importance.of_columns(artefact, measured)
        return
    sizes = importance.by_gradient(artefact, [part for _, part in measured])
    ((_, shape),) = inputs.tensors.values()
    sizes = sizes.reshape(shape)
    if sizes.ndim == 3:  # channels, wherever they are, have one picture
        sizes = sizes.sum(axis=int(np.argmin(sizes.shape)))
    if sizes.ndim == 2:
        record.saliency = np.round(sizes / max(sizes.max(), 1e-30), 3).tolist()


def _mistakes(
    artefact: Artefact, answer: Predictions, rows: Part, record: Record
) -> list[Mistake]:
    """Return the rows that were answered worst, the worst first."""
    output = artefact.model.output
    losses = metrics.losses(output, answer, rows.target)
    worst = np.argsort(-losses, kind="stable")[:MOST_MISTAKES]
    raw: RawColumns = take(rows.raw, worst)
    shown = artefact.model.inputs.to_json(raw, slice(0, len(worst)))
    found = []
    for place, row in zip(worst.tolist(), shown, strict=True):
        values, picture = _shown(row, [weight.name for weight in record.weights])
        if isinstance(output, Classification):
            truth = label_text(output.classes[rows.target[place]])
            said = label_text(answer["label"][place])
            loss = float(np.exp(-losses[place]))
        else:
            truth = number(float(rows.target[place]), 5)
            said = number(float(answer["value"][place]), 5)
            loss = float(answer["value"][place] - rows.target[place])
        found.append(Mistake(truth, said, loss, values, picture))
    return found


def _shown(row: Any, important: list[str]) -> tuple[dict[str, Any], list[Any] | None]:
    """Return a row's most important values, or its picture if it has one."""
    if isinstance(row, dict):
        return {n: _short(row[n]) for n in important[:MOST_VALUES]}, None
    values = np.asarray(row)
    if values.ndim == 1:
        named = dict(zip([f"x[{i}]" for i in range(len(values))], row, strict=True))
        return {n: named[n] for n in important[:MOST_VALUES]}, None
    drawn = values.ndim in (2, 3)
    return {}, np.round(values, 3).tolist() if drawn else None


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_LETTERS:
        return value[:MOST_LETTERS] + "…"
    return value

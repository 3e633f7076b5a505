"""Measures the ensemble on its evaluation rows, beside two baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.features.columns import Floats
from models.features.inputs import encode
from models.features.predictions import Predictions
from models.model import Model
from trainer.evaluation import baselines
from trainer.evaluation.clusters import clusters
from trainer.evaluation.intervals import Interval, intervals
from trainer.evaluation.linear_model import one_hot_width, sampled
from trainer.evaluation.metrics import losses, metrics
from trainer.preparation.prepare import Prepared


@dataclass(frozen=True)
class Measurement:
    """Metrics of the ensemble with their intervals, and the metrics of the baselines.

    `constant_losses` (n,) are the losses of the constant baseline, row by row.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baselines: dict[str, dict[str, float]]
    constant_losses: Floats


def measure(prepared: Prepared, model: Model, predictions: Predictions) -> Measurement:
    """Measure predictions of the evaluation rows."""
    rows, output = prepared.evaluation.rows, model.output
    answers = _baselines(prepared, model)
    return Measurement(
        metrics(output, predictions, rows.target, rows.weights),
        intervals(
            output,
            predictions,
            rows.target,
            rows.weights,
            clusters(rows, prepared.config.data.group),
        ),
        {
            name: metrics(output, answer, rows.target, rows.weights)
            for name, answer in answers.items()
        },
        losses(output, answers["constant"], rows.target),
    )


def _baselines(prepared: Prepared, model: Model) -> dict[str, Predictions]:
    """Return the predictions of both baselines, fitted without the test rows."""
    first, output, rows = prepared.common_split, model.output, prepared.evaluation.rows
    learnt = np.sort(np.concatenate([first.train, first.validation]))
    train = prepared.part(learnt)
    inputs = prepared.inputs
    width = one_hot_width(inputs.width, inputs.layout.categories)
    some = train.only(sampled(output, width, len(train)))
    target = prepared.learnt_target(train)
    answers = {"constant": baselines.constant(output, target, train.weights, len(rows))}
    Z, X = (encode(inputs, part.raw) for part in (some, rows))
    fitted = Z, prepared.learnt_target(some), some.weights
    linear = baselines.linear(inputs, output, fitted, X)
    return answers if linear is None else {**answers, "linear": linear}

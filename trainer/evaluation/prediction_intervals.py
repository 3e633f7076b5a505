"""Fits the prediction intervals of a regression on the validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from models.features.prediction_interval import PredictionInterval
from models.features.predictions import Regression, weighted_mean
from trainer.evaluation.held_out import HeldOut
from trainer.preparation.prepare import Prepared


def fit_intervals(prepared: Prepared, parts: Sequence[HeldOut]) -> Prepared:
    """Return the run with intervals in its output, if it predicts a number.

    Only some of the networks predict a held-out row. Their larger error makes up for
    the epoch, which was chosen on these rows.
    """
    output = prepared.output
    if not isinstance(output, Regression) or not parts:
        return prepared
    errors = [
        np.abs(weighted_mean(output.standard(part.Z), part.shares) - part.target)
        for part in parts
    ]
    spread = [part.spread for part in parts if part.spread is not None]
    interval = PredictionInterval.fit(np.concatenate(errors), np.concatenate(spread))
    output = msgspec.structs.replace(output, interval=interval)
    return dataclasses.replace(prepared, output=output)

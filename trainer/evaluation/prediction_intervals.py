"""Fits the prediction intervals of a regression on the validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from models.features.prediction_interval import (
    FLOORS,
    PredictionInterval,
    best_floor,
)
from models.features.predictions import Regression, weighted_mean
from models.nn.network import Network
from trainer.data.dataset import evenly_spaced
from trainer.evaluation.held_out import HeldOut
from trainer.preparation.prepare import Prepared

#: Test rows that show what the networks' disagreement tells of their errors: fewer do
#: not show it, and more tell nothing new.
MIN_ROWS, MAX_ROWS = 100, 2_000


def fit_intervals(
    prepared: Prepared, parts: Sequence[HeldOut], networks: Sequence[Network]
) -> Prepared:
    """Return the run with intervals in its output, if it predicts a number.

    Only some of the networks predict a held-out row. Their larger error makes up for
    the epoch, which was chosen on these rows. But most of the networks have learnt such
    a row, and disagree with the others where its error is large; on new rows
    disagreement tells much less. So how much it counts is chosen on the test rows.
    """
    output = prepared.output
    if not isinstance(output, Regression) or not parts:
        return prepared
    errors = [
        np.abs(weighted_mean(output.standard(part.Z), part.shares) - part.target)
        for part in parts
    ]
    spread = np.concatenate([part.spread for part in parts if part.spread is not None])
    floor = _floor(prepared, output, networks)
    if floor is None:
        floor = FLOORS[-1] * float(spread.mean()) or 1.0  # nearly one width for all
    interval = PredictionInterval.fit(np.concatenate(errors), spread, floor)
    output = msgspec.structs.replace(output, interval=interval)
    return dataclasses.replace(prepared, output=output)


def _floor(
    prepared: Prepared, output: Regression, networks: Sequence[Network]
) -> float | None:
    """Return the likeliest floor on the test rows, or None if they are few."""
    test = prepared.splits[0].test
    if len(test) < MIN_ROWS:
        return None
    some = test[evenly_spaced(len(test), MAX_ROWS)]
    rows = prepared.rows(prepared.part(some))
    values = output.standard(np.stack([each.predict(rows.X) for each in networks]))
    errors = np.abs(weighted_mean(values, output.weights) - rows.T)
    return best_floor(errors, output.spread(values))

"""Fits the prediction intervals of a regression on the validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np

from models.features.columns import Floats
from models.features.prediction_interval import PredictionInterval
from models.features.predictions import Regression
from models.nn.network import Network
from trainer.evaluation.calibration import validation_parts
from trainer.preparation.prepare import Part, Prepared


def fit_intervals(prepared: Prepared, networks: Sequence[Network]) -> Prepared:
    """Return the run with intervals in its output, if it predicts a number."""
    output = prepared.output
    if not isinstance(output, Regression):
        return prepared
    parts = [
        _errors(prepared, output, networks, indices, part)
        for indices, part in validation_parts(prepared)
    ]
    if not parts:
        return prepared
    errors, spread = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    interval = PredictionInterval.fit(errors, spread)
    output = msgspec.structs.replace(output, interval=interval)
    return dataclasses.replace(prepared, output=output)


def _errors(
    prepared: Prepared,
    output: Regression,
    networks: Sequence[Network],
    indices: Sequence[int],
    part: Part,
) -> tuple[Floats, Floats]:
    """Return absolute errors (n,) and the networks' disagreement (n,), both standard.

    Only the networks of `indices` have not learnt the rows. Fewer than all err more,
    which makes up for the epoch that they chose on these rows.
    """
    X, T, _ = prepared.rows(part)
    Z = output.standard(np.stack([network.predict(X) for network in networks]))
    return np.abs(Z[list(indices)].mean(axis=0) - T), Z.std(axis=0)

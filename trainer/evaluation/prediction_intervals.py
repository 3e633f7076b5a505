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

    Only the networks of `indices` have not learnt the rows. Their errors are larger
    than those of the whole ensemble: by the ambiguity decomposition (Krogh and Vedelsby
    1995) the squared error of the mean is the mean squared error minus the variance
    between the networks. The errors are scaled by the root of that ratio.
    """
    X, T, _ = prepared.rows(part)
    Z = output.standard(np.stack([network.predict(X) for network in networks]))
    spread = Z.std(axis=0)
    errors = np.abs(Z[list(indices)].mean(axis=0) - T)
    missing = 1.0 / len(indices) - 1.0 / len(networks)
    squared = float(np.mean(errors**2))
    if missing and squared:
        gain = missing * float(np.mean(spread**2)) / squared
        errors *= np.sqrt(max(1.0 - gain, 0.5))
    return errors, spread

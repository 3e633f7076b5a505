"""Calibrates a classifier's probabilities on rows that were held out.

Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks", arXiv
1706.04599): p^(1/T), with the T of the lowest log loss. A prior keeps T near 1 if there
are few rows. If it lowers the log loss, a little of the uniform distribution is mixed
in, so that no probability is closer to 0 or 1 than the rows can justify.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Classification, weighted_mean
from trainer.evaluation.held_out import HeldOut, effective_count
from trainer.preparation.prepare import Prepared

#: Standard deviation of log T under the prior.
PRIOR = 0.25
#: Upper limit of T and of 1 / T.
LIMIT = 5.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def calibrate(prepared: Prepared, parts: Sequence[HeldOut], members: int) -> Prepared:
    """Calibrate the output on the validation rows, which no gradient has seen."""
    output = prepared.output
    if not isinstance(output, Classification) or not prepared.config.calibrate:
        return prepared
    rows = sum(len(part.target) for part in parts)
    if not rows:
        return prepared
    output = calibrated(output, parts, members)
    reason = f"temperature {output.temperature:.3g}: from {rows:,} held-out rows"
    reasons = (*prepared.reasons, reason)
    return dataclasses.replace(prepared, output=output, reasons=reasons)


def calibrated(
    output: Classification, parts: Sequence[HeldOut], members: int
) -> Classification:
    """Return the output with the temperature and smoothing of the lowest log loss.

    `members` networks will answer together. If fewer of them answered a part, they are
    overconfident, which the mean over all members reduces: log T is multiplied by the
    share of the networks that answered, counted as if all had the same weight.
    """
    P = np.concatenate(
        [
            weighted_mean(
                np.stack([output.probabilities(z) for z in part.Z]), part.shares
            )
            for part in parts
        ]
    )
    target = np.concatenate([part.target for part in parts])
    if not len(target):
        return output
    weights = np.concatenate(
        [
            np.ones(len(part.target)) if part.weights is None else part.weights
            for part in parts
        ]
    )
    held_out = P, target, weights / weights.mean()
    answering = min(effective_count(len(part.Z), part.shares) for part in parts)
    count = effective_count(members, output.weights)
    log_t = _argmin(lambda x: _penalized_loss(output, held_out, x), math.log(LIMIT))
    smoothing = 1.0 / (len(target) + 1.0)
    alone = msgspec.structs.replace(output, temperature=math.exp(log_t))
    mixed = msgspec.structs.replace(alone, smoothing=smoothing)
    smoother = _log_loss(mixed, *held_out) < _log_loss(alone, *held_out)
    return msgspec.structs.replace(
        output,
        temperature=round(math.exp(log_t * answering / count), 6),
        smoothing=round(smoothing, 9) if smoother else 0.0,
    )


def _penalized_loss(
    output: Classification, held_out: tuple[Floats, NDArray[Any], Floats], log_t: float
) -> float:
    warm = msgspec.structs.replace(output, temperature=math.exp(log_t))
    prior = (log_t / PRIOR) ** 2 / 2.0
    return _log_loss(warm, *held_out) * len(held_out[1]) + prior


def _log_loss(
    output: Classification, P: Floats, target: NDArray[Any], weights: Floats
) -> float:
    likelihood = output.calibrate(P)[np.arange(len(P)), target]
    losses = -np.log(np.maximum(likelihood, np.finfo(float).tiny))
    return float((losses * weights).mean())


def _argmin(f: Callable[[float], float], limit: float, steps: int = 40) -> float:
    """Return the x in [-limit, limit] with the lowest f(x) (golden-section search)."""
    low, high = -limit, limit
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = f(a), f(b)
    for _ in range(steps):
        if fa <= fb:
            high, b, fb = b, a, fa
            a = high - _GOLDEN * (high - low)
            fa = f(a)
        else:
            low, a, fa = a, b, fb
            b = low + _GOLDEN * (high - low)
            fb = f(b)
    return (low + high) / 2.0

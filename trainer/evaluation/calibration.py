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
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Classification
from models.nn.network import Network
from models.types import Array
from trainer.preparation.prepare import Part, Prepared

#: Standard deviation of log T under the prior.
PRIOR = 0.25
#: Upper limit of T and of 1 / T.
LIMIT = 5.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class HeldOut(NamedTuple):
    """Held-out rows: the logits Z (E, n, O) of E networks, classes and weights (n,)."""

    Z: Array
    target: NDArray[Any]
    weights: Array | None = None


def calibrate(prepared: Prepared, networks: Sequence[Network]) -> Prepared:
    """Calibrate the output on the validation rows, which no gradient has seen."""
    output = prepared.output
    if not isinstance(output, Classification) or not prepared.config.calibrate:
        return prepared
    parts = [
        _held_out(prepared, [networks[index] for index in indices], part)
        for indices, part in validation_parts(prepared)
    ]
    rows = sum(len(part.target) for part in parts)
    if not rows:
        return prepared
    output = calibrated(output, parts, len(networks))
    reason = f"temperature {output.temperature:.3g}: from {rows:,} held-out rows"
    reasons = (*prepared.reasons, reason)
    return dataclasses.replace(prepared, output=output, reasons=reasons)


def validation_parts(prepared: Prepared) -> list[tuple[Sequence[int], Part]]:
    """Return the validation rows, with the networks that have not learnt them."""
    splits = prepared.splits
    first = splits[0].validation
    same = all(np.array_equal(first, split.validation) for split in splits[1:])
    if prepared.user_validation or same:
        parts = [(range(len(splits)), prepared.validation(splits[0]))]
    else:
        parts = [
            (range(index, index + 1), prepared.validation(split))
            for index, split in enumerate(splits)
        ]
    return [(indices, part) for indices, part in parts if part is not None]


def _held_out(prepared: Prepared, networks: Sequence[Network], part: Part) -> HeldOut:
    X, _, weights = prepared.rows(part)  # the weights of the loss
    Z = np.stack([network.predict(X) for network in networks])
    return HeldOut(Z, part.target, weights)


def calibrated(
    output: Classification, parts: Sequence[HeldOut], members: int
) -> Classification:
    """Return the output with the temperature and smoothing of the lowest log loss.

    `members` networks will answer together. If fewer of them answered a part, they are
    overconfident, which the mean over all members reduces: log T is multiplied by the
    share of the networks that answered.
    """
    P = np.concatenate(
        [np.mean([output.probabilities(z) for z in part.Z], axis=0) for part in parts]
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
    answering = min(len(part.Z) for part in parts)
    log_t = _argmin(lambda x: _penalized_loss(output, held_out, x), math.log(LIMIT))
    smoothing = 1.0 / (len(target) + 1.0)
    alone = msgspec.structs.replace(output, temperature=math.exp(log_t))
    mixed = msgspec.structs.replace(alone, smoothing=smoothing)
    smoother = _log_loss(mixed, *held_out) < _log_loss(alone, *held_out)
    return msgspec.structs.replace(
        output,
        temperature=round(math.exp(log_t * answering / members), 6),
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

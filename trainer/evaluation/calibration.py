"""How sure an answer may be: one temperature, found on rows that were held out.

Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks", arXiv
1706.04599): p^(1/T), with the T of the lowest log loss. A prior keeps T near 1 where
the rows are few, and a little of the even distribution is mixed in where they ask for
it, so that no answer is surer than they can tell.
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

#: Standard deviation of log T before any row is seen.
PRIOR = 0.25
#: T and 1 / T are never larger.
LIMIT = 5.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class HeldOut(NamedTuple):
    """Logits (E, n, width) of the networks that never saw n rows, and their classes.

    `weights` (n,) say what each row counts, where they differ.
    """

    Z: Array
    target: NDArray[Any]
    weights: Array | None = None


def calibrate(prepared: Prepared, networks: Sequence[Network]) -> Prepared:
    """Fit the output to the rows that chose the epochs, which no gradient has seen."""
    output = prepared.output
    if not isinstance(output, Classification) or not prepared.config.calibrate:
        return prepared
    groups: list[tuple[Sequence[Network], Part | None]]
    chosen = [split.validation for split in prepared.splits]
    if prepared.user_validation or all(
        np.array_equal(chosen[0], other) for other in chosen[1:]
    ):
        groups = [(networks, prepared.validation(prepared.splits[0]))]
    else:
        groups = [
            ([network], prepared.validation(split))
            for network, split in zip(networks, prepared.splits, strict=True)
        ]
    parts = [
        _held_out(prepared, group, part) for group, part in groups if part is not None
    ]
    rows = sum(len(part.target) for part in parts)
    if not rows:
        return prepared
    output = calibrated(output, parts, len(networks))
    reason = f"temperature {output.temperature:.3g}: it suits {rows:,} held-out rows"
    reasons = (*prepared.reasons, reason)
    return dataclasses.replace(prepared, output=output, reasons=reasons)


def _held_out(prepared: Prepared, networks: Sequence[Network], part: Part) -> HeldOut:
    X, _, weights = prepared.rows(part)  # they count as they do in the loss
    Z = np.stack([network.predict(X) for network in networks])
    return HeldOut(Z, part.target, weights)


def calibrated(
    output: Classification, parts: Sequence[HeldOut], members: int
) -> Classification:
    """Return the output with the temperature and smoothing that held-out rows ask for.

    `members` networks will answer together. Where fewer of them answered a part, what
    they are too sure of is theirs alone and shrinks with the mean over all: log T is
    multiplied by the share of networks that answered.
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
    log_t = _lowest(lambda x: _penalized(output, held_out, x), math.log(LIMIT))
    smoothing = 1.0 / (len(target) + 1.0)
    alone = msgspec.structs.replace(output, temperature=math.exp(log_t))
    mixed = msgspec.structs.replace(alone, smoothing=smoothing)
    wanted = _log_loss(mixed, *held_out) < _log_loss(alone, *held_out)
    return msgspec.structs.replace(
        output,
        temperature=round(math.exp(log_t * answering / members), 6),
        smoothing=round(smoothing, 9) if wanted else 0.0,
    )


def _penalized(
    output: Classification, held_out: tuple[Floats, NDArray[Any], Floats], log_t: float
) -> float:
    warm = msgspec.structs.replace(output, temperature=math.exp(log_t))
    prior = (log_t / PRIOR) ** 2 / 2.0
    return _log_loss(warm, *held_out) * len(held_out[1]) + prior


def _log_loss(
    output: Classification, P: Floats, target: NDArray[Any], weights: Floats
) -> float:
    chosen = output.calibrate(P)[np.arange(len(P)), target]
    losses = -np.log(np.maximum(chosen, np.finfo(float).tiny))
    return float((losses * weights).mean())


def _lowest(f: Callable[[float], float], limit: float, steps: int = 40) -> float:
    """Return where f is lowest in [-limit, limit] (golden-section search)."""
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

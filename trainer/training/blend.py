"""Weigh the networks of an ensemble, and a linear model beside them.

Each validation row is answered by the networks that have not learnt it, and by a linear
model of the rows they learnt. The share of the linear model is the one with the lowest
loss on all validation rows (stacking: Wolpert 1992). Networks that answered alone get
the credit of what their mean will save (see `trainer.training.rounds`). If the share
is above 0, the mean of the linear models is one more network; if it is 1, the only one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from models.features.columns import Floats
from models.features.predictions import NetworkWeights, Output, Regression
from models.nn.network import Network
from models.types import Array
from trainer.evaluation.held_out import HeldOut, validation_parts
from trainer.preparation.prepare import Prepared
from trainer.training.linear_member import fit_linear_network
from trainer.training.rounds import disagreement, outputs_of
from trainer.types import Rows

#: The shares that are tried.
SHARES = np.arange(21) / 20


class Ensemble(NamedTuple):
    """The networks of the model, and their predictions of the validation rows.

    `prepared` has the weights of the networks in its output.
    """

    prepared: Prepared
    networks: list[Network]
    held_out: list[HeldOut]


@dataclasses.dataclass
class _Part:
    """Validation rows, outputs Z (K, n, O) of networks, and a linear model."""

    rows: Rows
    Z: Array
    linear: Network | None


def blend(prepared: Prepared, networks: Sequence[Network]) -> Ensemble:
    """Return the ensemble of these networks and, if it helps, a linear model."""
    with_linear = prepared.config.ensemble.linear
    parts = []
    for indices, validation in validation_parts(prepared):
        rows = prepared.rows(validation)
        Z = np.stack([networks[index].predict(rows.X) for index in indices])
        linear = _fit_linear(prepared, networks[0], indices[0]) if with_linear else None
        parts.append(_Part(rows, Z, linear))
    linears = [part.linear for part in parts if part.linear is not None]
    share = 0.0
    if linears and len(linears) == len(parts):
        saved = _saved_by_all(prepared, networks, parts)
        share = _best_share(prepared.output, parts, saved)
    chosen = [*networks] if share < 1.0 else []
    if share:
        chosen.append(_mean(linears))
    weights = _weights(len(networks), share)
    output = msgspec.structs.replace(prepared.output, weights=weights)
    reasons = prepared.reasons
    if with_linear:
        reasons = (*reasons, f"a linear model has {share:.0%} of the weight")
    prepared = dataclasses.replace(prepared, output=output, reasons=reasons)
    held_out = [_held_out(output, part, share, chosen) for part in parts]
    return Ensemble(prepared, chosen, held_out)


def _fit_linear(prepared: Prepared, network: Network, index: int) -> Network | None:
    rows = prepared.rows(prepared.part(prepared.splits[index].train))
    monotone = prepared.monotone_inputs
    return fit_linear_network(network.spec, prepared.output, rows, monotone)


def _mean(networks: Sequence[Network]) -> Network:
    """Return the mean of linear networks, which is one too."""
    mean = Network(networks[0].spec)
    mean.parameters[...] = np.mean([n.parameters for n in networks], axis=0)
    return mean


def _weights(count: int, share: float) -> NetworkWeights:
    """Return the weights of `count` networks and a linear one; () if all are equal."""
    if not share or share == 1.0:
        return ()
    return (*[round((1.0 - share) / count, 9)] * count, round(share, 9))


def _saved_by_all(
    prepared: Prepared, networks: Sequence[Network], parts: Sequence[_Part]
) -> float:
    """Return how much less the mean of all networks loses than those that answered."""
    if min(len(part.Z) for part in parts) == len(networks):
        return 0.0
    saved = disagreement(prepared.output, outputs_of(prepared, networks))
    # `_losses` has the whole squared error.
    return 2.0 * saved if isinstance(prepared.output, Regression) else saved


def _best_share(output: Output, parts: Sequence[_Part], saved: float) -> float:
    """Return the share of the linear models with the lowest loss.

    The mean of all networks loses `saved` less than those that answered the rows.
    """
    losses, total = np.zeros(len(SHARES)), 0.0
    for part in parts:
        assert part.linear is not None
        one = _answers(output, part.Z).mean(axis=0)
        other = _answers(output, part.linear.predict(part.rows.X)[None])[0]
        counts = part.rows.weights
        total += len(part.rows.T) if counts is None else float(counts.sum())
        for index, share in enumerate(SHARES):
            mixed = (1.0 - share) * one + share * other
            found = _losses(output, mixed, part.rows)
            losses[index] += np.sum(found if counts is None else found * counts)
    # The loss is quadratic in the answer, at least nearly.
    losses = losses / total - saved * (1.0 - SHARES) ** 2
    return float(SHARES[int(np.argmin(losses))])


def _answers(output: Output, Z: Array) -> Floats:
    """Return values (K, n), or probabilities (K, n, C), of outputs Z (K, n, O)."""
    if isinstance(output, Regression):
        return output.standard(Z)
    return np.stack([output.probabilities(z) for z in Z])


def _losses(output: Output, answers: Floats, rows: Rows) -> Floats:
    """Return the squared error or log loss (n,) of answers (n,) or (n, C)."""
    if isinstance(output, Regression):
        return np.asarray((answers - rows.T) ** 2)
    likelihood = answers[np.arange(len(answers)), rows.T]
    return np.asarray(-np.log(np.maximum(likelihood, np.finfo(float).tiny)))


def _held_out(
    output: Output, part: _Part, share: float, networks: Sequence[Network]
) -> HeldOut:
    """Return the part as the networks, and the linear model's share, answer it."""
    Z, weights = part.Z, _weights(len(part.Z), share)
    if share:
        assert part.linear is not None
        linear = part.linear.predict(part.rows.X)[None]
        Z = linear if share == 1.0 else np.concatenate([Z, linear])
    spread = None
    if isinstance(output, Regression):
        every = np.stack([network.predict(part.rows.X) for network in networks])
        spread = output.spread(output.standard(every))
    return HeldOut(Z, part.rows.T, part.rows.weights, weights, spread)

"""Fit the networks of an ensemble as long as it pays, and no longer.

The first round chooses the epoch that all networks share, so those of further rounds
are trained no longer than that. Further rounds follow as long as they are expected to
pay. Every decision is about whole rounds, so that the number of processes changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from models.features.predictions import Output, Regression
from models.nn.network import Network
from models.types import Array
from trainer.config.recipes import FEW_ROWS
from trainer.data.dataset import evenly_spaced
from trainer.preparation.prepare import Prepared
from trainer.training.history import History

#: Networks of a round: a multiple of most numbers of cores.
ROUND = 4
#: Networks that choose the epoch of few rows: as many as hold out each row once.
FEW_ROWS_ROUND = 8
#: Rows on which networks are compared, at most.
MAX_ROWS = 2_000


FittedT = TypeVar("FittedT")
#: Fits the networks of these numbers, up to an epoch if one is given.
Fit = Callable[[Sequence[int], int | None], list[FittedT]]


def first_round(rows: int) -> int:
    """Return how many networks choose the epoch, by the training rows of one."""
    return FEW_ROWS_ROUND if rows < FEW_ROWS else ROUND


def fit_as_needed(
    count: int,
    first: int,
    least: float,
    fit: Fit[FittedT],
    gain_of_more: Callable[[Sequence[FittedT]], float],
    epoch_of: Callable[[Sequence[FittedT]], int | None] | None,
) -> list[FittedT]:
    """Return `count` fitted networks, or fewer if more are not worth their time.

    `first` of them are the first round. `gain_of_more` returns the share of the loss
    that one more round is expected to save; it has to be at least `least`, and is not
    asked if that is 0. `epoch_of` returns the epoch that a round chooses for all
    networks; it is None if each network has its own.
    """
    if not least and epoch_of is None:
        return fit(range(count), None)
    fitted = fit(range(min(first, count)), None)
    epoch = epoch_of(fitted) if epoch_of else None
    size = ROUND if least else count
    while len(fitted) < count and (not least or gain_of_more(fitted) >= least):
        fitted += fit(range(len(fitted), min(len(fitted) + size, count)), epoch)
    return fitted


class FittedNetwork(Protocol):
    """A fitted network with its history."""

    @property
    def network(self) -> Network: ...

    @property
    def history(self) -> History: ...


def expected_gain(prepared: Prepared, members: Sequence[FittedNetwork]) -> float:
    """Return the share of the loss that one more round is expected to save.

    The mean of E networks has the loss L + V / E: the loss L of infinitely many, and
    the variance V of one (Krogh and Vedelsby 1995, "Neural network ensembles, cross
    validation, and active learning"; for the log loss the mean divergence takes its
    place). V is measured by how far the networks disagree on rows that none has learnt,
    which needs no targets. Returns 1 for a single network.
    """
    E, histories = len(members), [member.history for member in members]
    losses = [h.validation_loss[h.best_epoch - 1] for h in histories]
    single = float(np.mean(losses))
    if E < 2 or single <= 0.0:
        return 1.0
    Z = outputs_of(prepared, [member.network for member in members])
    variance = min(disagreement(prepared.output, Z) * E / (E - 1), single)
    loss = max(single - variance * (1.0 - 1.0 / E), 1e-12)
    saved = (variance / E - variance / (E + ROUND)) / loss
    # A root changes half as much as its square.
    return saved / 2.0 if isinstance(prepared.output, Regression) else saved


def outputs_of(prepared: Prepared, networks: Sequence[Network]) -> Array:
    """Return the outputs (E, n, O) for n of the rows that no network has learnt."""
    rows = prepared.evaluation.rows
    X = prepared.rows(rows.only(evenly_spaced(len(rows), MAX_ROWS))).X
    return np.stack([network.predict(X) for network in networks])


def disagreement(output: Output, Z: Array) -> float:
    """Return how much the mean of E networks lowers the loss, from outputs (E, n, O).

    It is half the variance of values, as the training loss has half the squared error,
    or the mean Kullback-Leibler divergence from the mean probabilities.
    """
    if isinstance(output, Regression):
        return float(output.standard(Z).var(axis=0).mean()) / 2.0
    tiny = np.finfo(float).tiny
    P = np.maximum(np.stack([output.probabilities(z) for z in Z]), tiny)
    mean = P.mean(axis=0)
    return float((mean * (np.log(mean) - np.log(P))).sum(axis=2).mean())

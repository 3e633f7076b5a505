"""Compares training rows with evaluation rows: distributions and shared groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features import histograms
from models.features.columns import Values
from trainer.checks.column_profile import columns, sample, values_at
from trainer.preparation.prepare import Part, Prepared

#: With fewer rows on one side a range tells nothing.
FEWEST = 10


@dataclass(frozen=True)
class EvaluationSet:
    """Rows that are not trained on, their name, and whether they may be distributed
    differently.

    Rows split at random or by group have the distribution of the training rows; those
    of another file or of a later time may have another.
    """

    name: str
    part: Part
    may_differ: bool


def evaluation_sets(prepared: Prepared) -> Iterator[EvaluationSet]:
    """Yield the user's validation rows, and those that the first member holds out.

    Rows split by the hash of their values are left out: they cannot differ.
    """
    if prepared.user_validation is not None:
        yield EvaluationSet("the validation rows given", prepared.user_validation, True)
    by, split = prepared.split_plan.by, prepared.common_split
    rows = split.test if len(split.test) else split.validation
    if len(rows) and by != "hash":
        later = by == "time"
        name = "the latest rows" if later else "the held-out rows"
        yield EvaluationSet(name, prepared.part(rows), later)


class Shift(NamedTuple):
    """How much a column or the target differs from training to evaluation rows.

    `psi` is None if chance alone could reach it; `outside` is the share of the
    evaluation rows that are outside of the range of the training rows.
    """

    name: str
    psi: float | None
    outside: float


def shifts(prepared: Prepared, evaluation: EvaluationSet) -> Iterator[Shift]:
    """Yield the shift of each column and of the target."""
    for name, ours, theirs in _pairs(prepared, evaluation.part):
        yield Shift(name, psi(ours, theirs), _outside(ours, theirs))


def _outside(ours: Values, theirs: Values) -> float:
    """Return the share of numbers (m,) that are outside of the range of others (n,)."""
    if not isinstance(ours, np.ndarray) or not isinstance(theirs, np.ndarray):
        return 0.0
    ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
    if len(ours) < FEWEST or len(theirs) < FEWEST:
        return 0.0
    return float(((theirs < ours.min()) | (theirs > ours.max())).mean())


def _pairs(prepared: Prepared, other: Part) -> Iterator[tuple[str, Values, Values]]:
    """Yield each name with its values in some training rows and in other rows."""
    data, every = prepared.data, prepared.all_rows
    rows = sample(prepared.common_split.train, data.n_columns)
    both = (columns(raw, data.kinds) for raw in (every.raw, other.raw))
    pairs = zip(*both, strict=True)
    for (name, _, ours), (_, _, theirs) in pairs:
        yield name, values_at(ours, rows), theirs
    if isinstance(every.raw, np.ndarray) and every.raw.ndim > 2:
        # The mean of an image tells whether it is lighter, darker or inverted.
        yield "mean of x", _means(every.raw[rows]), _means(other.raw)
    target: Iterable[Values] = (every.target[rows], other.target)
    if prepared.task != "regression":
        target = [[str(code) for code in codes] for codes in target]
    ours, theirs = target
    yield data.target_name, ours, theirs


def _means(X: Any) -> NDArray[np.float64]:
    return np.asarray(X.reshape(len(X), -1).mean(axis=1), np.float64)


def psi(ours: Values, theirs: Values) -> float | None:
    """Return the PSI over ten bins of equal share, or over the commonest categories.

    Returns None if chance alone could reach it.
    """
    bins: Any
    if isinstance(ours, np.ndarray):
        bins = histograms.Histogram.fit(ours)
    else:
        names = Counter(text for text in ours if text is not None)
        common = [name for name, _ in names.most_common(histograms.MOST_CATEGORIES)]
        bins = histograms.Shares.fit(common, ours)
    return histograms.psi(bins.count(ours), bins.count(theirs))


def shared_groups(prepared: Prepared, evaluation: EvaluationSet) -> tuple[int, int]:
    """Return how many groups of the evaluation rows are trained on, of how many."""
    name = prepared.config.data.group
    if name is None or name not in evaluation.part.aside:
        return 0, 0
    groups, training = set(evaluation.part.aside[name]), prepared.all_rows.aside[name]
    trained = {training[i] for i in prepared.common_split.train.tolist()}
    return len(groups & trained), len(groups)

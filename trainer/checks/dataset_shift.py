"""Rows that train beside rows held out: do they differ in kind, do groups meet?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features import reference
from models.features.columns import Values
from trainer.checks.column_profile import chosen, columns, sample
from trainer.preparation.prepare import Part, Prepared


@dataclass(frozen=True)
class EvaluationSet:
    """Rows beside those that train, what to call them, and whether they may differ.

    By chance or by group rows are drawn from the same as those that train; those of
    another file, or of another time, may be of another kind.
    """

    name: str
    part: Part
    may_differ: bool


def evaluation_sets(prepared: Prepared) -> Iterator[EvaluationSet]:
    """Yield the user's own validation rows, and those that the first member holds out.

    Not those divided by what stands in them: nothing can be wrong with these.
    """
    if prepared.user_validation is not None:
        yield EvaluationSet("the validation rows given", prepared.user_validation, True)
    by, split = prepared.division.by, prepared.splits[0]
    rows = split.test if len(split.test) else split.validation
    if len(rows) and by != "hash":
        last = by == "time"
        name = "the last rows" if last else "the rows held out"
        yield EvaluationSet(name, prepared.part(rows), last)


def shifts(prepared: Prepared, other: EvaluationSet) -> Iterator[tuple[str, float]]:
    """Yield every column, and the target, with its PSI from training to other rows.

    Left out where as much would come about by chance.
    """
    for name, ours, theirs in _pairs(prepared, other.part):
        found = psi(ours, theirs)
        if found is not None:
            yield name, found


def _pairs(prepared: Prepared, other: Part) -> Iterator[tuple[str, Values, Values]]:
    """Yield name and values, of some training rows and of others."""
    data, whole = prepared.data, prepared.all_rows
    rows = sample(prepared.splits[0].train, data.n_columns)
    both = (columns(raw, data.kinds) for raw in (whole.raw, other.raw))
    pairs = zip(*both, strict=True)
    for (name, _, ours), (_, _, theirs) in pairs:
        yield name, chosen(ours, rows), theirs
    if isinstance(whole.raw, np.ndarray) and whole.raw.ndim > 2:
        # Of images what a person would say: lighter, darker, inverted.
        yield "mean of x", _means(whole.raw[rows]), _means(other.raw)
    target: Iterable[Values] = (whole.target[rows], other.target)
    if prepared.task != "regression":
        target = [[str(code) for code in codes] for codes in target]
    ours, theirs = target
    yield data.target_name, ours, theirs


def _means(X: Any) -> NDArray[np.float64]:
    return np.asarray(X.reshape(len(X), -1).mean(axis=1), np.float64)


def psi(ours: Values, theirs: Values) -> float | None:
    """Return the index over ten bins of equal share, or the most frequent categories;
    None where chance alone may make as much."""
    seen: Any
    if isinstance(ours, np.ndarray):
        seen = reference.Histogram.fit(ours)
    else:
        names = Counter(text for text in ours if text is not None)
        common = [name for name, _ in names.most_common(reference.MOST_CATEGORIES)]
        seen = reference.Shares.fit(common, ours)
    return reference.psi(seen.count(ours), seen.count(theirs))


def shared_groups(prepared: Prepared, other: EvaluationSet) -> tuple[int, int]:
    """Return how many groups of the other rows train too, and how many there are."""
    name = prepared.config.data.group
    if name is None or name not in other.part.aside:
        return 0, 0
    groups, training = set(other.part.aside[name]), prepared.all_rows.aside[name]
    trained = {training[i] for i in prepared.splits[0].train.tolist()}
    return len(groups & trained), len(groups)

"""Rows that train beside rows held out: do they differ in kind, do groups meet?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.columns import Texts, Values
from models.reference import Histogram
from trainer.preparation import Part, Prepared
from trainer.profiles import chosen, columns, sample

#: Categories told apart; all others are one.
MOST_CATEGORIES = 20
#: What chance may make of a PSI that is worth a word.
CHANCE = 0.05


@dataclass(frozen=True)
class Other:
    """Rows beside those that train, what to call them, and whether they may differ.

    By chance or by group rows are drawn from the same as those that train; those of
    another file, or of another time, may be of another kind.
    """

    name: str
    part: Part
    may_differ: bool


def others(prepared: Prepared) -> Iterator[Other]:
    """Yield the user's own validation rows, and those that the first member holds out.

    Not those divided by what stands in them: nothing can be wrong with these.
    """
    if prepared.own is not None:
        yield Other("the validation rows given", prepared.own, True)
    by, split = prepared.division.by, prepared.splits[0]
    rows = split.test if len(split.test) else split.validation
    if len(rows) and by != "content":
        last = by == "time"
        name = "the last rows" if last else "the rows held out"
        yield Other(name, prepared.part(rows), last)


def shifts(prepared: Prepared, other: Other) -> Iterator[tuple[str, float]]:
    """Yield every column, and the target, with its PSI from training to other rows.

    Left out where as much would come about by chance.
    """
    for name, ours, theirs in _pairs(prepared, other.part):
        found = psi(ours, theirs)
        if found is not None:
            yield name, found


def _pairs(prepared: Prepared, other: Part) -> Iterator[tuple[str, Values, Values]]:
    """Yield name and values, of some training rows and of others."""
    data, whole = prepared.data, prepared.whole
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
    """Return the population stability index, Σ (p − q) ln(p / q), or None.

    Over ten bins of equal share or the most frequent categories, and missing values;
    half a row in each keeps it finite. Of B bins chance alone makes about
    (B − 1)(1/n + 1/m): where that is not small there are too few rows to tell.
    """
    found = _binned(ours, theirs)
    found = found[:, found.sum(axis=0) > 0]
    n, m = found.sum(axis=1)
    bins = found.shape[1]
    if not n or not m or (bins - 1) * (1 / n + 1 / m) > CHANCE:
        return None
    p, q = (found + 0.5) / (found.sum(axis=1, keepdims=True) + 0.5 * bins)
    return float(((p - q) * np.log(p / q)).sum())


def _binned(ours: Values, theirs: Values) -> NDArray[np.int64]:
    """Count rows (2, bins), missing values in a bin of their own."""
    if isinstance(ours, np.ndarray):
        histogram = Histogram.fit(ours)
        return np.array(
            [
                np.append(*histogram.count(cast(NDArray[Any], values)))
                for values in (ours, theirs)
            ]
        )
    counted = [Counter(cast(Texts, values)) for values in (ours, theirs)]
    names = [name for name, _ in counted[0].most_common(MOST_CATEGORIES)]
    rows = [[counts[name] for name in names] for counts in counted]
    others = [c.total() - sum(row) for c, row in zip(counted, rows, strict=True)]
    return np.column_stack([rows, others])


def shared_groups(prepared: Prepared, other: Other) -> tuple[int, int]:
    """Return how many groups of the other rows train too, and how many there are."""
    name = prepared.config.data.group
    if name is None or name not in other.part.aside:
        return 0, 0
    groups, training = set(other.part.aside[name]), prepared.whole.aside[name]
    trained = {training[i] for i in prepared.splits[0].train.tolist()}
    return len(groups & trained), len(groups)

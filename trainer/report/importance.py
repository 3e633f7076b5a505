"""What each column counts: by the network's gradients, and by shuffling it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.explain.integrated_gradients import Explainer
from models.features.columns import Floats
from models.features.inputs import RawColumns
from models.model import Model
from models.storage.artefact import Artefact
from trainer.data import length, take
from trainer.evaluation.metrics import losses, mean_loss
from trainer.preparation.prepare import Part, joined
from trainer.report.record import Weight

#: Rows that are explained, rows whose columns are shuffled, columns that are.
EXPLAINED, SHUFFLED, MOST_COLUMNS = 32, 1_000, 30


def by_gradient(artefact: Artefact, parts: Sequence[Part]) -> Floats:
    """Return the mean size of each column's, or feature's, attributions."""
    rows = joined([spread(part, -(-EXPLAINED // len(parts))) for part in parts])
    found = Explainer(artefact).explain(rows.raw)
    sizes: Floats = np.abs(found.attributions).mean(axis=0)
    return sizes


def of_columns(
    artefact: Artefact, measured: Sequence[tuple[Model, Part]]
) -> list[Weight]:
    """Return all columns, the most important first.

    `measured` are models with rows they have not seen. What a column costs is how much
    worse they are without it, its values dealt to the wrong rows; it is asked of those
    whose attributions are largest.
    """
    sizes = by_gradient(artefact, [part for _, part in measured])
    names = names_of(artefact.model.inputs)
    order: list[int] = np.argsort(-sizes, kind="stable").tolist()
    costs = _costs(measured, order[:MOST_COLUMNS], names)
    order.sort(key=lambda i: -costs.get(i, -np.inf))
    return [Weight(names[i], float(sizes[i]), costs.get(i)) for i in order]


def names_of(inputs: Any) -> list[str]:
    """Return the columns, or the features of a matrix."""
    if inputs.is_table:
        return list(inputs.explained)
    return [f"x[{', '.join(map(str, place))}]" for place in np.ndindex(*inputs.shape)]


def _costs(
    measured: Sequence[tuple[Model, Part]], columns: list[int], names: list[str]
) -> dict[int, float]:
    """Return what each of some columns costs when it is shuffled."""
    rng = np.random.default_rng(0)
    some = [
        (model, spread(part, -(-SHUFFLED // len(measured)))) for model, part in measured
    ]
    base = _figure(some, [part.raw for _, part in some])
    costs = {}
    for column in columns:
        raws = [
            _shuffled(part.raw, names[column], column, rng.permutation(len(part)))
            for _, part in some
        ]
        costs[column] = _figure(some, raws) - base
    return costs


def _figure(some: Sequence[tuple[Model, Part]], raws: Sequence[RawColumns]) -> float:
    """Return the log loss, or the root of the mean squared error."""
    found = np.concatenate(
        [
            losses(model.output, model.predict(raw), part.target)
            for (model, part), raw in zip(some, raws, strict=True)
        ]
    )
    return mean_loss(some[0][0].output, found, None)


def _shuffled(raw: RawColumns, name: str, place: int, order: Any) -> RawColumns:
    """Return rows with the values of one column in another order."""
    if isinstance(raw, np.ndarray):
        dealt = raw.reshape(len(raw), -1).copy()
        dealt[:, place] = dealt[order, place]
        return dealt.reshape(raw.shape)
    return {**raw, **take({name: raw[name]}, order)}


def spread(part: Part, most: int) -> Part:
    """Return some rows of a part, spread over all of it."""
    n = length(part.raw)
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).astype(np.intp))
    return Part(take(part.raw, rows), part.target[rows])

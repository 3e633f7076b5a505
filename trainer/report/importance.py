"""The importance of columns: by integrated gradients, and by permutation."""

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
from trainer.report.record import ColumnImportance

#: Rows used for integrated gradients.
MAX_EXPLAINED_ROWS = 32
#: Rows used for permutation.
MAX_SHUFFLED_ROWS = 1_000
#: Columns that are permuted: those with the largest attributions.
MAX_SHUFFLED_COLUMNS = 30


def mean_attributions(artefact: Artefact, parts: Sequence[Part]) -> Floats:
    """Return the mean absolute attribution of each column or array element (I,)."""
    most = -(-MAX_EXPLAINED_ROWS // len(parts))
    rows = joined([evenly_spaced_rows(part, most) for part in parts])
    explanation = Explainer(artefact).explain(rows.raw)
    sizes: Floats = np.abs(explanation.attributions).mean(axis=0)
    return sizes


def column_importances(
    artefact: Artefact, measured: Sequence[tuple[Model, Part]]
) -> list[ColumnImportance]:
    """Return the importance of all columns, the most important first.

    `measured` are models with rows they have not seen. The permutation importance of a
    column is how much their loss rises when its values are shuffled among the rows; it
    is computed for the columns with the largest attributions.
    """
    sizes = mean_attributions(artefact, [part for _, part in measured])
    names = input_names(artefact.model.inputs)
    order: list[int] = np.argsort(-sizes, kind="stable").tolist()
    costs = _permutation(measured, order[:MAX_SHUFFLED_COLUMNS], names)
    order.sort(key=lambda i: -costs.get(i, -np.inf))
    return [ColumnImportance(names[i], float(sizes[i]), costs.get(i)) for i in order]


def input_names(inputs: Any) -> list[str]:
    """Return the column names, or the positions in an array, such as `x[3]`."""
    if inputs.is_table:
        return list(inputs.explained)
    return [f"x[{', '.join(map(str, index))}]" for index in np.ndindex(*inputs.shape)]


def _permutation(
    measured: Sequence[tuple[Model, Part]], columns: list[int], names: list[str]
) -> dict[int, float]:
    """Return how much the loss rises when each of the columns is shuffled."""
    rng = np.random.default_rng(0)
    most = -(-MAX_SHUFFLED_ROWS // len(measured))
    pairs = [(model, evenly_spaced_rows(part, most)) for model, part in measured]
    base = _loss(pairs, [part.raw for _, part in pairs])
    costs = {}
    for column in columns:
        raws = [
            _shuffled(part.raw, names[column], column, rng.permutation(len(part)))
            for _, part in pairs
        ]
        costs[column] = _loss(pairs, raws) - base
    return costs


def _loss(pairs: Sequence[tuple[Model, Part]], raws: Sequence[RawColumns]) -> float:
    """Return the log loss or RMSE of the models on rows of changed columns."""
    row_losses = np.concatenate(
        [
            losses(model.output, model.predict(raw), part.target)
            for (model, part), raw in zip(pairs, raws, strict=True)
        ]
    )
    return mean_loss(pairs[0][0].output, row_losses, None)


def _shuffled(raw: RawColumns, name: str, index: int, order: Any) -> RawColumns:
    """Return the rows with the values of one column in another order."""
    if isinstance(raw, np.ndarray):
        shuffled = raw.reshape(len(raw), -1).copy()
        shuffled[:, index] = shuffled[order, index]
        return shuffled.reshape(raw.shape)
    return {**raw, **take({name: raw[name]}, order)}


def evenly_spaced_rows(part: Part, most: int) -> Part:
    """Return at most `most` rows of a part, evenly spaced."""
    n = length(part.raw)
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).astype(np.intp))
    return Part(take(part.raw, rows), part.target[rows])

"""The importance of columns: by integrated gradients, and by permutation."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.explain.integrated_gradients import Explainer
from models.features.columns import Floats
from models.features.inputs import RawColumns
from models.model import Model
from models.storage.artefact import Artefact
from trainer.data import length, take
from trainer.data.dataset import evenly_spaced
from trainer.evaluation.metrics import losses, mean_loss
from trainer.preparation.prepare import Part
from trainer.report.record import ColumnImportance

#: Rows used for integrated gradients.
MAX_EXPLAINED_ROWS = 32
#: Rows used for permutation.
MAX_SHUFFLED_ROWS = 1_000
#: Columns that are permuted: those with the largest attributions.
MAX_SHUFFLED_COLUMNS = 30


def mean_attributions(artefact: Artefact, rows: Part) -> Floats:
    """Return the mean absolute attribution of each column or array element (I,)."""
    some = evenly_spaced_rows(rows, MAX_EXPLAINED_ROWS)
    explanation = Explainer(artefact).explain(some.raw)
    sizes: Floats = np.abs(explanation.attributions).mean(axis=0)
    return sizes


def column_importances(artefact: Artefact, rows: Part) -> list[ColumnImportance]:
    """Return the importance of all columns, the most important first.

    `rows` are rows that the model has not learnt. The permutation importance of a
    column is how much the loss rises when its values are shuffled among the rows; it
    is computed for the columns with the largest attributions.
    """
    sizes = mean_attributions(artefact, rows)
    names = input_names(artefact.model.inputs)
    order: list[int] = np.argsort(-sizes, kind="stable").tolist()
    costs = _permutation(artefact.model, rows, order[:MAX_SHUFFLED_COLUMNS], names)
    order.sort(key=lambda i: -costs.get(i, -np.inf))
    return [ColumnImportance(names[i], float(sizes[i]), costs.get(i)) for i in order]


def input_names(inputs: Any) -> list[str]:
    """Return the column names, or the positions in an array, such as `x[3]`."""
    if inputs.is_table:
        return list(inputs.explained)
    return [f"x[{', '.join(map(str, index))}]" for index in np.ndindex(*inputs.shape)]


def _permutation(
    model: Model, rows: Part, columns: list[int], names: list[str]
) -> dict[int, float]:
    """Return how much the loss rises when each of the columns is shuffled."""
    rng = np.random.default_rng(0)
    some = evenly_spaced_rows(rows, MAX_SHUFFLED_ROWS)

    def loss(raw: RawColumns) -> float:
        row_losses = losses(model.output, model.predict(raw), some.target)
        return mean_loss(model.output, row_losses, None)

    base, costs = loss(some.raw), {}
    for column in columns:
        name = names[column]
        values = column_values(some.raw, name, column)
        shuffled = take({name: values}, rng.permutation(len(some)))[name]
        costs[column] = loss(with_column(some.raw, name, column, shuffled)) - base
    return costs


def column_values(raw: RawColumns, name: str, index: int) -> Any:
    """Return the n values of a column of a table, or of an element of arrays."""
    if isinstance(raw, np.ndarray):
        return raw.reshape(len(raw), -1)[:, index]
    return raw[name]


def with_column(raw: RawColumns, name: str, index: int, values: Any) -> RawColumns:
    """Return the rows with n other values of a column, or of an element of arrays."""
    if not isinstance(raw, np.ndarray):
        return {**raw, name: values}
    changed = raw.reshape(len(raw), -1).copy()
    changed[:, index] = values
    return changed.reshape(raw.shape)


def evenly_spaced_rows(part: Part, most: int) -> Part:
    """Return at most `most` rows of a part, evenly spaced."""
    rows = evenly_spaced(length(part.raw), most)
    return Part(take(part.raw, rows), part.target[rows])

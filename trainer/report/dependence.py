"""Partial dependence: the mean prediction by the value of one column (Friedman 2001).

Each value is put into the same rows, whose other columns stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.features.columns import AnyColumn, CategoricalColumn, Floats
from models.features.predictions import Classification, label_text
from models.features.table import TableInput
from models.model import Model
from trainer.preparation.prepare import Part
from trainer.report.curves import curve_classes
from trainer.report.importance import (
    column_values,
    evenly_spaced_rows,
    input_names,
    with_column,
)
from trainer.report.record import Dependence

#: Columns, the rows whose predictions are averaged, and the values of each column.
MAX_COLUMNS, MAX_ROWS, MAX_VALUES = 6, 200, 20
#: Categories, the most frequent ones.
MAX_CATEGORIES = 8
#: Numbers lie between these quantiles: few rows say anything beyond.
QUANTILES = 0.02, 0.98


def partial_dependence(
    model: Model, rows: Part, columns: Sequence[str]
) -> list[Dependence]:
    """Return the dependence on the first of the columns, of rows not learnt."""
    some = evenly_spaced_rows(rows, MAX_ROWS)
    found = (_dependence(model, some, name) for name in columns[:MAX_COLUMNS])
    return [dependence for dependence in found if len(dependence.values) > 1]


def _dependence(model: Model, rows: Part, name: str) -> Dependence:
    inputs = model.inputs
    index = input_names(inputs).index(name)
    column = inputs.by_name[name] if isinstance(inputs, TableInput) else None
    values = _grid(column, column_values(rows.raw, name, index))
    lines: dict[str, list[float]] = {}
    for value in values:
        n = len(rows)
        same = [value] * n if isinstance(value, str) else np.full(n, value)
        answers = model.predict(with_column(rows.raw, name, index, same))
        for line, mean in _means(model, answers, rows.target).items():
            lines.setdefault(line, []).append(float(f"{mean:.5g}"))
    shown = column.to_json(values) if column else np.asarray(values).tolist()
    ordered = column is None or column.limits is not None
    return Dependence(name, ordered, shown, lines)


def _grid(column: AnyColumn | None, values: Any) -> Any:
    """Return the values to put in: frequent ones, or a grid over the usual range."""
    if isinstance(column, CategoricalColumn):
        counts = Counter(value for value in values if value in column.categories)
        return [value for value, _ in counts.most_common(MAX_CATEGORIES)]
    present: Floats = values[~np.isnan(values)]
    low, high = np.quantile(present, QUANTILES) if len(present) else (0.0, 0.0)
    unique = np.unique(present[(present >= low) & (present <= high)])
    few = len(unique) <= MAX_VALUES
    return unique if few else np.linspace(unique[0], unique[-1], MAX_VALUES)


def _means(model: Model, answers: Any, target: Any) -> dict[str, float]:
    """Return the mean prediction, or the mean probability of each class with curves."""
    output = model.output
    if not isinstance(output, Classification):
        return {"": float(answers["value"].mean())}
    return {
        label_text(output.classes[c]): float(answers["probabilities"][:, c].mean())
        for c in curve_classes(output, target)
    }

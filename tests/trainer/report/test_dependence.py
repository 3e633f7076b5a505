"""The answer by a column, against predictions made one value at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.preparation.prepare import Part
from trainer.report.dependence import MAX_VALUES, partial_dependence


def rows_like(model: Any, n: int) -> dict[str, Any]:
    """Return n typical rows of a table whose numbers vary."""
    rng = np.random.default_rng(0)
    raw: dict[str, Any] = {}
    for name, column in model.inputs.by_name.items():
        if column.is_text:
            raw[name] = [
                column.categories[i % len(column.categories)] for i in range(n)
            ]
        elif column.kind == "boolean":
            raw[name] = np.arange(n) % 2.0
        else:
            raw[name] = rng.uniform(*column.limits, n)
    return raw


@pytest.mark.parametrize("name", ["two", "several", "number"])
def test_each_value_is_put_into_every_row(runs: dict[str, Any], name: str) -> None:
    model = runs[name].artefact.model
    raw = rows_like(model, 40)
    target = np.arange(40) % max(len(model.output.classes), 1)
    found = partial_dependence(model, Part(raw, target), list(raw))
    assert {one.column for one in found} == set(raw)
    for one in found:
        column = model.inputs.by_name[one.column]
        assert 2 <= len(one.values) <= MAX_VALUES
        for place in (0, len(one.values) - 1):
            same = column.from_json([one.values[place]] * 40)
            answer = model.predict({**raw, one.column: same})
            for label, line in one.lines.items():
                expected = (
                    answer["probabilities"][:, model.output.class_names.index(label)]
                    if label
                    else answer["value"]
                )
                assert line[place] == pytest.approx(expected.mean(), rel=1e-3)


def test_a_report_has_the_most_important_columns(runs: dict[str, Any]) -> None:
    record = runs["two"].record
    first = [column.name for column in record.weights]
    assert [one.column for one in record.dependence] == first[: len(record.dependence)]
    assert runs["images"].record.dependence == []


def test_a_column_of_one_value_has_none(runs: dict[str, Any]) -> None:
    model = runs["number"].artefact.model
    raw = rows_like(model, 10)
    name = next(c.name for c in model.inputs.columns if c.kind == "numeric")
    part = Part({**raw, name: np.full(10, 3.0)}, np.zeros(10))
    assert partial_dependence(model, part, [name]) == []
    part = Part({**raw, name: np.full(10, np.nan)}, np.zeros(10))
    assert partial_dependence(model, part, [name]) == []

"""Checks that the answer keeps the directions asked for, over the range of training.

Each column of a direction is set to values over its range, in order, in rows that no
network has learnt. What counts is how far the answer ends below its highest answer so
far, or above its lowest for a column of direction `down`.
"""

from __future__ import annotations

import numpy as np

from models.errors import DataError
from models.features.predictions import Regression
from models.features.table import TableInput
from models.model import Model
from trainer.data.dataset import evenly_spaced
from trainer.preparation.prepare import Prepared

#: Rows and values that are checked.
ROWS, VALUES = 500, 41
#: The largest wrong change: a share of the target's deviation, or a probability.
TOLERANCE = 0.01


def check_directions(prepared: Prepared, model: Model) -> tuple[str, ...]:
    """Return a sentence about each column. Raises DataError if one is not kept."""
    sentences, inputs = [], model.inputs
    for name, direction in prepared.config.data.directions.items():
        assert isinstance(inputs, TableInput)
        limits = inputs.by_name[name].limits or (0.0, 1.0)
        rows, of_rows, _ = prepared.evaluation
        rows = rows.only(evenly_spaced(len(rows), ROWS))
        answers = []
        for value in np.linspace(*limits, VALUES):
            moved = {**rows.raw, name: np.full(len(rows), value)}  # type: ignore[dict-item]
            predictions = model.predict(moved)
            number = predictions.get("value")
            if number is None:
                number = predictions["probabilities"][:, 1]
            answers.append(number if direction == "up" else -number)
        A = np.stack(answers)
        largest = float((np.maximum.accumulate(A) - A).max())
        output = model.output
        unit = output.std if isinstance(output, Regression) else 1.0
        other = "falls" if direction == "up" else "rises"
        where = f"over the range of '{name}' in {len(rows):,} {of_rows}"
        if largest > TOLERANCE * unit:
            raise DataError(
                f"data.columns.{name}.monotone={direction} is not kept: the answer "
                f"{other} by {largest:.2g} {where}, and {TOLERANCE * unit:.2g} is "
                "allowed; the rows may say otherwise: leave the setting out"
            )
        sentences.append(
            f"checked {where}: the answer {other} by {largest:.2g} at most"
        )
    return tuple(sentences)

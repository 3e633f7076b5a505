"""The row that others are compared with when an answer is explained.

It is an ordinary row, the same for ever: the median of each number and date, the most
frequent category and truth value of training; the mean of each feature of a matrix; of
images the empty one, all at the lowest value of training (the black image of
Sundararajan et al. 2017, arXiv 1703.01365, section 3), so that only ink has a part.
"""

from __future__ import annotations

import numpy as np

from models.features.columns import AnyColumn, BooleanColumn, CategoricalColumn, Values
from models.features.inputs import Inputs, RawColumns
from models.features.reference import Histogram, Reference, Shares
from models.features.table import TableInput


def baseline(inputs: Inputs, reference: Reference) -> RawColumns:
    """Return the baseline of a model as raw rows, of which there is one."""
    if isinstance(inputs, TableInput):
        return {
            column.name: _typical(column, reference.inputs.get(column.name))
            for column in inputs.columns
        }
    if len(inputs.shape) > 1:
        return np.full((1, *inputs.shape), inputs.minimum, np.float32)
    center = np.asarray(inputs.center, np.float32)
    return np.broadcast_to(center, (1, *inputs.shape)).copy()


def _typical(column: AnyColumn, seen: Histogram | Shares | None) -> Values:
    """Return a column's median or most frequent value, as a column of one row."""
    if isinstance(column, CategoricalColumn):
        if isinstance(seen, Shares) and seen.shares:
            return [seen.categories[int(np.argmax(seen.shares))]]
        return [None]  # it never had a value
    if isinstance(column, BooleanColumn):
        truth = False
        if isinstance(seen, Histogram):
            # Truth values are counted like numbers: 0 in one bin, 1 in the same or next
            no, yes = np.searchsorted(seen.edges, [0.0, 1.0], side="right")
            truth = seen.shares[yes] > seen.shares[no]
        return np.array([float(truth)])
    return np.array([column.scaling.center])

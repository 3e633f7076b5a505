"""Numbers such as -999 that stand for a missing value."""

from __future__ import annotations

import numpy as np

from models.features.columns import Floats
from models.storage.artefact import Finding

#: Numbers that are used so, if they are far from all others.
NINES = frozenset({9.0, 99.0, 999.0, 9999.0, 99999.0, 999999.0})
#: Fewer rows with the number may be outliers.
MIN_ROWS = 3


def sentinel(name: str, values: Floats) -> Finding | None:
    """Report the lowest or highest of numbers (n,) if it seems to mean no value.

    It is of NINES or their negatives, stands in several rows, and is farther from the
    next number than the others are from each other.
    """
    present = values[~np.isnan(values)]
    for end in (present.min(), present.max()) if len(present) else ():
        if abs(end) not in NINES:
            continue
        rest = present[present != end]
        n = len(present) - len(rest)
        if n < MIN_ROWS or len(rest) < n or np.ptp(rest) == 0:
            continue
        if np.abs(rest - end).min() > np.ptp(rest):
            return Finding(
                "sentinel",
                (name,),
                f"column '{name}': {end:g} stands in {n:,} rows, far from all others "
                f"({rest.min():g} to {rest.max():g}); if it is a missing value: "
                f"data.columns.{name}.missing=['{end:g}']",
            )
    return None

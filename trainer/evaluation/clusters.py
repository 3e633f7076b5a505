"""Groups evaluation rows into clusters: the units that a bootstrap draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.row_hashing import hash_rows, rehash_duplicates
from trainer.preparation.prepare import Part


def clusters(rows: Part, group: str | None) -> NDArray[Any]:
    """Return a cluster for each row (n,): its group, or its hash if it has none."""
    if group is not None and group in rows.aside:
        return np.array([str(text) for text in rows.aside[group]])
    hashes = hash_rows(rows.raw)
    if rows.occurrence is None:
        return hashes
    return rehash_duplicates(hashes, rows.occurrence, 0)

"""Which rows a version was measured on, by their hashes alone: rows.npy beside it.

Data grow and are corrected, and a candidate is judged on today's. The rows that the
version in production was measured on are found among them again by what stands in them,
and a row whose target is another now is told from one that is as it was. No value of a
row is kept.
"""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtefactCorrupt
from models.features.inputs import Inputs
from models.features.predictions import Classification, Output, label_text
from models.features.table import TableInput
from trainer.data.row_hashing import hash_rows, rehash_duplicates
from trainer.preparation.prepare import Part

#: Beside the artefact.
ROWS = "rows.npy"
#: Of more rows, those with the lowest hashes are kept: a sample, the same every time.
MAX_ROWS = 20_000
#: A row's hash without its target, and with it (n, 2).
RowFingerprints: TypeAlias = NDArray[np.float64]


def fingerprint_rows(part: Part, inputs: Inputs, output: Output) -> RowFingerprints:
    """Return the marks of rows, by the columns that a model has."""
    raw = part.raw
    if isinstance(inputs, TableInput) and not isinstance(raw, np.ndarray):
        raw = {name: raw[name] for name in inputs.by_name}
    where = hash_rows(raw)
    if part.turns is not None:  # equal rows, told apart by their order
        where = rehash_duplicates(where, part.turns, 0)
    target = part.target
    if isinstance(output, Classification):
        names = [label_text(label) for label in output.classes]
        answered = hash_rows({"row": where, "target": [names[code] for code in target]})
    else:
        answered = hash_rows({"row": where, "target": np.asarray(target, np.float64)})
    return np.column_stack([where, answered])


def dump(found: RowFingerprints) -> bytes:
    """Return the bytes of rows.npy."""
    kept = np.unique(found, axis=0)[:MAX_ROWS]
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(kept, "<f8"), allow_pickle=False)
    return stream.getvalue()


def load(content: bytes, address: str) -> RowFingerprints:
    """Return the marks in rows.npy (n, 2); raises ArtefactCorrupt if it is damaged."""
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArtefactCorrupt(f"{address}: {error}") from None
    if found.dtype != np.dtype("<f8") or found.ndim != 2 or found.shape[1] != 2:
        raise ArtefactCorrupt(f"{address}: expected two numbers a row")
    return np.asarray(found, np.float64)


def unchanged_rows(now: RowFingerprints, then: RowFingerprints) -> NDArray[np.bool_]:
    """Tell of each row now whether it was there then, with the target it has now."""
    return np.isin(now[:, 1], then[:, 1])


def changed_targets(now: RowFingerprints, then: RowFingerprints) -> NDArray[np.bool_]:
    """Tell of each row now whether it was there then, and with another target only."""
    return np.isin(now[:, 0], then[:, 0]) & ~unchanged_rows(now, then)

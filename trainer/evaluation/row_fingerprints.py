"""Fingerprints of the test rows of a version, stored as rows.npy next to it.

Data grow and are corrected, and a candidate is compared on today's rows. Their
fingerprints tell which of them were test rows of the production version, and whether
their targets have changed since. A fingerprint is a hash: no value of a row is stored.
"""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtefactCorrupt
from models.features.inputs import Inputs
from models.features.predictions import Output
from trainer.data import with_aside
from trainer.data.row_hashing import RowHashes, hash_rows, rehash_duplicates
from trainer.preparation.prepare import Part
from trainer.preparation.targets import label_key

#: Of more rows, those with the lowest hashes are stored: a repeatable sample.
MAX_ROWS = 20_000
#: Two hashes of each row (n, 2): without its target, and with it.
RowFingerprints: TypeAlias = NDArray[np.float64]


def fingerprint_rows(part: Part, inputs: Inputs, output: Output) -> RowFingerprints:
    """Return the fingerprints (n, 2) of rows, from the columns that a model has."""
    hashes = hash_inputs(part, inputs)
    target = output.target_values(part.target)
    if isinstance(target, list):
        target = [label_key(label) for label in target]
    return np.column_stack([hashes, hash_rows({"row": hashes, "target": target})])


def hash_inputs(part: Part, inputs: Inputs) -> RowHashes:
    """Return the hashes (n,) of rows, from the columns that a model has.

    Columns aside, such as the time, tell apart rows of equal inputs.
    """
    raw = inputs.select(part.raw)
    if not isinstance(raw, np.ndarray):
        raw = with_aside(raw, part.aside)
    hashes = hash_rows(raw)
    if part.occurrence is not None:  # equal rows, told apart by their order
        hashes = rehash_duplicates(hashes, part.occurrence, 0)
    return hashes


def dump(fingerprints: RowFingerprints) -> bytes:
    """Return the bytes of rows.npy for fingerprints (n, 2)."""
    lowest = np.unique(fingerprints, axis=0)[:MAX_ROWS]
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(lowest, "<f8"), allow_pickle=False)
    return stream.getvalue()


def load(content: bytes, address: str) -> RowFingerprints:
    """Return the fingerprints (n, 2) in the content of rows.npy.

    Raises ArtefactCorrupt, with the address of the file, if it is damaged.
    """
    try:
        fingerprints = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArtefactCorrupt(f"{address}: {error}") from None
    shape, dtype = fingerprints.shape, fingerprints.dtype
    if dtype != np.dtype("<f8") or len(shape) != 2 or shape[1] != 2:
        raise ArtefactCorrupt(
            f"{address}: expected two numbers a row, found {dtype} {shape}"
        )
    return np.asarray(fingerprints, np.float64)


def unchanged_rows(now: RowFingerprints, then: RowFingerprints) -> NDArray[np.bool_]:
    """Tell which rows now (n,) were there then with the same target.

    `now` has shape (n, 2), `then` (m, 2).
    """
    return np.isin(now[:, 1], then[:, 1])


def changed_targets(now: RowFingerprints, then: RowFingerprints) -> NDArray[np.bool_]:
    """Tell which rows now (n,) were there then, but only with another target.

    Rows of equal inputs cannot be told apart, so they are left out.
    """
    _, index, counts = np.unique(now[:, 0], return_inverse=True, return_counts=True)
    there: NDArray[np.bool_] = np.isin(now[:, 0], then[:, 0]) & (counts[index] == 1)
    return there & ~unchanged_rows(now, then)

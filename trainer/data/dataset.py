"""A data set in memory: raw inputs, their kinds, and the target."""

from __future__ import annotations

import hashlib
import tempfile
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import RawColumns
from models.features.inputs import length as length
from models.features.predictions import Label
from models.features.stored_columns import StoredColumns
from models.features.table import Columns
from models.storage.artefact import Finding
from trainer.data.row_hashing import RowHashes, hash_rows

#: Columns by name, or an array: the result is of the type of the argument.
AnyRaw = TypeVar("AnyRaw", bound=RawColumns)


@dataclass(frozen=True)
class SourceFiles:
    """The files that rows were read from, in order, and the rows of each.

    `names` are paths below `folder`, which is absolute or in a bucket.
    """

    folder: str
    names: tuple[str, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """Rows of raw inputs, with their targets if the data have them.

    `inputs` are columns by name (see `models.features.columns` for their raw form) or
    one array (n, …); `kinds` has the kind of each column and is empty for an array.
    The columns `aside` describe the rows, such as their weights, and are not inputs.
    `spellings` have the format and marks of columns, where they are not the usual ones;
    `findings` are about the reading. `files` are there if the columns are stored.
    """

    inputs: RawColumns
    kinds: dict[str, str]
    target_name: str
    target: Sequence[Label | None] | None
    aside: Columns = field(default_factory=dict)
    spellings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    files: SourceFiles | None = None

    @property
    def n_columns(self) -> int:
        """The number of columns, or of values in a row of an array."""
        return len(self.kinds) or int(np.prod(self.inputs.shape[1:]))  # type: ignore[union-attr]

    @property
    def storage(self) -> tuple[str, ...]:
        """A sentence on where the columns are, if they are not in memory."""
        if not isinstance(self.inputs, StoredColumns):
            return ()
        return (
            f"{len(self):,} rows of {len(self.inputs)} columns are kept on disk, in "
            f"{tempfile.gettempdir()} (runtime.streaming)",
        )

    def __len__(self) -> int:
        return length(self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of names, kinds and values, whichever file they came from."""
        digest = hashlib.sha256()
        if isinstance(self.inputs, np.ndarray):
            digest.update(str((self.inputs.dtype.str, self.inputs.shape)).encode())
            _update(digest, self.inputs)
        else:
            for name, values in self.inputs.items():
                digest.update(repr((name, self.kinds[name])).encode())
                _update(digest, values)
        for name, values in self.aside.items():
            digest.update(repr(("aside", name)).encode())
            _update(digest, values)
        digest.update(repr(self.target_name).encode())
        _update(digest, self.target or ())
        return digest.hexdigest()

    @cached_property
    def row_hashes(self) -> RowHashes:
        """The hash (n,) of every row, from its inputs."""
        return hash_rows(self.inputs)

    def only(self, rows: NDArray[np.intp]) -> Dataset:
        """Return a data set of the rows of these numbers (n,)."""
        target = (
            None if self.target is None else [self.target[i] for i in rows.tolist()]
        )
        return replace(
            self,
            inputs=take(self.inputs, rows),
            target=target,
            aside=take(self.aside, rows),
        )


def with_aside(raw: Columns, aside: Columns) -> Columns:
    """Return columns and those set aside as one mapping, which reads none of them."""
    both: Any = ChainMap(cast(Any, aside), cast(Any, raw))
    return cast(Columns, both)


def evenly_spaced(n: int, most: int) -> NDArray[np.intp]:
    """Return at most `most` of the numbers below n (m,), with both ends."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).astype(np.intp))


def take(raw: AnyRaw, rows: NDArray[np.intp]) -> AnyRaw:
    """Return the raw inputs of the rows of these numbers (n,)."""
    if isinstance(raw, np.ndarray):
        return cast(AnyRaw, raw[rows])
    if isinstance(raw, StoredColumns):
        return cast(AnyRaw, raw.take(rows))
    columns: Columns = {
        name: values[rows]
        if isinstance(values, np.ndarray)
        else [values[i] for i in rows.tolist()]
        for name, values in raw.items()
    }
    return cast(AnyRaw, columns)


def join(raws: Sequence[AnyRaw]) -> AnyRaw:
    """Return the rows of several sets of raw inputs, one set after the other."""
    first = raws[0]
    if len(raws) == 1:
        return first
    if isinstance(first, np.ndarray):
        return cast(AnyRaw, np.concatenate(cast(Any, raws)))
    columns: dict[str, Any] = {}
    for name, values in first.items():
        pieces: list[Any] = [cast(Columns, raw)[name] for raw in raws]
        columns[name] = (
            np.concatenate(pieces)
            if isinstance(values, np.ndarray)
            else [value for piece in pieces for value in piece]
        )
    return cast(AnyRaw, columns)


def _update(digest: Any, values: Any) -> None:
    if isinstance(values, np.ndarray):
        digest.update(np.ascontiguousarray(values))
    else:
        digest.update("\x1f".join(map(repr, values)).encode())

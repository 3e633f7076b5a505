"""A data set as the trainer holds it: raw inputs, their kinds, and the target."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from models.features.inputs import RawColumns
from models.features.predictions import Label
from models.features.table import Columns
from trainer.data.row_hashing import RowHashes, hash_rows

#: Columns stay columns, an array an array.
AnyRaw = TypeVar("AnyRaw", bound=RawColumns)


@dataclass(frozen=True)
class Dataset:
    """Rows of raw inputs with the target of each, where there is one.

    `inputs` are columns by name (see `models.features.columns` for their raw form) or
    one array (n, …); `kinds` names each column's kind and is empty for an array.
    Columns `aside` say something about the rows, such as what each weighs, and are no
    inputs.
    """

    inputs: RawColumns
    kinds: dict[str, str]
    target_name: str
    target: Sequence[Label | None] | None
    aside: Columns = field(default_factory=dict)

    @property
    def n_columns(self) -> int:
        return len(self.kinds) or int(np.prod(self.inputs.shape[1:]))  # type: ignore[union-attr]

    def __len__(self) -> int:
        return length(self.inputs)

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 of names, kinds and values, whatever file they came from."""
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
    def places(self) -> RowHashes:
        """Where every row stands, by what stands in it."""
        return hash_rows(self.inputs)

    def only(self, rows: NDArray[np.intp]) -> Dataset:
        """Return the chosen rows."""
        target = (
            None if self.target is None else [self.target[i] for i in rows.tolist()]
        )
        return replace(
            self,
            inputs=take(self.inputs, rows),
            target=target,
            aside=take(self.aside, rows),
        )


def length(raw: RawColumns) -> int:
    """Return the number of rows."""
    return len(raw if isinstance(raw, np.ndarray) else next(iter(raw.values())))


def take(raw: AnyRaw, rows: NDArray[np.intp]) -> AnyRaw:
    """Return the chosen rows of raw inputs."""
    if isinstance(raw, np.ndarray):
        return cast(AnyRaw, raw[rows])
    columns: Columns = {
        name: values[rows]
        if isinstance(values, np.ndarray)
        else [values[i] for i in rows.tolist()]
        for name, values in raw.items()
    }
    return cast(AnyRaw, columns)


def join(raws: Sequence[AnyRaw]) -> AnyRaw:
    """Return the rows of all, one after the other."""
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

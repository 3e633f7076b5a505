"""Each network learns its own share of the files (`data.partitions=members`).

Of n networks, network k learns the rows of the files k, k + n, k + 2 n, …, and rows of
the same files choose its epoch. The test rows are those of all files. On another
machine, a network's task reads and encodes its files there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, DataError
from models.features.predictions import Task
from models.features.table import TableInput
from trainer.config.schema import ResolvedTrainConfig
from trainer.data import Dataset, read_some
from trainer.data.row_hashing import RowHashes, Split, hash_rows
from trainer.preparation.encoded_rows import EncodedRows, encode_into_file
from trainer.preparation.split_plan import SplitPlan
from trainer.types import MonotoneInputs, Rows, Targets, Weights


class Shares:
    """The files of each of `members` networks, and where the rows of the data are.

    `row_numbers` (n,) count the rows as they were read, from 1.
    """

    def __init__(
        self, data: Dataset, row_numbers: NDArray[np.intp], members: int
    ) -> None:
        """Raise ConfigError if there are fewer files than networks, or one network."""
        files = data.files
        assert files is not None
        if not 1 < members <= len(files.names):
            raise ConfigError(
                f"data.partitions=members needs at least two networks and a file for "
                f"each, and this run has {members} (ensemble.members) and "
                f"{len(files.names)} files"
            )
        self.files, self.members = files, members
        starts = np.concatenate([[0], np.cumsum(files.rows)])
        file = np.searchsorted(starts, row_numbers - 1, "right") - 1
        #: The network that may learn each row (n,).
        self.owner = file % members
        before = np.empty(len(files.rows), np.intp)
        for number in range(members):
            rows = np.array(files.rows[number::members])
            before[number::members] = np.cumsum(rows) - rows
        #: The number of each row (n,) among those of its network's files, from 0.
        self.place = row_numbers - 1 - starts[file] + before[file]

    @property
    def reason(self) -> str:
        """The sentence on what each network learns."""
        count = len(self.files.names)
        fewest, most = count // self.members, -(-count // self.members)
        each = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        return (
            f"each of {self.members} networks learns {each} of the {count} files, and "
            "no other network does (data.partitions)"
        )

    def restrict(self, plan: SplitPlan) -> SplitPlan:
        """Return a plan whose networks learn the rows of their files alone.

        Raises DataError if nothing is left of a part.
        """
        splits = []
        for number, split in enumerate(plan.splits):
            train, validation = (
                rows[self.owner[rows] == number]
                for rows in (split.train, split.validation)
            )
            if not len(train) or (len(split.validation) and not len(validation)):
                raise DataError(
                    f"the files of network {number + 1} of {self.members} have too few "
                    "rows to learn and to choose the epoch: name fewer by "
                    "ensemble.members, or leave data.partitions out"
                )
            splits.append(Split(train, validation, split.test))
        return replace(plan, splits=tuple(splits), common=plan.splits[0])


@dataclass(frozen=True)
class Share:
    """The files of a network and its rows, by their numbers in these files, from 0.

    `train` (n,) are learnt, with targets T (n,) and weights (n,) if any; `validation`
    (m,) choose the epoch. `digest` is that of the values of all of them.
    """

    names: tuple[str, ...]
    train: NDArray[np.integer[Any]]
    T: Targets
    weights: Weights
    validation: NDArray[np.integer[Any]]
    validation_T: Targets
    validation_weights: Weights
    digest: str


@dataclass(frozen=True)
class PartitionedData:
    """What the networks need to read their own files, below `folder`."""

    task: Task
    train_config: ResolvedTrainConfig
    monotone_inputs: MonotoneInputs | None
    inputs: TableInput
    folder: str
    shares: tuple[Share, ...]
    user_validation: Rows | None

    def member_rows(self, number: int) -> tuple[Rows, Rows | None]:
        """Read a member's files; return what it learns and what chooses its epoch.

        Raises DataError if they are not those that were read before.
        """
        share, inputs = self.shares[number], self.inputs
        raw = read_some(self.folder, share.names, inputs)
        used = np.concatenate([share.train, share.validation])
        if raw.rows <= used.max() or digest(hash_rows(raw)[used]) != share.digest:
            raise DataError(
                f"{self.folder}: the files of network {number + 1} have other rows on "
                "this machine, or have changed since the run began"
            )
        file, train = encode_into_file(inputs, raw), share.train.astype(np.intp)
        X: Any = EncodedRows(file, train, inputs.width)
        validation = self.user_validation
        if validation is None and len(share.validation):
            validation = Rows(
                inputs.encode(raw.take(share.validation)),  # type: ignore[arg-type]
                share.validation_T,
                share.validation_weights,
            )
        return Rows(X, share.T, share.weights), validation

    def augmentation(self) -> None:
        """Return None: tables have no images."""


def digest(hashes: RowHashes) -> str:
    """Return the sha256 of the hashes of rows (n,)."""
    return hashlib.sha256(hashes.tobytes()).hexdigest()

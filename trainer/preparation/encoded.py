"""Prepared data as plain arrays, for a process that has nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError
from models.features.columns import Floats
from models.features.predictions import Task
from models.features.table import TableInput
from models.types import Array, Shape
from trainer.config.schema import ResolvedTrainConfig
from trainer.preparation.augmentation import Augmentation
from trainer.preparation.partitions import PartitionedData, Share, digest
from trainer.preparation.prepare import Prepared
from trainer.preparation.sample_weights import scaled_weights
from trainer.preparation.targets import standardize
from trainer.types import MonotoneInputs, Rows


class TrainingData(Protocol):
    """The data of a run as its networks need them: `Prepared` or `EncodedData`."""

    @property
    def task(self) -> Task:
        """The kind of prediction."""

    @property
    def train_config(self) -> ResolvedTrainConfig:
        """How the weights are fitted."""

    @property
    def monotone_inputs(self) -> MonotoneInputs | None:
        """The inputs with which the answer only rises or falls, if there are any."""

    def member_rows(self, number: int) -> tuple[Rows, Rows | None]:
        """Return a member's training rows and the rows that choose its epoch."""

    def augmentation(self) -> Augmentation | None:
        """Return the augmentation of image batches, for one thread, or None."""


@dataclass(frozen=True)
class MemberSplit:
    """The numbers of a member's training (n,) and validation rows (m,)."""

    train: NDArray[np.integer[Any]]
    validation: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class EncodedData:
    """All rows X (n, I), with T (n,) as the loss takes it and weights (n,) if any.

    `class_weights` (C,) multiply the weights of rows. `user_validation` are encoded
    rows that the user gave to choose the epoch.
    """

    task: Task
    train_config: ResolvedTrainConfig
    monotone_inputs: MonotoneInputs | None
    image_shape: Shape | None
    X: Array
    T: NDArray[Any]
    weights: Floats | None
    class_weights: Floats | None
    splits: tuple[MemberSplit, ...]
    user_validation: Rows | None

    def member_rows(self, number: int) -> tuple[Rows, Rows | None]:
        """Return a member's training rows and the rows that choose its epoch."""
        split = self.splits[number]
        validation = self.user_validation
        if validation is None and len(split.validation):
            validation = self._rows(split.validation)
        return self._rows(split.train), validation

    def augmentation(self) -> Augmentation | None:
        """Return the augmentation of image batches, for one thread, or None."""
        strength = self.train_config.augmentation
        shape = self.image_shape
        return None if shape is None else Augmentation(shape, strength)

    def _rows(self, numbers: NDArray[np.integer[Any]]) -> Rows:
        T = self.T[numbers]
        weights = None if self.weights is None else self.weights[numbers]
        return Rows(self.X[numbers], T, scaled_weights(T, self.class_weights, weights))


def encode(prepared: Prepared) -> EncodedData:
    """Encode every row once, for all members.

    Raises ConfigError if the rows are on disk because they are too many for memory, and
    all networks learn them.
    """
    if prepared.encoded is not None:
        raise ConfigError(
            "--engine ray needs the rows in memory, and they are on disk: add --set "
            "runtime.streaming=false if they fit, or data.partitions=members, or leave "
            "--engine out"
        )
    rows, validation = prepared.all_rows, prepared.user_validation
    return EncodedData(
        prepared.task,
        prepared.train_config,
        prepared.monotone_inputs,
        prepared.image_shape,
        prepared.inputs.encode(rows.raw),  # type: ignore[arg-type]
        standardize(prepared.output, prepared.learnt_target(rows)),
        rows.weights,
        prepared.class_weights,
        tuple(
            MemberSplit(_short(split.train), _short(split.validation))
            for split in prepared.splits
        ),
        None if validation is None else prepared.rows(validation),
    )


def partition(prepared: Prepared) -> PartitionedData:
    """Return what the networks need to read their own files, and none of the rows."""
    shares = prepared.shares
    assert shares is not None and isinstance(prepared.inputs, TableInput)
    given = prepared.user_validation
    return PartitionedData(
        prepared.task,
        prepared.train_config,
        prepared.monotone_inputs,
        prepared.inputs,
        shares.files.folder,
        tuple(_share(prepared, number) for number in range(len(prepared.splits))),
        None if given is None else prepared.rows(given),
    )


def _share(prepared: Prepared, number: int) -> Share:
    shares, split = prepared.shares, prepared.splits[number]
    assert shares is not None
    rows, validation = prepared.member_rows(number)
    assert validation is not None or not len(split.validation)
    used = np.concatenate([split.train, split.validation])
    return Share(
        shares.files.names[number :: shares.members],
        _short(shares.place[split.train]),
        rows.T,
        rows.weights,
        _short(shares.place[split.validation]),
        rows.T[:0] if validation is None else validation.T,
        None if validation is None else validation.weights,
        digest(prepared.data.row_hashes[used]),
    )


def _short(numbers: NDArray[np.intp]) -> NDArray[np.integer[Any]]:
    """Return row numbers (n,) in half the bytes, where they fit."""
    fits = not len(numbers) or numbers.max() < 2**31
    return numbers.astype(np.int32) if fits else numbers

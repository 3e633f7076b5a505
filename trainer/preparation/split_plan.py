"""Plans how the rows of a run are split, and tells which rows an earlier run learnt.

hash      by the hash of a row's values (see `trainer.data.row_hashing`)
random    at random: equal rows are told apart by their order, and rehashed
group     by the hash of the row's group, so that no group is in two parts
time      the latest rows are the test rows

The manifest stores the limits of the test rows: so the gate knows which rows production
has learnt, whatever else was in that run's data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.inputs import RawColumns
from models.features.table import Columns
from models.storage.artefact import Manifest, SplitStrategy
from trainer.config.schema import SplitConfig
from trainer.data import Dataset, length, with_aside
from trainer.data.roles import group_text
from trainer.data.row_hashing import (
    RowHashes,
    Split,
    by_time,
    count_occurrences,
    hash_rows,
    limit_for_tests,
    rehash_duplicates,
    rotating_splits,
)

#: With fewer distinct rows, a share of the hashes may hold none of them.
TOO_FEW_DISTINCT = 100
#: Seed of the hashes of equal rows: a row is a test row whatever the seed of the run.
SPLIT_SEED = 0


@dataclass(frozen=True)
class SplitPlan:
    """The split of each member, and the limits of the test rows.

    If each member learns files of its own, `common` is the first split of all files.

    Test rows have a hash below `test_below`, or a time from `test_from` on. Rows that
    are split at random have the `occurrence` (n,) of each row among its equals.
    """

    by: SplitStrategy
    splits: tuple[Split, ...]
    test_below: float = 0.0
    test_from: float | None = None
    occurrence: NDArray[np.float64] | None = None
    common: Split | None = None

    def first(self, count: int) -> SplitPlan:
        """Return the same for the first `count` members."""
        return dataclasses.replace(self, splits=self.splits[:count])


def plan_splits(config: SplitConfig, data: Dataset) -> SplitPlan:
    """Split the rows as configured; raise DataError if a part would be empty."""
    if config.data.split == "time":
        plan = _by_time(config, data)
    elif config.data.split == "grouped":
        plan = _by_group(config, data)
    else:
        plan = _by_row(config, data)
    if not all(len(split.train) for split in plan.splits):
        raise DataError(f"{len(data)} rows are too few: none is left to train")
    return plan


def _by_hash(
    by: SplitStrategy,
    config: SplitConfig,
    hashes: RowHashes,
    occurrence: NDArray[np.float64] | None = None,
) -> SplitPlan:
    """Split by hashes (n,)."""
    test = config.data.test_fraction
    limit = limit_for_tests(hashes, test)
    validation = config.data.validation_fraction / (1.0 - test)
    splits = rotating_splits(hashes, config.ensemble.members, validation, limit)
    return SplitPlan(by, tuple(splits), limit, occurrence=occurrence)


def _by_row(config: SplitConfig, data: Dataset) -> SplitPlan:
    """Split by the values of the rows, or at random if too many rows are equal."""
    hashes, shares = data.row_hashes, config.data
    plan = _by_hash("hash", config, hashes)
    train = (1 - shares.validation_fraction - shares.test_fraction) * len(data)
    if (
        len(np.unique(hashes)) < min(len(data) / 2, TOO_FEW_DISTINCT)
        or min(len(split.train) for split in plan.splits) < train / 2
    ):
        occurrence = count_occurrences(hashes)
        hashes = rehash_duplicates(hashes, occurrence, SPLIT_SEED)
        return _by_hash("random", config, hashes, occurrence)
    return plan


def _by_group(config: SplitConfig, data: Dataset) -> SplitPlan:
    name, shares = str(config.data.group), config.data
    hashes = _hash_groups(data.aside, name)
    groups = len(np.unique(hashes))
    parts = 1 + (shares.validation_fraction > 0) + (shares.test_fraction > 0)
    if groups < parts:
        raise DataError(
            f"column '{name}' (data.group) has {groups} groups, too few for {parts} "
            "parts: training, validation and test rows need a group each"
        )
    return _by_hash("group", config, hashes)


def _hash_groups(columns: Columns, name: str) -> RowHashes:
    return hash_rows({name: group_text(columns[name])})


def _by_time(config: SplitConfig, data: Dataset) -> SplitPlan:
    name, shares = str(config.data.time), config.data
    times = np.asarray(data.aside[name], float)
    try:
        split = by_time(times, shares.validation_fraction, shares.test_fraction)
    except ValueError as error:
        raise DataError(f"column '{name}' (data.time) has {error}") from None
    test_from = float(times[split.test].min()) if len(split.test) else None
    return SplitPlan("time", (split,) * config.ensemble.members, test_from=test_from)


def learnt_rows(
    manifest: Manifest,
    raw: RawColumns,
    aside: Columns,
    occurrence: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Tell which of n rows a run has learnt, or would learn if it met them.

    A row that it cannot tell counts as learnt: in a split by time or group without
    the column of it, at random without the occurrence (n,), and in every ensemble
    before format 4, whose networks each had test rows of their own.
    """
    recipe, settings = manifest.recipe, manifest.config["data"]
    every = np.ones(length(raw), bool)
    columns = aside if isinstance(raw, np.ndarray) else with_aside(raw, aside)
    if recipe.split_strategy == "time":
        times = columns.get(settings["time"])
        if recipe.test_from is None or not isinstance(times, np.ndarray):
            return every
        return np.less(times, recipe.test_from)
    limit = recipe.test_below
    if limit is None and manifest.members == 1 and not recipe.groups:
        limit = settings["test_fraction"]
    if limit is None:
        return every
    if recipe.split_strategy == "group":
        if settings["group"] not in columns:
            return every
        return _hash_groups(columns, settings["group"]) >= limit
    hashes = hash_rows(manifest.inputs.select(raw))
    if recipe.split_strategy == "random":
        if occurrence is None:
            return every
        hashes = rehash_duplicates(hashes, occurrence, recipe.split_seed)
    return hashes >= limit

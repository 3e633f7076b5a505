"""Plans how the rows of a run are split, and repeats the split of an earlier run.

content   by the hash of a row's values (see `trainer.data.row_hashing`)
chance    at random: equal rows are told apart by their order, and rehashed
grouped   by the hash of the row's group, so that no group is in two parts
time      the latest rows are the test rows of every member

The manifest stores what it takes to split again: so the gate knows which of
production's networks were fitted without a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.inputs import RawColumns
from models.features.table import Columns
from models.storage.artefact import Manifest, SplitStrategy
from trainer.config.schema import SplitConfig
from trainer.data import Dataset
from trainer.data.roles import group_text
from trainer.data.row_hashing import (
    RowHashes,
    Split,
    by_time,
    count_occurrences,
    hash_rows,
    rehash_duplicates,
    spread,
    windows,
)

#: With fewer distinct rows or groups, a window of random hashes may hold none of them.
TOO_FEW_DISTINCT = 100


@dataclass(frozen=True)
class SplitPlan:
    """The split of each member, and what it takes to split again.

    `groups` are the hashes of few groups. Rows that are split at random have the
    `occurrence` (n,) of each row among its equals, and the `seed` of the rehashing.
    """

    by: SplitStrategy
    splits: tuple[Split, ...]
    groups: tuple[float, ...] = ()
    occurrence: NDArray[np.float64] | None = None
    seed: int = 0


def plan_splits(
    config: SplitConfig, data: Dataset, rng: np.random.Generator
) -> SplitPlan:
    """Split the rows as configured; raise DataError if a part would be empty."""
    if config.data.split == "time":
        plan = _by_time(config, data)
    elif config.data.split == "grouped":
        plan = _by_group(config, data)
    else:
        plan = _at_random(config, data, rng)
    if not all(len(split.train) for split in plan.splits):
        raise DataError(f"{len(data)} rows are too few: none is left to train")
    return plan


def _shares(config: SplitConfig) -> tuple[int, float, float]:
    """Return the number of members and the shares of validation and test rows."""
    data = config.data
    return config.ensemble.members, data.validation_fraction, data.test_fraction


def _at_random(
    config: SplitConfig, data: Dataset, rng: np.random.Generator
) -> SplitPlan:
    """Split by the values of the rows, or by chance if too many rows are equal."""
    members, validation, test = _shares(config)
    hashes = data.row_hashes
    splits = windows(hashes, members, validation, test)
    enough = (1 - validation - test) * len(data) / 2
    if (
        len(np.unique(hashes)) < min(len(data) / 2, TOO_FEW_DISTINCT)
        or min(len(split.train) for split in splits) < enough
    ):
        occurrence, seed = count_occurrences(hashes), int(rng.integers(1 << 53))
        hashes = rehash_duplicates(hashes, occurrence, seed)
        splits = windows(hashes, members, validation, test)
        return SplitPlan("random", tuple(splits), occurrence=occurrence, seed=seed)
    return SplitPlan("hash", tuple(splits))


def _by_group(config: SplitConfig, data: Dataset) -> SplitPlan:
    members, validation, test = _shares(config)
    name = str(config.data.group)
    hashes = _hash_groups(data.aside, name)
    known = np.unique(hashes)
    splits = windows(hashes, members, validation, test)
    spaced = len(known) < TOO_FEW_DISTINCT or _any_empty(splits, validation, test)
    if spaced:
        splits = windows(spread(hashes, known), members, validation, test)
    if _any_empty(splits, validation, test):
        networks = f" in each of {members} networks" if members > 1 else ""
        raise DataError(
            f"column '{name}' (data.group) has {len(known)} groups, too few for "
            f"{validation:.0%} validation rows and {test:.0%} test rows{networks}: "
            "take larger shares (data.validation_fraction, data.test_fraction)"
        )
    return SplitPlan("group", tuple(splits), tuple(known.tolist()) if spaced else ())


def _any_empty(splits: list[Split], validation: float, test: float) -> bool:
    """Tell whether a part with a share above 0 has no row."""
    return not all(
        len(split.train)
        and (len(split.validation) or not validation)
        and (len(split.test) or not test)
        for split in splits
    )


def _hash_groups(columns: Columns, name: str) -> RowHashes:
    return hash_rows({name: group_text(columns[name])})


def _by_time(config: SplitConfig, data: Dataset) -> SplitPlan:
    members, validation, test = _shares(config)
    name = str(config.data.time)
    try:
        split = by_time(np.asarray(data.aside[name], float), validation, test)
    except ValueError as error:
        raise DataError(f"column '{name}' (data.time) has {error}") from None
    return SplitPlan("time", (split,) * members)


def split_again(
    manifest: Manifest,
    raw: RawColumns,
    aside: Columns,
    occurrence: NDArray[np.float64] | None = None,
) -> list[Split] | None:
    """Return the split of each member that n rows had, or would have had, in a run.

    Returns None if the split cannot be repeated: it was by time, or by chance or group
    and these rows come without their occurrence (n,) or group.
    """
    recipe, settings = manifest.recipe, manifest.config["data"]
    if recipe.split_strategy == "time":
        return None
    if recipe.split_strategy == "group":
        columns = aside if isinstance(raw, np.ndarray) else {**raw, **aside}
        if settings["group"] not in columns:
            return None
        hashes = _hash_groups(columns, settings["group"])
        if recipe.groups:
            hashes = spread(hashes, np.array(recipe.groups))
    else:
        hashes = hash_rows(manifest.inputs.select(raw))
        if recipe.split_strategy == "random":
            if occurrence is None:
                return None
            hashes = rehash_duplicates(hashes, occurrence, recipe.split_seed)
    shares = settings["validation_fraction"], settings["test_fraction"]
    return windows(hashes, manifest.members, *shares)

"""How the rows of a run are divided, and how those of an earlier run were.

content   by what stands in a row (see `trainer.data.row_hashing`)
chance    rows too alike for that: equal ones are drawn apart, each at its turn
grouped   by the group a row belongs to, so that none is on two sides
time      the last rows are measured on; the same for every member

What is written into the manifest is enough to divide again: so the gate knows which of
production's networks have not seen a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.inputs import RawColumns
from models.features.table import Columns, TableInput
from models.storage.artefact import Manifest, SplitStrategy
from trainer.config.schema import Config
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

#: With fewer unlike rows than this a window may hold none of them, or all of a kind.
TOO_FEW_PLACES = 100


@dataclass(frozen=True)
class SplitPlan:
    """The parts of each member, and what it takes to divide again.

    That is the places of few groups; or for rows divided by chance the turn of each
    among its equals, and the salt that they were drawn with.
    """

    by: SplitStrategy
    splits: tuple[Split, ...]
    groups: tuple[float, ...] = ()
    turns: NDArray[np.float64] | None = None
    salt: int = 0


def plan_splits(config: Config, data: Dataset, rng: np.random.Generator) -> SplitPlan:
    """Divide rows as a complete config says; DataError where a part would be empty."""
    if config.data.split == "time":
        found = _by_time(config, data)
    elif config.data.split == "grouped":
        found = _grouped(config, data)
    else:
        found = _random(config, data, rng)
    if not all(len(split.train) for split in found.splits):
        raise DataError(f"{len(data)} rows leave none to train")
    return found


def _shares(config: Config) -> tuple[int, float, float]:
    """Return members, and the shares that choose the epoch and are measured on."""
    members, settings = config.ensemble.members, config.data
    assert members is not None
    assert settings.validation_fraction is not None
    assert settings.test_fraction is not None
    return members, settings.validation_fraction, settings.test_fraction


def _random(config: Config, data: Dataset, rng: np.random.Generator) -> SplitPlan:
    """Divide by what stands in the rows, or by chance where they are too alike."""
    members, validation, test = _shares(config)
    where = data.places
    found = windows(where, members, validation, test)
    enough = (1 - validation - test) * len(data) / 2
    if (
        len(np.unique(where)) < min(len(data) / 2, TOO_FEW_PLACES)
        or min(len(split.train) for split in found) < enough
    ):
        turn, salt = count_occurrences(where), int(rng.integers(1 << 53))
        found = windows(rehash_duplicates(where, turn, salt), members, validation, test)
        return SplitPlan("random", tuple(found), turns=turn, salt=salt)
    return SplitPlan("hash", tuple(found))


def _grouped(config: Config, data: Dataset) -> SplitPlan:
    members, validation, test = _shares(config)
    name = config.data.group
    assert name is not None
    where = _hashes_of_groups(data.aside, name)
    known = np.unique(where)
    found = windows(where, members, validation, test)
    spaced = len(known) < TOO_FEW_PLACES or _any_empty(found, validation, test)
    if spaced:
        found = windows(spread(where, known), members, validation, test)
    if _any_empty(found, validation, test):
        each = f", of each of {members} networks" if members > 1 else ""
        raise DataError(
            f"column '{name}' (data.group) has {len(known)} groups, too few for "
            f"{validation:.0%} of them to choose the epoch and {test:.0%} to be "
            f"measured on{each}: take larger shares (data.validation_fraction, "
            "data.test_fraction)"
        )
    return SplitPlan("group", tuple(found), tuple(known.tolist()) if spaced else ())


def _any_empty(splits: list[Split], validation: float, test: float) -> bool:
    """Tell whether a part that is asked for holds no row."""
    return not all(
        len(split.train)
        and (len(split.validation) or not validation)
        and (len(split.test) or not test)
        for split in splits
    )


def _hashes_of_groups(columns: Columns, name: str) -> RowHashes:
    return hash_rows({name: group_text(columns[name])})


def _by_time(config: Config, data: Dataset) -> SplitPlan:
    members, validation, test = _shares(config)
    name = config.data.time
    assert name is not None
    try:
        split = by_time(np.asarray(data.aside[name], float), validation, test)
    except ValueError as error:
        raise DataError(f"column '{name}' (data.time) has {error}") from None
    return SplitPlan("time", (split,) * members)


def split_again(
    manifest: Manifest,
    raw: RawColumns,
    aside: Columns,
    turn: NDArray[np.float64] | None = None,
) -> list[Split] | None:
    """Return the parts that rows had, or would have had, in the run of a manifest.

    None where that cannot be told: they were divided in time, or by chance or by groups
    and these rows do not say the turn or the group of each.
    """
    recipe, settings = manifest.recipe, manifest.config["data"]
    if recipe.split_strategy == "time":
        return None
    if recipe.split_strategy == "group":
        columns = aside if isinstance(raw, np.ndarray) else {**raw, **aside}
        if settings["group"] not in columns:
            return None
        where = _hashes_of_groups(columns, settings["group"])
        if recipe.groups:
            where = spread(where, np.array(recipe.groups))
    else:
        if isinstance(manifest.inputs, TableInput):
            raw = {name: raw[name] for name in manifest.inputs.by_name}
        where = hash_rows(raw)
        if recipe.split_strategy == "random":
            if turn is None:
                return None
            where = rehash_duplicates(where, turn, recipe.split_seed)
    shares = settings["validation_fraction"], settings["test_fraction"]
    return windows(where, manifest.members, *shares)

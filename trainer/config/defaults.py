"""Chooses every open setting from facts about the data, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from models.errors import ConfigError
from models.nn.architectures import Architecture
from trainer.config import recipes
from trainer.config.recipes import (
    FEW_IMAGES,
    FEW_ROWS,
    PRESET_BUDGETS,
    SOME_ROWS,
    DataFacts,
    DefaultValue,
)
from trainer.config.schema import (
    Config,
    ResolvedConfig,
    SplitBy,
    SplitConfig,
)

#: With fewer rows all of them train: none is held out.
TOO_FEW_TO_SPLIT = 40
#: A table with fewer rows gets a single plain network.
TOO_FEW_FOR_REALMLP = 100
#: Share of the rows that are test rows: the same for every preset, so that a test row
#: stays one. Tables of fewer than 400 rows need more, so that figures tell something.
TEST_SHARE, MAX_TEST_SHARE, TEST_ROWS = 0.1, 0.2, 40
#: Share of the rows that choose the epoch: of a network of an ensemble, which its other
#: networks learn, and of a single network.
ENSEMBLE_SHARE, SINGLE_SHARE = 0.05, 0.15
#: Another round of networks must be expected to save this share of the loss.
MEMBER_GAIN = 0.002
#: With more rows the networks outweigh a linear model.
LINEAR_ROWS = 10_000

ConfigType = TypeVar("ConfigType", bound=Config)


def choose_split(
    config: Config, facts: DataFacts, validation_given: bool
) -> tuple[SplitConfig, list[str]]:
    """Choose the architecture, the number of networks and how rows are split.

    Returns the settings and the reasons. Raises ConfigError if settings contradict one
    another.
    """
    n = facts.rows
    few = n < TOO_FEW_TO_SPLIT
    monotone = bool(config.data.directions)
    real = facts.table and (n >= TOO_FEW_FOR_REALMLP or monotone)
    architecture: Architecture = config.network.architecture or (
        "realmlp" if real else "mlp"
    )
    enough = architecture == "realmlp" or (facts.image and n >= FEW_IMAGES)
    members = config.ensemble.members or (
        PRESET_BUDGETS[config.preset].members if enough and not validation_given else 1
    )
    split, split_reason = _split(config)
    rotating = members > 1 and split != "time"
    test = min(max(TEST_ROWS / n, TEST_SHARE), MAX_TEST_SHARE)
    test = 0.0 if few else round(test, 2)
    share = 0.0 if few else ENSEMBLE_SHARE if rotating else SINGLE_SHARE
    tabular = architecture == "realmlp"
    if rotating and tabular and n * (1 - test - share) < FEW_ROWS:
        share = min(round((1 - test) / members, 3), SINGLE_SHARE)  # once for each row
    per_network = ", different rows for each network" if rotating else ""
    if validation_given and config.data.validation_fraction:
        raise ConfigError("--valid and data.validation_fraction exclude each other")
    if config.data.partitions and config.ensemble.minimum_gain:
        raise ConfigError(
            "ensemble.minimum_gain may leave networks out, and with data.partitions="
            "members their files: leave one of the two out"
        )
    resolved, reasons = _fill(
        config,
        [
            (
                "network.architecture",
                architecture,
                f"architecture {architecture}: {_why(real, monotone)}",
            ),
            *_ensemble(config, members, n, tabular),
            ("data.split", split, split_reason),
            (
                "data.test_fraction",
                test,
                f"{n} rows are too few to hold out test rows"
                if few
                else f"{test:.0%} of the rows are test rows, which no network learns",
            ),
            (
                "data.validation_fraction",
                0.0 if validation_given else share,
                "the validation rows given choose the epoch"
                if validation_given
                else f"{n} rows are too few to choose the epoch on held-out rows"
                if few
                else f"{share:.0%} of the rows choose the epoch{per_network}",
            ),
        ],
        SplitConfig,
    )
    if resolved.data.validation_fraction + resolved.data.test_fraction >= 1:
        raise ConfigError(
            "data.validation_fraction and data.test_fraction leave no rows to train: "
            "their sum must be below 1"
        )
    return resolved, reasons


def _why(is_table: bool, monotone: bool) -> str:
    """Return the reason of the architecture."""
    if not is_table:
        return "few rows, or not a table"
    return "it keeps directions" if monotone else "a table with enough rows"


def _ensemble(
    config: Config, members: int, n: int, tabular: bool
) -> Iterator[DefaultValue]:
    """The networks that answer together, and when more of them are worth their time."""
    yield (
        "ensemble.members",
        members,
        f"{members} networks, each fitted without some rows"
        if members > 1
        else "one network answers",
    )
    chosen = members > 1 and config.ensemble.members is None
    counted = chosen and (n >= SOME_ROWS or not tabular)
    counted = counted and not config.data.partitions  # fewer would leave files out
    yield (
        "ensemble.minimum_gain",
        MEMBER_GAIN if counted else 0.0,
        f"four at a time, while more are expected to save {MEMBER_GAIN:.1%} of the loss"
        if counted
        else f"not fewer than {members} networks",
    )
    linear = chosen and tabular and n < LINEAR_ROWS
    yield (
        "ensemble.linear",
        linear,
        "a linear model joins if the validation rows ask for it"
        if linear
        else "no linear model beside the networks",
    )


def _split(config: Config) -> tuple[SplitBy, str]:
    """Split by the column that is given for it, or at random."""
    data = config.data
    split: SplitBy = "grouped" if data.group else "time" if data.time else "random"
    for needed, key, column, purpose in (
        ("grouped", "data.group", data.group, "names the group of each row"),
        ("time", "data.time", data.time, "orders the rows"),
    ):
        if data.split == needed and not column:
            raise ConfigError(
                f"data.split={needed} needs {key}, the column that {purpose}"
            )
        if column and data.split not in (None, needed):
            raise ConfigError(f"{key} is for data.split={needed}, not {data.split}")
    if data.group and data.time:
        raise ConfigError("data.group and data.time exclude each other")
    reasons = {
        "random": "rows are split at random: no column groups or orders them",
        "grouped": f"rows are split by '{data.group}': no group is split",
        "time": f"rows are split by '{data.time}': the latest are the test rows",
    }
    return split, reasons[split]


def choose_training(
    config: SplitConfig, facts: DataFacts
) -> tuple[ResolvedConfig, list[str]]:
    """Choose the network and its training, for `facts.rows` training rows.

    Returns the settings and the reasons. Raises ConfigError if rows that are not images
    are to be augmented.
    """
    strength = config.train.augmentation
    if strength and not facts.image:
        raise ConfigError(
            f"train.augmentation={strength:g} needs images of at least 8 x 8 pixels "
            "with at most 4 channels, and these rows are not images"
        )
    defaults: Iterable[DefaultValue]
    if config.network.architecture == "realmlp":
        defaults = [*recipes.realmlp(config, facts), recipes.augmentation(facts)]
    elif facts.image:
        defaults = [*recipes.image(config, facts), *recipes.mlp(config, facts)]
    else:
        defaults = [*recipes.mlp(config, facts), recipes.augmentation(facts)]
    if facts.warm:
        cold, _ = _fill(config, defaults := [*defaults], ResolvedConfig)
        defaults = [*recipes.warm(cold.train, facts), *defaults]
    return _fill(config, defaults, ResolvedConfig)


def _fill(
    config: Config, defaults: Iterable[DefaultValue], kind: type[ConfigType]
) -> tuple[ConfigType, list[str]]:
    """Fill in the open settings; return them with the reason of each default used."""
    tree = msgspec.to_builtins(config)
    reasons = []
    for key, value, reason in defaults:
        section, name = key.split(".")
        if tree[section][name] is None:
            tree[section][name] = value
            reasons.append(reason)
    return msgspec.convert(tree, kind), reasons

"""Columns with which the answer only rises or falls: `data.columns.NAME.monotone`.

What production has for a column holds until a setting says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from models.errors import ConfigError
from models.features.inputs import Inputs
from models.features.predictions import Task
from models.features.table import TableInput
from models.storage.artefact import Artefact
from trainer.config.data import ColumnConfig, Monotone
from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.types import MonotoneInputs

#: How the answer changes with a column.
WORDS: dict[Monotone, str] = {"up": "only rises", "down": "only falls"}


def resolve_monotone(
    config: Config, data: Dataset, task: Task, production: Artefact | None
) -> tuple[Config, list[str]]:
    """Return the settings with the directions of production, and the reasons.

    Raises ConfigError for columns or networks that cannot keep a direction.
    """
    settings = config.data
    for name in settings.directions:
        if problem := _problem(name, config, data, task):
            raise ConfigError(f"data.columns.{name}.monotone {problem}")
    columns = dict(settings.columns)
    then = {} if production is None else production.manifest.config
    for name, direction in directions_of(then).items():
        column = columns.get(name, ColumnConfig())
        if column.monotone is msgspec.UNSET and not _problem(name, config, data, task):
            columns[name] = msgspec.structs.replace(column, monotone=direction)
    resolved = msgspec.structs.replace(settings, columns=columns)
    reasons = [
        f"the answer {WORDS[direction]} with column '{name}': as "
        + ("given" if name in settings.directions else "in production")
        for name, direction in resolved.directions.items()
    ]
    return msgspec.structs.replace(config, data=resolved), reasons


def monotone_inputs(
    directions: Mapping[str, Monotone], inputs: Inputs
) -> MonotoneInputs | None:
    """Return the inputs of the network that the columns of these directions become."""
    if not directions or not isinstance(inputs, TableInput):
        return None
    names = inputs.feature_names()
    numbers: dict[Monotone, list[int]] = {"up": [], "down": []}
    missing = []
    for name, direction in directions.items():
        # A column that does not vary in training is no input.
        found = [i for i, source in enumerate(names) if source == name]
        numbers[direction] += found[:1]
        missing += found[1:]
    return MonotoneInputs(*map(tuple, (numbers["up"], numbers["down"], missing)))


def directions_of(config: Mapping[str, Any]) -> dict[str, Monotone]:
    """Return the directions among the settings of a manifest."""
    columns = config.get("data", {}).get("columns", {})
    found = {name: column.get("monotone") for name, column in columns.items()}
    return {name: direction for name, direction in found.items() if direction in WORDS}


def _problem(name: str, config: Config, data: Dataset, task: Task) -> str:
    """Say why the answer cannot keep a direction with a column, or nothing."""
    kind, network = data.kinds.get(name), config.network
    if not data.kinds:
        return "needs a table, and these data are one array"
    if kind is None:
        others = ", ".join(data.kinds)
        return f"needs an input of the model, not '{name}': the inputs are {others}"
    if kind == "categorical":
        return f"needs numbers, and '{name}' holds categories, which have no order"
    if kind == "datetime":
        return (
            f"needs numbers, and '{name}' holds dates, which repeat each week and year"
        )
    if task == "multiclass":
        return (
            "needs a target that is a number or one of two classes: the probability of "
            "one class of several cannot rise without a choice of those that fall"
        )
    if network.architecture == "mlp":
        return "needs network.architecture=realmlp, and the setting is mlp"
    return ""

"""Start the networks of a run from the weights of the production version.

Weights belong to an encoding, so the run takes over production's: its scales, and its
categories. If the data have moved too far for them, the run starts anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec

from models.features.columns import AnyColumn, CategoricalColumn, Floats
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Classification, Output
from models.features.table import Columns, TableInput
from models.nn.network import Network
from models.storage.artefact import Artefact
from trainer.config.schema import ResolvedConfig
from trainer.preparation.split_plan import learnt_rows

#: An old scale is kept if the new one is at most this many times larger or smaller,
#: and the center is not farther away than one unit of either.
FACTOR = 3.0
#: A warm start allows at most this share of new categories, encoded as unknown ones.
NEW_CATEGORIES = 0.1

StructT = TypeVar("StructT", bound=msgspec.Struct)


class WarmStart(NamedTuple):
    """The networks to start from, and the encoding of inputs and target."""

    networks: tuple[Network, ...]
    inputs: Inputs
    output: Output


class Moved(Exception):
    """The data do not suit production's encoding; the message says why."""


def find_start(
    production: Artefact | None,
    config: ResolvedConfig,
    inputs: Inputs,
    output: Output,
    raw: RawColumns,
    aside: Columns,
    occurrence: Floats | None,
) -> tuple[WarmStart | None, str]:
    """Return the start from production's weights, if there is one, and the reason.

    Without a start it is the message of Moved. The test rows are `raw`, with the
    columns `aside` and their `occurrence` (n,).
    """
    try:
        if production is None:
            raise Moved("there is no production version")
        start = warm_start(production, config, inputs, output)
        # A test row that was learnt would measure the candidate too well.
        if learnt_rows(production.manifest, raw, aside, occurrence).any():
            raise Moved("production has learnt rows that are test rows now")
    except Moved as reason:
        return None, f"no warm start: {reason}"
    return start, f"warm start: from the weights of {production.sha256[:12]}"


def warm_start(
    production: Artefact, config: ResolvedConfig, inputs: Inputs, output: Output
) -> WarmStart:
    """Return production's networks, and its encoding with the facts of new data.

    `inputs` and `output` are fitted to the new data. Raises Moved.
    """
    manifest = production.manifest
    for section in ("network", "ensemble", "data"):
        then = manifest.config.get(section, {})
        for key, value in msgspec.to_builtins(getattr(config, section)).items():
            if then.get(key) != value:
                raise Moved(f"{section}.{key} was {then.get(key)} and is {value}")
    if not manifest.networks:
        raise Moved("production is a linear model alone")
    return WarmStart(
        tuple(production.model.networks[: manifest.networks]),
        _adopt_inputs(manifest.inputs, inputs),
        _adopt_output(manifest.output, output),
    )


def _adopt_inputs(then: Inputs, now: Inputs) -> Inputs:
    if isinstance(now, TableInput) and isinstance(then, TableInput):
        if then.kinds != now.kinds:
            raise Moved("columns came, went or changed their kind")
        return TableInput(tuple(map(_adopt_column, then.columns, now.columns)))
    if isinstance(now, TableInput) or isinstance(then, TableInput):
        raise Moved("a table and arrays are different data")
    if then.shape != now.shape:
        raise Moved(f"the shape of a row was {then.shape} and is {now.shape}")
    for old, new in zip(_scales(then), _scales(now), strict=True):
        _check_scale("x", old, new)
    return _replaced(now, center=then.center, scale=then.scale)


def _scales(inputs: Any) -> list[tuple[float, float]]:
    return list(zip(inputs.center, inputs.scale, strict=True))


def _adopt_column(then: AnyColumn, now: AnyColumn) -> AnyColumn:
    """Return a column with the encoding of the same column in earlier data."""
    name = now.name
    if now.nullable and not then.nullable:
        raise Moved(f"column '{name}' has missing values now")
    if isinstance(now, CategoricalColumn):
        assert isinstance(then, CategoricalColumn)
        unknown = set(now.categories) - set(then.categories)
        if len(unknown) > NEW_CATEGORIES * len(then.categories):
            raise Moved(f"column '{name}' has new categories, such as '{min(unknown)}'")
        return _replaced(then, rare=now.rare + len(unknown))
    for old, new in zip(then.scalings, now.scalings, strict=False):
        _check_scale(name, *((s.center, s.scale) for s in (old, new)))
    if len(then.scalings) != len(now.scalings):
        raise Moved(f"column '{name}' varies otherwise than before")
    kept = {"scaling": then.scaling} if hasattr(then, "scaling") else {}
    return _replaced(now, nullable=then.nullable, **kept)


def _adopt_output(then: Output, now: Output) -> Output:
    if isinstance(then, Classification) or isinstance(now, Classification):
        if then.classes != now.classes:
            raise Moved("the classes of the target have changed")
        return now
    _check_scale("target", (then.mean, 1 / then.std), (now.mean, 1 / now.std))
    ends = (now.lowest * now.std + now.mean, now.highest * now.std + now.mean)
    lowest, highest = ((end - then.mean) / then.std for end in ends)
    return _replaced(now, mean=then.mean, std=then.std, lowest=lowest, highest=highest)


def _check_scale(
    name: str, then: tuple[float, float], now: tuple[float, float]
) -> None:
    """Compare (center, scale) of x → (x - center) * scale; raise Moved."""
    (old_center, old), (new_center, new) = then, now
    distance = abs(new_center - old_center) * max(old, new)
    if min(old, new) * FACTOR < max(old, new) or distance > 1.0:
        raise Moved(f"the numbers of '{name}' have moved too far from their old scale")


def _replaced(struct: StructT, **fields: Any) -> StructT:
    return msgspec.structs.replace(struct, **fields)

"""The settings of the gate and of the guards.

They belong to the run and not to the model: the artefact's bytes do not depend on them.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=1024)]
Guard: TypeAlias = Literal[
    "schema", "rows", "balance", "psi", "targets", "stale", "broken"
]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings; the type of each carries its help."""


class GateConfig(Section, frozen=True, kw_only=True):
    """The conditions under which the gate promotes a candidate."""

    minimum_gain: Annotated[
        Fraction | None,
        Meta(
            description="Share of production's loss by which the candidate must be "
            "significantly better; if not given, it only must not be worse."
        ),
    ] = None
    allowed_loss: Annotated[
        Fraction,
        Meta(
            description="Share of production's loss by which the candidate may be "
            "worse; it is refused if it is significantly worse than that."
        ),
    ] = 0.01
    minimum_rows: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)],
        Meta(
            description="Fewest rows, learnt by neither version, on which a candidate "
            "is compared; with fewer it stays a candidate."
        ),
    ] = 20
    baseline: Annotated[
        bool,
        Meta(
            description="Refuse a first version that is not significantly better than "
            "a constant answer, and a later one if it or production is not better."
        ),
    ] = True
    calibration: Annotated[
        Annotated[float, Meta(gt=0.0, le=1.0)] | None,
        Meta(description="Largest expected calibration error of a classifier."),
    ] = None
    group: Annotated[
        ColumnName | None,
        Meta(
            description="Column whose groups the gate compares one by one, each with "
            "the same `gate.allowed_loss`."
        ),
    ] = None
    group_limit: Annotated[
        Positive | None,
        Meta(description="Largest log loss or RMSE that a group may have."),
    ] = None


class GuardsConfig(Section, frozen=True, kw_only=True):
    """Limits of how far the data may differ from those of the production version."""

    stop: Annotated[
        tuple[Guard, ...],
        Meta(
            description="Guards that end the run before training: `schema`, `rows`, "
            "`balance`, `psi`, `targets`, `stale`, `broken`."
        ),
    ] = ()
    refuse: Annotated[
        tuple[Guard, ...],
        Meta(
            description="Guards whose findings keep the gate from promoting; those in "
            "neither list only warn."
        ),
    ] = ("rows", "targets", "broken")
    rows: Annotated[
        Fraction,
        Meta(
            description="Share of production's rows; there have to be more rows than "
            "that."
        ),
    ] = 0.5
    balance: Annotated[
        Fraction, Meta(description="Largest change of the share of a class.")
    ] = 0.1
    psi: Annotated[
        Positive,
        Meta(
            description="Largest population stability index (PSI) of a column or a "
            "numeric target."
        ),
    ] = 0.25
    targets: Annotated[
        Fraction,
        Meta(
            description="Largest share of production's test rows whose target may have "
            "changed."
        ),
    ] = 0.01
    hours: Annotated[
        Positive | None,
        Meta(description="Largest age of the newest row in hours, by its date."),
    ] = None

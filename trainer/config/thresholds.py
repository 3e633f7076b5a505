"""What data and candidate are held against: the settings of guards and gate.

They are a run's and not a model's: whatever they are, the artefact has the same bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Fraction = Annotated[float, Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=1024)]
Guard: TypeAlias = Literal["schema", "rows", "balance", "psi", "targets", "stale"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings; the help of each stands in its type."""


class GateConfig(Section, frozen=True):
    """What a candidate must be to take over; of the run, not of the model."""

    minimum_gain: Annotated[
        Fraction | None,
        Meta(
            description="Share of production's figure by which the candidate must be "
            "better beyond doubt; without it, it must not be worse."
        ),
    ] = None
    allowed_loss: Annotated[
        Fraction,
        Meta(
            description="Share of production's figure by which the candidate may be "
            "worse; beyond that, and beyond doubt, it is refused."
        ),
    ] = 0.01
    calibration: Annotated[
        Annotated[float, Meta(gt=0.0, le=1.0)] | None,
        Meta(description="Largest expected calibration error of a classifier."),
    ] = None
    group: Annotated[
        ColumnName | None,
        Meta(
            description="Column whose groups are compared one by one, each with the "
            "same allowed loss."
        ),
    ] = None
    group_limit: Annotated[
        Positive | None,
        Meta(description="Largest log loss or RMSE of any group."),
    ] = None


class GuardsConfig(Section, frozen=True):
    """What is said of the data beside those of the version in production."""

    stop: Annotated[
        tuple[Guard, ...],
        Meta(
            description="Guards that end the run before training: `schema`, `rows`, "
            "`balance`, `psi`, `targets`, `stale`; the others only say what they find."
        ),
    ] = ()
    rows: Annotated[
        Fraction, Meta(description="Fewest rows, as a share of production's.")
    ] = 0.5
    balance: Annotated[
        Fraction, Meta(description="Largest change of a class's share of the rows.")
    ] = 0.1
    psi: Annotated[
        Positive,
        Meta(description="Largest stability index of a column or a numeric target."),
    ] = 0.25
    targets: Annotated[
        Fraction,
        Meta(
            description="Largest share of the rows that production was measured on "
            "whose target is another now."
        ),
    ] = 0.01
    hours: Annotated[
        Positive | None,
        Meta(description="Oldest that the newest row may be, by its date."),
    ] = None

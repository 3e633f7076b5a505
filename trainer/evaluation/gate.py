"""The gate: promotes a candidate that is not worse than production on the same rows.

Both models answer every held-out row by networks that were fitted without it. They are
compared on all of these rows, on those that were test rows of the production version,
and on each group of a named column: a model that is better on last night's rows may be
worse on older ones.

The candidate, which was fitted to fresher rows, is refused only if it is significantly
worse. With `gate.minimum_gain` it must be significantly better by that much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from models.errors import ConfigError, InvalidInput, nearest
from models.storage.artefact import Artefact
from trainer.config.thresholds import GateConfig
from trainer.data.roles import group_text
from trainer.evaluation.paired_comparison import (
    Comparison,
    PairedComparison,
    columns_of,
)
from trainer.evaluation.production import ProductionModel
from trainer.preparation.prepare import Part, Prepared

Policy = Literal["auto", "always", "never"]
#: Most values of a column whose groups are compared one by one.
MAX_GROUPS = 50


class Verdict(msgspec.Struct, frozen=True):
    """Whether the candidate is promoted, the reason, and the comparisons behind it.

    `production` has all metrics of the production version on the candidate's rows.
    """

    promoted: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()
    production: dict[str, float] | None = None


def check(settings: GateConfig, prepared: Prepared) -> None:
    """Raise ConfigError if the settings of the gate do not fit the data."""
    if settings.calibration is not None and prepared.task == "regression":
        raise ConfigError(
            "gate.calibration needs a target of classes, and this one is a number"
        )
    if settings.group_limit is not None and settings.group is None:
        raise ConfigError("gate.group_limit needs gate.group, the column of groups")
    if settings.group is None:
        return
    columns = columns_of(prepared.all_rows)
    if settings.group not in columns:
        hint = nearest(settings.group, columns)
        raise ConfigError(f"gate.group: there is no column '{settings.group}'{hint}")
    groups = len(set(group_text(columns[settings.group])))
    if groups > MAX_GROUPS:
        raise ConfigError(
            f"gate.group: column '{settings.group}' has {groups:,} values, and at most "
            f"{MAX_GROUPS} groups can be compared"
        )


def decide(
    policy: Policy,
    settings: GateConfig,
    candidate: Artefact,
    production: ProductionModel | None,
    rows: Part,
    evaluated_on: str,
) -> Verdict:
    """Decide whether the candidate is promoted, from the rows it was evaluated on.

    Their target is class numbers in the candidate's order, or values; their weights
    apply to both models.
    """
    if policy != "auto":
        return Verdict(policy == "always", f"--promote {policy}")
    problem = production and _incomparable(candidate, production.artefact)
    if problem:
        return Verdict(False, f"cannot be compared with production: {problem}")
    try:
        paired = PairedComparison(settings, candidate, production, rows)
        comparisons = tuple(paired.comparisons(evaluated_on))
    except InvalidInput as error:
        return Verdict(False, f"cannot be compared with production: {error}")
    refusals = [*_uncalibrated(settings, candidate)]
    refusals += [str(comparison) for comparison in comparisons if comparison.refused]
    if refusals:
        reason = "; ".join(refusals)
        return Verdict(False, reason, comparisons, paired.production_metrics)
    if production is None:
        reason = "there is no production version to compare with"
        return Verdict(True, reason, comparisons)
    reason = "; ".join(map(str, comparisons[:2]))
    return Verdict(True, reason, comparisons, paired.production_metrics)


def _uncalibrated(settings: GateConfig, candidate: Artefact) -> Iterator[str]:
    ece, limit = candidate.manifest.metrics.get("ece"), settings.calibration
    if limit is not None and ece is not None and ece > limit:
        yield f"poorly calibrated: ece {ece:.3g} is above gate.calibration={limit:g}"


def _incomparable(candidate: Artefact, production: Artefact) -> str | None:
    """Return why the two models cannot answer the same rows, or None."""
    ours, theirs = candidate.manifest, production.manifest
    if ours.output.__class__ is not theirs.output.__class__:
        return f"its task is {theirs.task}, and the candidate's is {ours.task}"
    if ours.inputs.row_form != theirs.inputs.row_form:
        return f"its rows are {theirs.inputs.row_form}, not {ours.inputs.row_form}"
    for name, kind in theirs.inputs.kinds.items():
        if ours.inputs.kinds.get(name) != kind:
            return f"column '{name}' is missing from the candidate, or of another kind"
    return None

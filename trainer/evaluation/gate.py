"""May the candidate take over? Only if it is not worse on the same rows.

Both models answer every held-out row by networks that have not learnt it. They are
compared on all of these, on those that production was measured on when it was made, and
on those of each group that is named: a model that is better for what came last night
may be worse for all that was there before.

The benefit of the doubt is the candidate's, whose rows are fresher: it is refused when
it is worse beyond doubt. Who asks for a gain turns that round: then it must be better
by as much, beyond doubt.
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
#: A column of more values than this does not name groups to be looked at one by one.
MOST_GROUPS = 50


class Verdict(msgspec.Struct, frozen=True):
    """Whether the candidate is promoted, the sentence that says why, and figures.

    `production` has all figures of what serves now, on the candidate's rows.
    """

    promoted: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()
    production: dict[str, float] | None = None


def check(settings: GateConfig, prepared: Prepared) -> None:
    """Refuse settings that these data cannot meet; ConfigError says why."""
    if settings.calibration is not None and prepared.task == "regression":
        raise ConfigError("gate.calibration is for classes, this target is a number")
    if settings.group_limit is not None and settings.group is None:
        raise ConfigError("gate.group_limit needs gate.group, the column of groups")
    if settings.group is None:
        return
    columns = columns_of(prepared.all_rows)
    if settings.group not in columns:
        hint = nearest(settings.group, columns)
        raise ConfigError(f"gate.group: there is no column '{settings.group}'{hint}")
    found = len(set(group_text(columns[settings.group])))
    if found > MOST_GROUPS:
        raise ConfigError(
            f"gate.group: column '{settings.group}' has {found:,} values, "
            f"{MOST_GROUPS} are compared at most"
        )


def decide(
    policy: Policy,
    settings: GateConfig,
    candidate: Artefact,
    production: ProductionModel | None,
    rows: Part,
    measured_on: str,
) -> Verdict:
    """Compare the candidate with what serves now, on the candidate's measured rows.

    Their target is class numbers in the candidate's order, or values; their weights
    count for both.
    """
    if policy != "auto":
        return Verdict(policy == "always", f"--promote {policy}")
    problem = production and _incomparable(candidate, production.artefact)
    if problem:
        return Verdict(False, f"cannot be compared with production: {problem}")
    try:
        trial = PairedComparison(settings, candidate, production, rows)
        found = tuple(trial.comparisons(measured_on))
    except InvalidInput as error:
        return Verdict(False, f"cannot be compared with production: {error}")
    refusals = [*_uncalibrated(settings, candidate)]
    refusals += [str(each) for each in found if each.refused]
    if refusals:
        return Verdict(False, "; ".join(refusals), found, trial.figures)
    if production is None:
        return Verdict(True, "there is none in production to compare with", found)
    return Verdict(True, "; ".join(map(str, found[:2])), found, trial.figures)


def _uncalibrated(settings: GateConfig, candidate: Artefact) -> Iterator[str]:
    found, limit = candidate.manifest.metrics.get("ece"), settings.calibration
    if limit is not None and found is not None and found > limit:
        yield f"badly calibrated: ece {found:.3g}, gate.calibration allows {limit:g}"


def _incomparable(candidate: Artefact, production: Artefact) -> str | None:
    ours, theirs = candidate.manifest, production.manifest
    if ours.output.__class__ is not theirs.output.__class__:
        return f"its task is {theirs.task}, the candidate's {ours.task}"
    if ours.inputs.row_form != theirs.inputs.row_form:
        return f"its rows are {theirs.inputs.row_form}, not {ours.inputs.row_form}"
    for name, kind in theirs.inputs.kinds.items():
        if ours.inputs.kinds.get(name) != kind:
            return f"it needs the column '{name}' as it was"
    return None

"""The gate: promotes a candidate that is not worse than production on the same rows.

Both models answer the held-out rows that neither has learnt. They are compared on all
of these rows, on those that were test rows of the production version, and on each group
of a named column: a model that is better on last night's rows may be worse on older
ones. With too few such rows, or answers that do not fit, they cannot be compared.

The candidate, which was fitted to fresher rows, is refused only if it is significantly
worse. With `gate.minimum_gain` it must be significantly better by that much. A first
version must be significantly better than a constant answer. Later both models must be
better than it: if production no longer is, the rows are probably broken, and a better
figure on them shows nothing. For the same reason findings of `guards.refuse` refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError, InvalidInput, nearest
from models.features.columns import Floats
from models.storage.artefact import Artefact
from trainer.config.thresholds import GateConfig
from trainer.data.roles import group_text
from trainer.evaluation import bootstrap
from trainer.evaluation.metrics import mean_loss
from trainer.evaluation.paired_comparison import (
    Comparison,
    PairedComparison,
    columns_of,
)
from trainer.evaluation.production import ProductionModel
from trainer.preparation.prepare import Evaluation, Prepared
from trainer.preparation.targets import label_key

Policy = Literal["auto", "always", "never"]
#: Most values of a column whose groups are compared one by one.
MAX_GROUPS = 50
#: The level of an interval whose upper end has an error of 5 %.
ONE_SIDED = 0.9
UNCOMPARED = "cannot be compared"
FIRST = "first version of this model"


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
    evaluation: Evaluation,
    constant_losses: Floats,
    faults: Sequence[str] = (),
) -> Verdict:
    """Decide whether the candidate is promoted, from the rows it was evaluated on.

    Their target is class numbers in the candidate's order, or values; their weights
    apply to both models. `constant_losses` (n,) are those of a constant answer, and
    `faults` what is wrong with the data in comparison with production's.
    """
    if policy != "auto":
        return Verdict(policy == "always", f"--promote {policy}")
    problem = production and _incomparable(candidate, production.artefact)
    if problem:
        return Verdict(False, f"{UNCOMPARED}: {problem}")
    rows = _comparable_rows(evaluation, production)
    if len(rows) < settings.minimum_rows:
        return Verdict(False, _too_few(settings, evaluation, rows, production))
    if candidate.manifest.output.classes:
        codes = np.unique(evaluation.rows.target[rows]).tolist()
        if len(codes) == 1:
            only = candidate.manifest.output.class_names[codes[0]]
            reason = f"all {len(rows):,} {evaluation.name} are of class '{only}'"
            return Verdict(False, f"{UNCOMPARED}: {reason}")
    try:
        compared = evaluation.rows.only(rows)
        paired = PairedComparison(settings, candidate, production, compared)
        comparisons = tuple(paired.comparisons(evaluation.name))
    except InvalidInput as error:
        return Verdict(False, f"{UNCOMPARED}: {error}")
    refusals = [*faults, *_uncalibrated(settings, candidate)]
    # Class weights are asked for at the price of the log loss.
    weighted = candidate.manifest.config["train"].get("class_weights")
    if settings.baseline and not weighted:
        refusals += _not_better_than_constant(
            paired, production, constant_losses[rows], candidate.manifest.intervals
        )
    refusals += [str(comparison) for comparison in comparisons if comparison.refused]
    if any(comparison.refused == "significantly worse" for comparison in comparisons):
        refusals[-1] += f" (gate.allowed_loss={settings.allowed_loss:g})"
    if refusals:
        reason = "; ".join(refusals)
        return Verdict(False, reason, comparisons, paired.production_metrics)
    if production is None:
        return Verdict(True, FIRST, comparisons)
    reason = "; ".join(map(str, comparisons[:2]))
    return Verdict(True, reason, comparisons, paired.production_metrics)


def _comparable_rows(
    evaluation: Evaluation, production: ProductionModel | None
) -> NDArray[np.intp]:
    """Return the numbers of the evaluation rows that neither model has learnt."""
    fresh = np.full(len(evaluation.rows), evaluation.held_out)
    if production is not None:
        fresh &= ~production.learnt(evaluation.rows)
    return np.flatnonzero(fresh)


def _too_few(
    settings: GateConfig,
    evaluation: Evaluation,
    rows: NDArray[np.intp],
    production: ProductionModel | None,
) -> str:
    """Say that there are too few rows to compare on."""
    needs = f"{settings.minimum_rows} are needed (gate.minimum_rows)"
    if not evaluation.held_out:
        return f"{UNCOMPARED}: no row was held out, and {needs}"
    if production is None:
        return f"{UNCOMPARED}: only {len(rows):,} rows were held out, and {needs}"
    learnt = ""
    if len(rows) < len(evaluation.rows):
        learnt = f" were not learnt by version {production.version}"
    return (
        f"{UNCOMPARED}: {len(rows):,} of {len(evaluation.rows):,} {evaluation.name}"
        f"{learnt}, and {needs}"
    )


def _not_better_than_constant(
    paired: PairedComparison,
    production: ProductionModel | None,
    constant: Floats,
    intervals: Mapping[str, tuple[float, float]],
) -> Iterator[str]:
    """Compare with a constant answer, whose losses (n,) are given.

    `intervals` are those of the candidate's metrics.
    """
    answer = "the shares of the classes" if paired.output.classes else "the mean"
    weights = paired.rows.weights
    limit = mean_loss(paired.output, constant, weights)
    ours = mean_loss(paired.output, paired.losses, weights)
    figures = (
        f"{paired.metric} {ours:.3g} against {limit:.3g} on {len(constant):,} rows"
    )
    theirs = paired.production_losses
    if production is None or theirs is None:
        _, high = bootstrap.interval(
            (paired.losses, constant),
            weights,
            paired.clusters,
            root=not paired.output.classes,
            level=ONE_SIDED,
        )
        # A few rows answered too surely hide a good order from the log loss.
        orders = intervals.get("auc", (0.0, 1.0))[0] > 0.5 and ours < limit
        if high >= 0 and not orders:
            yield f"not significantly better than always answering {answer}: {figures}"
        return
    if not production.beats_constant:
        return
    before = mean_loss(paired.output, theirs, weights)
    if before >= limit:
        yield (
            f"production no longer answers better than {answer} would: {paired.metric} "
            f"{before:.3g} against {limit:.3g} on {len(constant):,} rows; were the "
            "rows mixed up, or their units changed?"
        )
    elif ours >= limit:
        yield f"not better than always answering {answer}: {figures}"


def _uncalibrated(settings: GateConfig, candidate: Artefact) -> Iterator[str]:
    ece, limit = candidate.manifest.metrics.get("ece"), settings.calibration
    if limit is not None and ece is not None and ece > limit:
        yield f"poorly calibrated: ece {ece:.3g} is above gate.calibration={limit:g}"


def _incomparable(candidate: Artefact, production: Artefact) -> str | None:
    """Return why the two models cannot answer the same rows, or None."""
    ours, theirs = candidate.manifest, production.manifest
    if ours.output.__class__ is not theirs.output.__class__:
        return f"production's task is {theirs.task}, and the candidate's is {ours.task}"
    if ours.output.classes:
        known = {label_key(name) for name in ours.output.class_names}
        gone = [n for n in theirs.output.class_names if label_key(n) not in known]
        if gone:
            return (
                f"class '{gone[0]}' of target '{ours.target}' is known to production, "
                "and no row has it"
            )
    if ours.inputs.row_form != theirs.inputs.row_form:
        return (
            f"production's rows are {theirs.inputs.row_form}, not "
            f"{ours.inputs.row_form}"
        )
    for name, kind in theirs.inputs.kinds.items():
        if ours.inputs.kinds.get(name) != kind:
            return f"column '{name}' is missing from the candidate, or of another kind"
    return None

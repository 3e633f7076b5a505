"""Checks the data of a run before training.

Columns are profiled one by one, in a sample of the training rows; rows are compared by
their hashes. That costs a sort or two for each column, and never more memory than the
data.

A finding changes nothing about the training. With `data.findings=stop` a finding that
is a fault ends the run; an imbalanced target is not a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.inputs import Inputs
from models.features.text import is_missing
from models.storage.artefact import Finding
from trainer.checks.column_profile import (
    Profile,
    Target,
    columns,
    natural_copies,
    profile,
    sample,
    values_at,
)
from trainer.checks.dataset_shift import (
    EvaluationSet,
    evaluation_sets,
    shared_groups,
    shifts,
)
from trainer.config.schema import DataConfig
from trainer.data.row_hashing import RowHashes, hash_rows
from trainer.data.spelling import alike
from trainer.data.table import shown
from trainer.preparation.prepare import Prepared
from trainer.preparation.targets import outliers
from trainer.types import Say

#: Kinds of findings that are not faults.
NO_FAULT = frozenset(
    {"imbalance", "unmeasured"}
    | {
        "unused",
        "marks",
        "reading",
        "text",
        "production",
        "heading",
        "words",
        "alike",
        "sentinel",
    }
)
#: Most findings of a kind that are reported one by one; the rest are counted.
MAX_OF_A_KIND = 10
#: Most classes that one finding names.
MAX_NAMED = 5
#: Marks of a missing value that are words too.
WORDS = frozenset({"none", "nil", "missing", "-", "--", "---", "–", "—"})
#: With fewer rows most findings would be due to chance.
MIN_ROWS = 50

#: Share of the target from which a column that explains it is a leak. A leak is the
#: target under another name, so it explains all of it except for errors (an error in
#: 200 rows of two equal classes makes 0.98). Legitimate columns stay below: the best
#: one explains 0.94 of a diamond's price, 0.87 of an iris's species, 0.75 of whether a
#: tumour is malignant.
LEAK = 0.98
#: Share of missing values from which a column is reported.
MOSTLY_MISSING = 0.9
#: Share of distinct texts from which a column identifies rows.
UNIQUE = 0.95
#: Later rows differ if this share of them is outside of the range of training rows.
OUTSIDE = 0.25
#: A class is rare below this part of an even share: two classes of 9 to 1.
RARE = 0.2
#: PSI of a major shift, as is usual (below 0.1 it is negligible).
DRIFT = 0.25
#: Share of copied rows from which they are reported.
COPIED = 0.01


def diagnose(prepared: Prepared, say: Say) -> tuple[Finding, ...]:
    """Report what training rows show; return it after what reading them has shown.

    Raises DataError if a fault has to end the run.
    """
    found = report_findings(_findings(prepared), prepared.config.data, say)
    return (*summarize(prepared.data.findings), *found)


def report_findings(
    findings: Iterable[Finding], settings: DataConfig, say: Say
) -> tuple[Finding, ...]:
    """Say and return findings; raise DataError if a fault has to end the run."""
    findings = tuple(summarize(findings))
    faults = [f.sentence for f in findings if f.kind not in NO_FAULT]
    if faults and settings.findings == "stop":
        raise DataError(f"data.findings=stop: {'; '.join(faults)}")
    for finding in findings:
        say(finding.sentence)
    return findings


def summarize(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the first findings of each kind, and the rest of the kind as one."""
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for kind, same in kinds.items():
        yield from same[:MAX_OF_A_KIND]
        if rest := same[MAX_OF_A_KIND:]:
            columns = tuple(name for finding in rest for name in finding.columns)
            first = f", first of '{columns[0]}'" if columns else ""
            sentence = f"{len(rest)} more findings like these{first}"
            yield Finding(kind, columns, sentence)


def _findings(prepared: Prepared) -> Iterator[Finding]:
    training = np.unique(np.concatenate([split.train for split in prepared.splits]))
    yield from _constant(prepared.inputs)
    natural = 1.0
    if len(training) >= MIN_ROWS:
        profiles = _profiles(prepared, training)
        # The findings advise to leave a column out, which a single one cannot be.
        for profile in profiles if len(profiles) > 1 else ():
            yield from _check_column(profile, prepared)
        yield from _duplicates(profiles)
        natural = natural_copies(profiles, len(prepared.data))
    yield from _between_rows(prepared, natural)
    yield from _imbalance(prepared, training)
    yield from _labels(prepared)
    yield from _unmeasured(prepared)
    yield from _outliers(prepared)


def _unmeasured(prepared: Prepared) -> Iterator[Finding]:
    """Find classes that no evaluation row has, so that no figure tells of them."""
    labels, every = prepared.output.class_names, prepared.all_rows.target
    measured = set(prepared.evaluation.rows.target.tolist())
    codes = [code for code in range(len(labels)) if code not in measured]
    if not codes:
        return
    n, name = int(np.isin(every, codes).sum()), prepared.data.target_name
    classes, whose, it = f"class {shown(labels[codes[0]])}", "its", "it is"
    if len(codes) > 1:
        named = ", ".join(shown(labels[code]) for code in codes[:MAX_NAMED])
        more = ", …" if len(codes) > MAX_NAMED else ""
        classes = f"{len(codes):,} classes ({named}{more})"
        whose, it = "their", "they are"
    yield Finding(
        "unmeasured",
        (name,),
        f"target '{name}': no row of {classes} was measured, since none of {whose} "
        f"{n:,} rows is among the {prepared.evaluation.name}: no figure tells how well "
        f"{it} predicted",
    )


def _labels(prepared: Prepared) -> Iterator[Finding]:
    """Find classes that may be one, or no class at all."""
    name = prepared.data.target_name
    for spellings in alike(prepared.output.class_names):
        both = ", ".join(map(shown, spellings))
        sentence = (
            f"target '{name}': {both} differ in capitals or blanks only; are they one?"
        )
        yield Finding("labels", (name,), sentence)
    for label in prepared.output.class_names:
        if is_missing(label) and label.casefold() not in WORDS:
            yield Finding(
                "labels",
                (name,),
                f"target '{name}': '{label}' is a class of its own; if it stands for a "
                f"missing value: data.columns.{name}.missing=['{label}']",
            )


def _outliers(prepared: Prepared) -> Iterator[Finding]:
    """Find numeric targets that are far from all others, such as a slip of the pen."""
    if prepared.task != "regression":
        return
    target, name = prepared.all_rows.target, prepared.data.target_name
    learnt = prepared.learnt_target(prepared.all_rows)
    low, high = np.quantile(target, [0.25, 0.75])
    measured = {*prepared.common_split.test.tolist()}
    for row in outliers(target):
        way = "and such a row outweighs many: correct it or leave it out"
        if row in measured:
            way = (
                "and is a test row, so RMSE counts it whole: correct it or leave it out"
            )
        elif learnt[row] != target[row]:
            way = f"and is learnt as {learnt[row]:.6g}: correct it or leave it out"
        yield Finding(
            "outlier",
            (name,),
            f"target '{name}', row {prepared.row_numbers[row]}: {target[row]:.6g} "
            f"is far from all others (half of them are {low:.3g} to {high:.3g}), {way}",
        )


def _between_rows(prepared: Prepared, natural: float) -> Iterator[Finding]:
    """Compare rows with one another, unless copies are natural in these columns."""
    suspicious = natural < COPIED / 10
    chance = prepared.split_plan.by == "random"
    hashes = prepared.data.row_hashes if suspicious or chance else None
    if hashes is not None and suspicious:
        yield from _copies(hashes, prepared.all_rows.target)
    for evaluation in evaluation_sets(prepared):
        if evaluation.may_differ:
            yield from _drift(prepared, evaluation)
        yield from _shared_groups(prepared, evaluation)
        if hashes is not None:
            separable = evaluation.may_differ or not chance
            training = hashes[prepared.common_split.train]
            yield from _overlap(training, evaluation, separable)


def _constant(inputs: Inputs) -> Iterator[Finding]:
    for name in inputs.constants:
        yield Finding(
            "constant",
            (name,),
            f"column '{name}' has one value in all training rows and is not used",
        )


def _profiles(prepared: Prepared, training: NDArray[np.intp]) -> list[Profile]:
    rows = sample(training, prepared.data.n_columns)
    target = Target(prepared.all_rows.target[rows], prepared.task != "regression")
    unused = set(prepared.inputs.constants)
    return [
        profile(name, kind, values_at(values, rows), target, len(prepared.data))
        for name, kind, values in columns(prepared.data.inputs, prepared.data.kinds)
        if name not in unused
    ]


def _check_column(column: Profile, prepared: Prepared) -> Iterator[Finding]:
    name, target = column.name, prepared.data.target_name
    if column.explains >= LEAK:
        yield Finding(
            "leak",
            (name,),
            f"column '{name}' alone explains {column.explains:.1%} of target "
            f"'{target}': leave it out unless its value is known before the target's",
        )
    if column.missing >= MOSTLY_MISSING:
        yield Finding(
            "missing",
            (name,),
            f"column '{name}' is missing in {column.missing:.1%} of the training rows: "
            "leave it out, or give missing rows a value of their own",
        )
    if column.kind == "categorical" and column.distinct >= UNIQUE * column.rows:
        yield Finding(
            "id",
            (name,),
            f"column '{name}' has {column.distinct:,} different texts in "
            f"{column.rows:,} rows, and a new row will have a new one: leave it out",
        )
    if column.numbered:
        yield Finding(
            "id",
            (name,),
            f"column '{name}' numbers the rows ({column.distinct:,} whole numbers in "
            f"{column.rows:,} rows), and a new row will have a larger number: leave it "
            f"out, or split by it (data.time={name})",
        )


def _duplicates(profiles: Sequence[Profile]) -> Iterator[Finding]:
    """Find columns that repeat an earlier one."""
    contents: dict[bytes, str] = {}
    patterns: dict[bytes, str] = {}
    for column in profiles:
        first = contents.setdefault(column.content, column.name)
        if first != column.name:
            yield Finding(
                "duplicate",
                (first, column.name),
                f"columns '{first}' and '{column.name}' have the same values in all "
                f"{column.rows:,} rows checked: leave one of them out",
            )
            continue
        # Two columns of values that rarely repeat are always renamings of each other.
        if column.distinct * 10 > column.rows:
            continue
        first = patterns.setdefault(column.pattern, column.name)
        if first != column.name:
            yield Finding(
                "duplicate",
                (first, column.name),
                f"columns '{first}' and '{column.name}' say the same in other words "
                f"({column.distinct} values): leave one of them out",
            )


def _copies(hashes: RowHashes, target: NDArray[Any]) -> Iterator[Finding]:
    """Find rows that are there twice, with the same target."""
    keys = hash_rows({"row": hashes, "target": target.astype(np.float64)})
    n = len(keys)
    copies = n - len(np.unique(keys))
    if copies >= COPIED * n:
        yield Finding(
            "copies",
            (),
            f"{copies:,} of {n:,} rows ({copies / n:.1%}) are copies of others: leave "
            "them out if they were recorded twice, or weight the rows (data.weight)",
        )


def _drift(prepared: Prepared, evaluation: EvaluationSet) -> Iterator[Finding]:
    """Find columns and targets that are distributed differently in evaluation rows."""
    for name, shift, outside in shifts(prepared, evaluation):
        if shift is not None and shift > DRIFT:
            how = (
                f"PSI {shift:.2f} from the training rows to {evaluation.name} (above "
                f"{DRIFT} is a major shift)"
            )
        elif outside > OUTSIDE:
            how = (
                f"{outside:.0%} of {evaluation.name} are outside of the range of the "
                "training rows"
            )
        else:
            continue
        what = "target" if name == prepared.data.target_name else "column"
        yield Finding(
            "drift",
            (name,),
            f"{what} '{name}' drifts: {how}: train on rows like those to be predicted"
            + (", or leave the column out" if what == "column" else ""),
        )


def _shared_groups(prepared: Prepared, evaluation: EvaluationSet) -> Iterator[Finding]:
    shared, groups = shared_groups(prepared, evaluation)
    if shared:
        name = prepared.config.data.group
        yield Finding(
            "overlap",
            (str(name),),
            f"{shared:,} of {groups:,} groups of {evaluation.name} (column '{name}') "
            "are among the training rows too, so the metrics are too good: leave them "
            "out of one of the two",
        )


def _overlap(
    training: RowHashes, evaluation: EvaluationSet, separable: bool
) -> Iterator[Finding]:
    """Find evaluation rows whose inputs are those of a training row."""
    n = len(evaluation.part)
    same = int(np.isin(hash_rows(evaluation.part.raw), training).sum())
    if same >= COPIED * n:
        yield Finding(
            "overlap",
            (),
            f"{same:,} of {n:,} of {evaluation.name} ({same / n:.1%}) are among the "
            "training rows too, so the metrics "
            + (
                "are too good: leave them out of one of the two"
                if separable
                else "say little about new rows: there are too few different rows"
            ),
        )


def _imbalance(prepared: Prepared, training: NDArray[np.intp]) -> Iterator[Finding]:
    output = prepared.output
    if not output.classes or prepared.class_weights is not None:
        return
    counts = np.bincount(
        prepared.all_rows.target[training], minlength=len(output.classes)
    )
    rarest = int(counts.argmin())
    share = counts[rarest] / counts.sum()
    if share >= RARE / len(counts):
        return
    name = prepared.data.target_name
    yield Finding(
        "imbalance",
        (name,),
        f"target '{name}': only {share:.1%} of the training rows are "
        f"'{output.class_names[rarest]}'; classes are not weighted, since "
        "true probabilities have the lowest log loss (train.class_weights=balanced "
        "gives the rare class more weight)",
    )

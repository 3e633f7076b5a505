"""What a person should know of the data before anything is learnt from it.

Columns are looked at one by one, in a sample of the training rows; rows are compared by
the hash of what stands in them. Both cost a sort or two a column and never more memory
than the data itself.

No finding changes what is done. With `data.findings=stop` the run ends at any of them
that is a fault: an unbalanced target is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.features.inputs import Inputs
from models.features.predictions import Classification, label_text
from models.features.table import TableInput
from models.storage.artefact import Finding
from trainer.checks.column_profile import (
    Profile,
    Target,
    chosen,
    columns,
    natural_copies,
    profile,
    sample,
)
from trainer.checks.dataset_shift import (
    EvaluationSet,
    evaluation_sets,
    shared_groups,
    shifts,
)
from trainer.data.row_hashing import RowHashes, hash_rows
from trainer.preparation.prepare import Prepared
from trainer.types import Say

#: Nothing is wrong with data of which this is found.
NO_FAULT = frozenset({"imbalance"})
#: Of one kind no more are said; the rest is counted.
MOST = 10
#: With fewer rows than this most of what can be found is found by chance.
FEWEST = 50

#: Share of the target that one column explains when it is taken for the answer itself.
#: A leak is the target in other words, so it explains all of it but a slip here and
#: there (a slip in 200 rows of two equal classes makes 0.98). Honest columns, however
#: strong, stay below: the best one tells 0.94 of a diamond's price, 0.87 of an iris's
#: kind, 0.75 of whether a tumour is malignant.
LEAK = 0.98
#: Share of missing values from which a column hardly has any.
MISSING = 0.9
#: Share of different values among texts that are names of rows.
DISTINCT = 0.95
#: Part of an even share below which a class is rare: two classes of 9 to 1.
RARE = 0.2
#: PSI of a major shift, as is usual (below 0.1 there is none).
DRIFT = 0.25
#: Share of rows that stand twice from which it matters.
TWICE = 0.01


def diagnose(prepared: Prepared, say: Say) -> tuple[Finding, ...]:
    """Say and return what is found; DataError if a fault is to stop the run."""
    findings = tuple(at_most(list(_findings(prepared))))
    faults = [found.sentence for found in findings if found.kind not in NO_FAULT]
    if faults and prepared.config.data.findings == "stop":
        raise DataError(f"data.findings=stop: {'; '.join(faults)}")
    for found in findings:
        say(found.sentence)
    return findings


def at_most(findings: list[Finding]) -> Iterator[Finding]:
    """Yield the first of each kind, and the rest of it as one."""
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for found in findings:
        kinds[found.kind].append(found)
    for kind, same in kinds.items():
        yield from same[:MOST]
        if rest := same[MOST:]:
            columns = tuple(name for found in rest for name in found.columns)
            sentence = f"{len(rest)} more findings like these, first of '{columns[0]}'"
            yield Finding(kind, columns, sentence)


def _findings(prepared: Prepared) -> Iterator[Finding]:
    training = np.unique(np.concatenate([split.train for split in prepared.splits]))
    yield from _constant(prepared.inputs)
    natural = 1.0
    if len(training) >= FEWEST:
        profiles = _profiles(prepared, training)
        # What is wrong with the only column there is no leaving out.
        for profile in profiles if len(profiles) > 1 else ():
            yield from _of_column(profile, prepared)
        yield from _twins(profiles)
        natural = natural_copies(profiles, len(prepared.data))
    yield from _between_rows(prepared, natural)
    yield from _imbalance(prepared, training)


def _between_rows(prepared: Prepared, natural: float) -> Iterator[Finding]:
    """Compare rows with one another, where copies of some are not in their nature."""
    strange = natural < TWICE / 10
    chance = prepared.division.by == "random"
    where = prepared.data.places if strange or chance else None
    if where is not None and strange:
        yield from _copies(where, prepared.all_rows.target)
    for other in evaluation_sets(prepared):
        if other.may_differ:
            yield from _drift(prepared, other)
        yield from _groups(prepared, other)
        if where is not None:
            apart = other.may_differ or not chance
            yield from _overlap(where[prepared.splits[0].train], other, apart)


def _unused(inputs: Inputs) -> list[str]:
    """Return the names of the columns that do not vary."""
    if isinstance(inputs, TableInput):
        used = set(inputs.feature_names())
        return [name for name in inputs.by_name if name not in used]
    if len(inputs.scale) == 1:
        return []
    return [f"x[:, {i}]" for i, scale in enumerate(inputs.scale) if not scale]


def _constant(inputs: Inputs) -> Iterator[Finding]:
    for name in _unused(inputs):
        yield Finding(
            "constant",
            (name,),
            f"column '{name}' does not vary in the training rows and is not used",
        )


def _profiles(prepared: Prepared, training: NDArray[np.intp]) -> list[Profile]:
    rows = sample(training, prepared.data.n_columns)
    target = Target(prepared.all_rows.target[rows], prepared.task != "regression")
    unused = set(_unused(prepared.inputs))
    return [
        profile(name, kind, chosen(values, rows), target, len(prepared.data))
        for name, kind, values in columns(prepared.data.inputs, prepared.data.kinds)
        if name not in unused
    ]


def _of_column(column: Profile, prepared: Prepared) -> Iterator[Finding]:
    name, target = column.name, prepared.data.target_name
    if column.explains >= LEAK:
        yield Finding(
            "leak",
            (name,),
            f"column '{name}' alone explains {column.explains:.1%} of target "
            f"'{target}': leave it out, unless it is known before the answer is",
        )
    if column.missing >= MISSING:
        yield Finding(
            "missing",
            (name,),
            f"column '{name}' has no value in {column.missing:.1%} of the training "
            "rows: leave it out, or give what is missing a value of its own",
        )
    if column.kind == "categorical" and column.distinct >= DISTINCT * column.rows:
        yield Finding(
            "id",
            (name,),
            f"column '{name}' has {column.distinct:,} different texts in "
            f"{column.rows:,} rows, and a new row will have another: leave it out",
        )
    if column.numbered:
        yield Finding(
            "id",
            (name,),
            f"column '{name}' counts the rows ({column.distinct:,} whole numbers in "
            f"{column.rows:,} rows), and a new row will lie beyond: leave it out, or "
            f"divide by it (data.time={name})",
        )


def _twins(profiles: Sequence[Profile]) -> Iterator[Finding]:
    """Find columns that repeat one before them."""
    contents: dict[bytes, str] = {}
    patterns: dict[bytes, str] = {}
    for column in profiles:
        first = contents.setdefault(column.content, column.name)
        if first != column.name:
            yield Finding(
                "duplicate",
                (first, column.name),
                f"columns '{first}' and '{column.name}' hold the same values in all "
                f"{column.rows:,} rows looked at: leave one of them out",
            )
            continue
        # Of many values that two columns hold once each any order is a renaming.
        if column.distinct * 10 > column.rows:
            continue
        first = patterns.setdefault(column.pattern, column.name)
        if first != column.name:
            yield Finding(
                "duplicate",
                (first, column.name),
                f"columns '{first}' and '{column.name}' say the same under other names "
                f"({column.distinct} values): leave one of them out",
            )


def _copies(where: RowHashes, target: NDArray[Any]) -> Iterator[Finding]:
    """Find rows that stand twice, with their target."""
    keys = hash_rows({"row": where, "target": target.astype(np.float64)})
    n = len(keys)
    twice = n - len(np.unique(keys))
    if twice >= TWICE * n:
        yield Finding(
            "copies",
            (),
            f"{twice:,} of {n:,} rows ({twice / n:.1%}) are copies of others: leave "
            "out what was written down twice, or say how often it counts (data.weight)",
        )


def _drift(prepared: Prepared, other: EvaluationSet) -> Iterator[Finding]:
    """Find columns, or the target, that are otherwise distributed in other rows."""
    for name, value in shifts(prepared, other):
        if value > DRIFT:
            what = "target" if name == prepared.data.target_name else "column"
            yield Finding(
                "drift",
                (name,),
                f"{what} '{name}' drifts: PSI {value:.2f} from the training rows to "
                f"{other.name} (above {DRIFT} is a major shift): train on rows like "
                "those to come" + (", or leave it out" if what == "column" else ""),
            )


def _groups(prepared: Prepared, other: EvaluationSet) -> Iterator[Finding]:
    shared, groups = shared_groups(prepared, other)
    if shared:
        name = prepared.config.data.group
        yield Finding(
            "overlap",
            (str(name),),
            f"{shared:,} of {groups:,} groups of {other.name} (column '{name}') stand "
            "among the training rows too, so the figures flatter: leave them out of "
            "one of the two",
        )


def _overlap(
    training: RowHashes, other: EvaluationSet, apart: bool
) -> Iterator[Finding]:
    """Find other rows that train too, input for input; some cannot be kept `apart`."""
    n = len(other.part)
    same = int(np.isin(hash_rows(other.part.raw), training).sum())
    if same >= TWICE * n:
        yield Finding(
            "overlap",
            (),
            f"{same:,} of {n:,} of {other.name} ({same / n:.1%}) stand among the "
            "training rows too, so the figures "
            + (
                "flatter: leave them out of one of the two"
                if apart
                else "say little of other rows: those there are, are too much alike"
            ),
        )


def _imbalance(prepared: Prepared, training: NDArray[np.intp]) -> Iterator[Finding]:
    output = prepared.output
    if not isinstance(output, Classification) or prepared.class_weights is not None:
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
        f"'{label_text(output.classes[rarest])}'; classes are not weighted, since "
        "probabilities that are true have the lowest log loss "
        "(train.class_weights=balanced minds the rare class more)",
    )

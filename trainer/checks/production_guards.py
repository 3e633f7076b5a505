"""What a person should know of the data beside those of the version in production.

schema    columns, or the task, are not what they were
rows      there are far fewer than there were
balance   a class came or went, or has another share of the rows
psi       a column, or a numeric target, is otherwise distributed
targets   rows that production was measured on have another target now
stale     nothing is new, or the newest row is old

What was there then stands in the artefact (reference histograms) and beside it (marks
of rows). No finding changes what is done, but those of `guards.stop` end the run before
training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np

from models.errors import ConfigError, DataError
from models.features.columns import Values
from models.features.histograms import MOST_CATEGORIES, Histogram, Shares, psi
from models.storage.artefact import Finding, Manifest
from trainer.checks.data_checks import at_most
from trainer.config.thresholds import GuardsConfig
from trainer.evaluation.paired_comparison import MIN_ROWS
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import (
    changed_targets,
    fingerprint_rows,
    unchanged_rows,
)
from trainer.preparation.prepare import Prepared
from trainer.types import Say

HOUR = 3600.0
#: Standard errors beyond which a share has not changed by chance.
BEYOND_CHANCE = 3.0


def guard(
    prepared: Prepared,
    production: ProductionModel | None,
    say: Say,
    now: float | None = None,
) -> tuple[Finding, ...]:
    """Say and return what is found; DataError if some of it is to stop the run.

    `now` is in seconds since 1970.
    """
    found = list(_stale(prepared, time.time() if now is None else now))
    if production is not None:
        found += _beside(prepared, production)
    findings = tuple(at_most(found))
    stop = prepared.config.guards.stop
    faults = [each for each in findings if each.kind in stop]
    if faults:
        kinds = ", ".join(dict.fromkeys(each.kind for each in faults))
        sentences = "; ".join(each.sentence for each in faults)
        raise DataError(f"guards.stop={kinds}: {sentences}")
    for each in findings:
        say(each.sentence)
    return findings


def _beside(prepared: Prepared, production: ProductionModel) -> Iterator[Finding]:
    """Compare with the version in production, as far as the two can be compared."""
    settings, then = prepared.config.guards, production.artefact.manifest
    version = f"version {production.version}"
    if prepared.data.fingerprint == then.data.sha256:
        yield Finding("stale", (), f"the data are those of {version}: nothing is new")
    yield from _schema(prepared, then, version)
    n, before = len(prepared.data), then.data.rows
    if n < settings.rows * before:
        yield Finding(
            "rows",
            (),
            f"{n:,} rows, {n / before:.1%} of the {before:,} of {version} "
            f"(guards.rows={settings.rows:g})",
        )
    if prepared.task == then.task:
        yield from _balance(prepared, then, version)
    yield from _psi(prepared, then, version)
    yield from _targets(prepared, production, version)


def _schema(prepared: Prepared, then: Manifest, version: str) -> Iterator[Finding]:
    if prepared.task != then.task:
        name = prepared.data.target_name
        sentence = f"target '{name}' is {prepared.task}, and {then.task} in {version}"
        yield Finding("schema", (name,), sentence)
    was, found = then.inputs.row_form, prepared.inputs.row_form
    if was != found:
        yield Finding("schema", (), f"a row is {found}, and {was} in {version}")
        return
    kinds, before = prepared.data.kinds, then.inputs.kinds
    for name in sorted(kinds.keys() | before.keys()):
        if name not in before:
            sentence = f"column '{name}' ({kinds[name]}) is new: {version} has it not"
        elif name not in kinds:
            sentence = f"column '{name}' ({before[name]}) of {version} is missing"
        elif kinds[name] != before[name]:
            now = f"{kinds[name]}, and {before[name]} in {version}"
            sentence = f"column '{name}' is {now}"
        else:
            continue
        yield Finding("schema", (name,), sentence)


def _unchanged(prepared: Prepared, then: Manifest) -> set[str]:
    """Return the inputs that are as they were."""
    if then.inputs.is_table:
        kinds = prepared.data.kinds
        return {n for n, kind in then.inputs.kinds.items() if kinds.get(n) == kind}
    same = prepared.inputs.row_form == then.inputs.row_form
    return {then.inputs.name} if same else set()


def _balance(prepared: Prepared, then: Manifest, version: str) -> Iterator[Finding]:
    """Compare the share of every class."""
    output, before = prepared.output, then.reference.target
    if not output.classes or not isinstance(before, Shares):
        return
    name, limit = prepared.data.target_name, prepared.config.guards.balance
    now = np.bincount(prepared.all_rows.target, minlength=len(output.classes))
    names = output.class_names
    n, m = len(prepared.data), then.data.rows
    shares = dict(zip(names, now / n, strict=True))
    were = dict(zip(before.categories, before.shares, strict=True))
    for each in [*names, *(gone for gone in were if gone not in shares)]:
        p, q = shares.get(each, 0.0), were.get(each, 0.0)
        both = (p * n + q * m) / (n + m)
        chance = BEYOND_CHANCE * np.sqrt(both * (1 - both) * (1 / n + 1 / m))
        if (each in shares) != (each in were) or abs(p - q) > max(limit, chance):
            yield Finding(
                "balance",
                (name,),
                f"target '{name}': '{each}' is {p:.1%} of {n:,} rows, and was {q:.1%} "
                f"of {m:,} in {version} (guards.balance={limit:g})",
            )


def _psi(prepared: Prepared, then: Manifest, version: str) -> Iterator[Finding]:
    """Compare every column of the same kind, and a numeric target."""
    limit = prepared.config.guards.psi
    for name, values, before in _distributions(prepared, then):
        if isinstance(before, Shares):
            before = before.folded(MOST_CATEGORIES)
        counts = before.counts(then.reference.rows), before.count(cast(Any, values))
        found = psi(*counts)
        if found is not None and found > limit:
            what = "target" if name == prepared.data.target_name else "column"
            yield Finding(
                "psi",
                (name,),
                f"{what} '{name}' is otherwise distributed: PSI {found:.2f} from the "
                f"{then.data.rows:,} rows of {version} (guards.psi={limit:g})",
            )


def _distributions(
    prepared: Prepared, then: Manifest
) -> Iterator[tuple[str, Values, Histogram | Shares]]:
    """Yield names, the values of all rows, and how those of then were counted."""
    reference, same = then.reference, sorted(_unchanged(prepared, then))
    values = then.inputs.by_input(prepared.all_rows.raw) if same else {}
    for name in same:
        yield name, values[name], reference.inputs[name]
    if isinstance(reference.target, Histogram) and prepared.task == "regression":
        yield prepared.data.target_name, prepared.all_rows.target, reference.target


def _targets(
    prepared: Prepared, production: ProductionModel, version: str
) -> Iterator[Finding]:
    """Look for rows that are as they were, but for their target."""
    then, limit = production.artefact.manifest, prepared.config.guards.targets
    same = _unchanged(prepared, then) == then.reference.inputs.keys()
    if production.measured is None or prepared.task != then.task or not same:
        return
    now = fingerprint_rows(prepared.all_rows, then.inputs, prepared.output)
    other = int(changed_targets(now, production.measured).sum())
    known = other + int(unchanged_rows(now, production.measured).sum())
    if known >= MIN_ROWS and other > limit * known:
        name = prepared.data.target_name
        yield Finding(
            "targets",
            (name,),
            f"target '{name}' is another in {other:,} of {known:,} rows that {version} "
            f"was measured on ({other / known:.1%}, guards.targets={limit:g}): were "
            "they corrected, or mixed up?",
        )


def _stale(prepared: Prepared, now: float) -> Iterator[Finding]:
    """Look at the date of the newest row."""
    settings = prepared.config.guards
    if settings.hours is None:
        return
    name, moment = _newest(prepared, settings)
    hours = (now - moment) / HOUR
    if hours > settings.hours:
        when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="minutes")
        yield Finding(
            "stale",
            (name,),
            f"column '{name}' ends at {when}, {hours:,.1f} hours ago "
            f"(guards.hours={settings.hours:g})",
        )


def _newest(prepared: Prepared, settings: GuardsConfig) -> tuple[str, float]:
    """Return the column that says when, and its latest moment."""
    data = prepared.data
    columns: dict[str, Any] = {
        name: cast(Any, data.inputs)[name]
        for name, kind in data.kinds.items()
        if kind == "datetime"
    }
    if prepared.config.data.time is not None:
        columns = {prepared.config.data.time: data.aside[prepared.config.data.time]}
    if not columns:
        raise ConfigError(
            f"guards.hours={settings.hours:g} needs a column of dates: data.time names "
            "one, or an input is one"
        )
    latest = {name: float(np.nanmax(values)) for name, values in columns.items()}
    name = max(latest, key=lambda name: latest[name])
    return name, latest[name]

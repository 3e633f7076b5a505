"""Compares the data of a run with those of the production version, before training.

schema    the columns or the task have changed
rows      there are far fewer rows
balance   a class is new or gone, or its share has changed
psi       a column or a numeric target is distributed differently
targets   test rows of production have another target now
stale     the data are the same, or the newest row is old
broken    a column has lost its values, or nearly all are outside of the usual ones

The artefact (reference histograms) and the row fingerprints next to it describe the
earlier data. A finding changes nothing about the training, but one of a kind that is
named in `guards.stop` ends the run, and with one of `guards.refuse` the gate does not
promote.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np

from models.errors import ConfigError, DataError
from models.features.columns import Floats, Values
from models.features.histograms import MOST_CATEGORIES, Histogram, Shares, psi
from models.storage.artefact import Finding, Manifest
from trainer.checks.data_checks import summarize
from trainer.config.thresholds import GuardsConfig
from trainer.evaluation.paired_comparison import MIN_ROWS
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import (
    changed_targets,
    fingerprint_rows,
    unchanged_rows,
)
from trainer.preparation.prepare import Prepared
from trainer.preparation.targets import label_key
from trainer.types import Say

SECONDS_PER_HOUR, SECONDS_PER_DAY = 3600.0, 86_400.0
#: A column with a larger PSI is not the column that it was: that of a normal variable
#: that moves by one and a half standard deviations.
BROKEN = 2.0
#: Share of a column's rows in one value, or missing, from which it tells nothing.
LOST = 0.995
#: Ticks per second of whole numbers that count the time since 1970.
TICKS = (1.0, 1e3, 1e6, 1e9)
#: The years 1990 to 2100, in seconds since 1970.
PLAUSIBLE = (6.3e8, 4.1e9)
#: A share has changed if the difference exceeds this many standard errors.
STANDARD_ERRORS = 3.0


def guard(
    prepared: Prepared,
    production: ProductionModel | None,
    say: Say,
    now: float | None = None,
) -> tuple[Finding, ...]:
    """Report and return the findings; `now` is in seconds since 1970.

    Raises DataError if a finding is of a kind that ends the run, and ConfigError if
    `guards.hours` is set and there is no column of dates.
    """
    every = list(_old(prepared, time.time() if now is None else now))
    if production is not None:
        every += _compare(prepared, production)
    findings = tuple(summarize(every))
    stop = prepared.config.guards.stop
    faults = [finding for finding in findings if finding.kind in stop]
    if faults:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in faults))
        sentences = "; ".join(finding.sentence for finding in faults)
        raise DataError(f"guards.stop={kinds}: {sentences}")
    for finding in findings:
        say(finding.sentence)
    return findings


def refusing(findings: Sequence[Finding], settings: GuardsConfig) -> list[str]:
    """Return the sentences of the findings that keep the gate from promoting."""
    return [
        f"{finding.sentence} (guards.refuse={finding.kind})"
        for finding in findings
        if finding.kind in settings.refuse
    ]


def _compare(prepared: Prepared, production: ProductionModel) -> Iterator[Finding]:
    """Compare with the production version, as far as the data are comparable."""
    settings, then = prepared.config.guards, production.artefact.manifest
    version = f"version {production.version}"
    if prepared.data.fingerprint == then.data.sha256:
        yield Finding("stale", (), f"the data are the same as those of {version}")
    yield from _schema(prepared, then, version)
    n, before = len(prepared.data), then.data.rows
    if n <= settings.rows * before:
        yield Finding(
            "rows",
            (),
            f"{n:,} rows are only {n / before:.1%} of the {before:,} rows of {version} "
            f"(guards.rows={settings.rows:g})",
        )
    yield from _balance(prepared, then, version)
    yield from _psi(prepared, then, version)
    yield from _targets(prepared, production, version)


def _schema(prepared: Prepared, then: Manifest, version: str) -> Iterator[Finding]:
    if prepared.task != then.task:
        name = prepared.data.target_name
        sentence = f"target '{name}' is {prepared.task}, but {then.task} in {version}"
        yield Finding("schema", (name,), sentence)
    was, now = then.inputs.row_form, prepared.inputs.row_form
    if was != now:
        yield Finding("schema", (), f"a row is {now}, but {was} in {version}")
        return
    kinds, before = prepared.data.kinds, then.inputs.kinds
    for name in sorted(kinds.keys() | before.keys()):
        if name not in before:
            sentence = f"column '{name}' ({kinds[name]}) is not in {version}"
        elif name not in kinds:
            sentence = f"column '{name}' ({before[name]}) of {version} is missing"
        elif kinds[name] != before[name]:
            kind = f"{kinds[name]}, but {before[name]} in {version}"
            sentence = f"column '{name}' is {kind}"
        else:
            continue
        yield Finding("schema", (name,), sentence)


def _unchanged(prepared: Prepared, then: Manifest) -> set[str]:
    """Return the names of the inputs whose kinds have not changed."""
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
    names = [label_key(name) for name in output.class_names]
    n, m = len(prepared.data), then.data.rows
    shares = dict(zip(names, now / n, strict=True))
    keys = map(label_key, before.categories)
    were = dict(zip(keys, before.shares, strict=True))
    for label in [*names, *(gone for gone in were if gone not in shares)]:
        p, q = shares.get(label, 0.0), were.get(label, 0.0)
        both = (p * n + q * m) / (n + m)
        chance = STANDARD_ERRORS * np.sqrt(both * (1 - both) * (1 / n + 1 / m))
        if (label in shares) != (label in were) or abs(p - q) > max(limit, chance):
            yield Finding(
                "balance",
                (name,),
                f"target '{name}': '{label}' is {p:.1%} of {n:,} rows, but was {q:.1%} "
                f"of {m:,} in {version} (guards.balance={limit:g})",
            )


def _psi(prepared: Prepared, then: Manifest, version: str) -> Iterator[Finding]:
    """Compare every column of the same kind, and a numeric target."""
    limit = prepared.config.guards.psi
    dates = {n for n, kind in prepared.data.kinds.items() if kind == "datetime"}
    for name, values, before in _distributions(prepared, then):
        if isinstance(before, Shares):
            before = before.folded(MOST_CATEGORIES)
        counts = before.counts(then.reference.rows), before.count(cast(Any, values))
        shift = psi(*counts)
        what = "target" if name == prepared.data.target_name else "column"
        was, now = (float(count.max() / count.sum()) for count in counts)
        if name not in dates and (now > LOST > was or (shift or 0.0) > BROKEN):
            yield Finding(
                "broken",
                (name,),
                f"{what} '{name}' is not what it was in {version}: "
                + (
                    f"{now:.1%} of the rows have one value or range, or none"
                    if now > LOST > was
                    else f"PSI {shift:.1f}; was its unit or its column changed?"
                ),
            )
        if shift is not None and shift > limit:
            yield Finding(
                "psi",
                (name,),
                f"{what} '{name}' is distributed differently: PSI {shift:.2f} from the "
                f"{then.data.rows:,} rows of {version} (guards.psi={limit:g})",
            )


def _distributions(
    prepared: Prepared, then: Manifest
) -> Iterator[tuple[str, Values, Histogram | Shares]]:
    """Yield each name with the values of all rows and the reference of production."""
    reference, same = then.reference, sorted(_unchanged(prepared, then))
    values = then.inputs.by_input(prepared.all_rows.raw) if same else {}
    for name in same:
        yield name, values[name], reference.inputs[name]
    if isinstance(reference.target, Histogram) and prepared.task == "regression":
        yield prepared.data.target_name, prepared.all_rows.target, reference.target


def _targets(
    prepared: Prepared, production: ProductionModel, version: str
) -> Iterator[Finding]:
    """Find test rows of production that have another target now."""
    then, limit = production.artefact.manifest, prepared.config.guards.targets
    same = _unchanged(prepared, then) == then.reference.inputs.keys()
    same &= bool(prepared.output.classes) == bool(then.output.classes)
    if production.measured is None or not same:
        return
    now = fingerprint_rows(prepared.all_rows, then.inputs, prepared.output)
    changed = int(changed_targets(now, production.measured).sum())
    known = changed + int(unchanged_rows(now, production.measured).sum())
    if known >= MIN_ROWS and changed > limit * known:
        name = prepared.data.target_name
        yield Finding(
            "targets",
            (name,),
            f"target '{name}' has changed in {changed:,} of {known:,} test rows of "
            f"{version} ({changed / known:.1%}, guards.targets={limit:g}): check "
            "whether the rows were corrected or mixed up",
        )


def _old(prepared: Prepared, now: float) -> Iterator[Finding]:
    """Compare the date of the newest row with `guards.hours`."""
    settings = prepared.config.guards
    if settings.hours is None:
        return
    name, moment = _newest(prepared, settings, now)
    if moment == -np.inf:
        sentence = f"every date of column '{name}' is in the future: check its unit"
        yield Finding("stale", (name,), sentence)
        return
    hours = (now - moment) / SECONDS_PER_HOUR
    if hours > settings.hours:
        when = datetime.fromtimestamp(moment, UTC).isoformat(timespec="minutes")
        yield Finding(
            "stale",
            (name,),
            f"the newest row, by column '{name}', is from {when}, {hours:,.1f} hours "
            f"ago (guards.hours={settings.hours:g})",
        )


def _newest(
    prepared: Prepared, settings: GuardsConfig, now: float
) -> tuple[str, float]:
    """Return the column of dates with the latest that is not in the future.

    The date is in seconds since 1970, and -inf if all are in the future.
    """
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
            f"guards.hours={settings.hours:g} needs a column of dates: an input, or "
            "the column that data.time names"
        )
    latest = {}
    for name, values in columns.items():
        moments = _in_seconds(values[~np.isnan(values)])
        past = moments[moments <= now + SECONDS_PER_DAY]  # clocks and zones differ
        latest[name] = float(past.max(initial=-np.inf))
    name = max(latest, key=lambda name: latest[name])
    return name, latest[name]


def _in_seconds(times: Floats) -> Floats:
    """Return times (n,), which may count milli-, micro- or nanoseconds, in seconds."""
    middle = float(np.median(times)) if len(times) else 0.0
    for ticks in TICKS:
        if PLAUSIBLE[0] <= middle / ticks <= PLAUSIBLE[1]:
            return times / ticks
    return times

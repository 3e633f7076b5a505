"""The tables of a report: metrics, thresholds, confusion, importance, mistakes."""

from __future__ import annotations

from typing import Any

from models.storage.artefact import Manifest
from trainer.evaluation.metrics import PRIMARY
from trainer.report import plots
from trainer.report.markup import bar, folded, head, number, plain, scrolled, text
from trainer.report.record import (
    ColumnImportance,
    Confusion,
    Mistake,
    Record,
    Threshold,
)

NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "r2": "R²",
}
#: What baselines are called in the head of a table, and in a sentence.
BASELINES = {"constant": "constant answer", "linear": "linear model"}
SPELLED = {"constant": "a constant answer", "linear": "a linear model"}


def networks(manifest: Manifest) -> str:
    """Return what answers."""
    n = manifest.networks
    if not n:
        return "a linear model"
    beside = " and a linear model" if n < manifest.members else ""
    return f"{n} network{'s' * (n > 1)}{beside}"


def metrics(manifest: Manifest, record: Record | None) -> str:
    """Return the metrics with their intervals, beside production and the baselines."""
    others = dict(manifest.baselines)
    if record and record.production:
        others = {"production": record.production.figures, **others}
    rows = []
    for key, name in NAMES.items():
        if key not in manifest.metrics:
            continue
        low_high = manifest.intervals.get(key)
        interval = (
            f"<small>{number(low_high[0], 3)} to {number(low_high[1], 3)}</small>"
            if low_high
            else ""
        )
        beside = "".join(
            f"<td>{number(figures.get(key), 3)}</td>" for figures in others.values()
        )
        rows.append(
            f'<tr><th scope="row">{name}</th><td class="own">'
            f"<b>{number(manifest.metrics[key], 3)}</b> {interval}</td>{beside}</tr>"
        )
    header = head(["metric", "this version", *(BASELINES.get(x, x) for x in others)])
    return scrolled(
        "metrics", f'<table class="metrics">{header}{"".join(rows)}</table>'
    )


def against_baselines(manifest: Manifest) -> str:
    """Return how the metric that versions are compared by stands to the baselines."""
    key = PRIMARY[manifest.task]
    value, than = manifest.metrics[key], []
    for name, figures in manifest.baselines.items():
        if figures.get(key):
            share = value / figures[key] - 1
            more = "higher" if share > 0 else "lower"
            than.append(f"{abs(share):.0%} {more} than that of {SPELLED[name]}")
    rows = f"{manifest.metrics['rows']:,} {manifest.metrics['measured_on']}"
    stands = f": its {NAMES[key]} is {' and '.join(than)}" if than else ""
    note = " Small figures are 95% intervals." if manifest.intervals else ""
    return f"<p>Measured on {text(rows)}{stands}.{note}</p>"


def thresholds(choices: list[Threshold], positive: str) -> str:
    """Return what each threshold comes to, one at a time: a slider without a script."""
    if not choices:
        return ""
    stops = "".join(_threshold(choice, positive) for choice in choices)
    return (
        '<fieldset class="thresholds"><legend>Say '
        f"<b>{text(positive)}</b> from a probability of</legend>{stops}</fieldset>"
    )


def _threshold(choice: Threshold, positive: str) -> str:
    hits, false = choice.true_positives, choice.false_positives
    said, are = hits + false, hits + choice.false_negatives
    precision, rows = hits / max(said, 1), said + choice.false_negatives
    rows += choice.true_negatives
    name, shown = text(positive, 30), number(choice.probability, 4)
    facts = (
        (
            f"{precision:.1%}",
            "precision",
            f"{hits:,} of {said:,} said to be {name}",
        ),
        (
            f"{hits / are:.1%}",
            "recall",
            f"{hits:,} of {are:,} that are {name}",
        ),
        (
            f"{precision * rows / are:.2f}",
            "lift",
            f"times the share of {name}",
        ),
        (f"{false:,}", "false alarms", f"said to be {name}"),
        (f"{choice.false_negatives:,}", "missed", f"that are {name}"),
    )
    items = "".join(
        f"<div><dt>{what}</dt><dd>{figure}</dd><dd>{means}</dd></div>"
        for figure, what, means in facts
    )
    checked = " checked" if choice.probability == 0.5 else ""
    return (
        f'<input type="radio" name="threshold" aria-label="{shown}"{checked}>'
        f'<div class="at"><output>{shown}</output>'
        f'<dl class="figures">{items}</dl></div>'
    )


def confusion(table: Confusion) -> str:
    """Return the confusion matrix, each row coloured by its shares."""
    rows = []
    for name, counts in zip(table.classes, table.counts, strict=True):
        total = max(sum(counts), 1)
        cells = "".join(
            f'<td style="--share:{count / total:.3f}">{count:,}</td>'
            for count in counts
        )
        rows.append(f'<tr><th scope="row">{text(name, 30)}</th>{cells}</tr>')
    columns = head(["true ↓ &nbsp; predicted →", *(text(n, 30) for n in table.classes)])
    left = (
        f" {table.left_out:,} rows of rarer classes are not shown."
        if table.left_out
        else ""
    )
    caption = f"<caption>Rows by true and predicted class.{left}</caption>"
    return scrolled(
        "confusion matrix",
        f'<table class="confusion">{caption}{columns}{"".join(rows)}</table>',
    )


def importance(record: Record, manifest: Manifest) -> str:
    """Return the importance of each column, by two measures side by side."""
    columns = record.weights
    if not columns:
        return ""
    largest = (
        max(max(c.permutation or 0.0 for c in columns), 1e-30),
        max(max(c.gradient for c in columns), 1e-30),
    )
    loss = "RMSE" if manifest.task == "regression" else "log loss"
    rows = [_importance_row(column, *largest) for column in columns]
    header = head(["column", f"{loss} increase when shuffled", "mean contribution"])
    note = (
        f'<p class="note">How much the {loss} rises when the values of a column are '
        "shuffled among the rows, and the mean absolute contribution of the column to "
        "a prediction (integrated gradients).</p>"
    )
    return note + scrolled("importance of columns", folded(header, rows))


def _importance_row(
    column: ColumnImportance, max_permutation: float, max_gradient: float
) -> str:
    increase, gradient = column.permutation, column.gradient
    return (
        f'<tr><th scope="row">{text(column.name, 60)}</th>'
        f'<td class="bars">{number(increase, 3, "+")}'
        f"{bar((increase or 0.0) / max_permutation)}</td>"
        f'<td class="bars">{number(gradient, 3)}'
        f"{bar(gradient / max_gradient, 'second')}</td></tr>"
    )


def mistakes(record: Record, manifest: Manifest) -> str:
    """Return the worst predictions as cards."""
    if not record.mistakes:
        return ""
    cards = "".join(_mistake(m, manifest) for m in record.mistakes)
    return (
        "<h3>The worst predictions</h3>"
        '<p class="note">The rows with the largest loss. Check their target values: '
        "wrong labels often show up here first.</p>"
        f'<div class="mistakes">{cards}</div>'
    )


def _mistake(mistake: Mistake, manifest: Manifest) -> str:
    truth, predicted = text(mistake.truth, 60), text(mistake.answer, 60)
    if manifest.task == "regression":
        note = f"error {number(mistake.loss, 4, '+')}"
    else:
        note = f"probability of {truth}: {mistake.loss:.2%}"
    values = "".join(
        f"<dt>{text(k, 60)}</dt><dd>{number(v)}</dd>" for k, v in mistake.row.items()
    )
    picture = ""
    if mistake.picture is not None:
        alt = f"an image of {plain(mistake.truth)}"
        picture = f"<figure>{plots.image(mistake.picture, alt)}</figure>"
    return (
        f"<article><h3>predicted {predicted}, true {truth}</h3>"
        f'<p class="note">{note}</p>{picture}'
        f"<dl>{values}</dl></article>"
    )


def time(run: dict[str, Any]) -> str:
    """Return the duration of the run."""
    timing = run.get("timing")
    if not isinstance(timing, dict):
        return ""
    epochs, seconds = timing.get("epochs", 0), timing.get("train_s", 0.0)
    return (
        f"<p>Trained {number(epochs)} epochs in {number(seconds, 3)} s, "
        f"{number(timing.get('rows_per_s', 0.0), 3)} rows per second; the whole run "
        f"took {number(timing.get('total_s', 0.0), 3)} s.</p>"
    )

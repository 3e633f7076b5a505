"""The tables of a report: metrics, confusion, importance, mistakes, time."""

from __future__ import annotations

from typing import Any

from models.storage.artefact import Manifest
from trainer.evaluation.metrics import described
from trainer.report import plots
from trainer.report.markup import bar, head, number, plain, scrolled, text
from trainer.report.record import ColumnImportance, Confusion, Mistake, Record

#: Columns shown at once, and after a click; less important ones are left out.
VISIBLE_COLUMNS, MAX_COLUMNS = 15, 100
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


def metrics(manifest: Manifest, record: Record | None) -> str:
    """Return the metrics, each with production's on the same rows."""
    production = record.production.figures if record and record.production else {}
    items = []
    for key, value in manifest.metrics.items():
        if key in NAMES:
            old = (
                f"<dd>production: {number(production[key], 3)}</dd>"
                if key in production
                else ""
            )
            figure = described(key, value, manifest.intervals, {})
            others = "".join(
                f"<dd>{name}: {number(figures[key], 3)}</dd>"
                for name, figures in manifest.baselines.items()
                if key in figures
            )
            items.append(
                f"<div><dt>{NAMES[key]}</dt><dd>{figure}</dd>{others}{old}</div>"
            )
    return f'<dl class="figures">{"".join(items)}</dl>'


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
    table = f'<table class="wide">{header}{"".join(rows[:VISIBLE_COLUMNS])}</table>'
    if rest := rows[VISIBLE_COLUMNS:MAX_COLUMNS]:
        more = f"{len(rest)} more of {len(rows)} columns"
        table += (
            f"<details><summary>{more}</summary>"
            f'<table class="wide">{header}{"".join(rest)}</table></details>'
        )
    return note + scrolled("importance of columns", table)


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

"""The tables of a report: figures, confusion, importance, mistakes, time."""

from __future__ import annotations

from typing import Any

from models.storage.artefact import Manifest
from trainer.report import plots
from trainer.report.markup import bar, head, number, plain, scrolled, text
from trainer.report.record import Confusion, Mistake, Record, Weight

#: Columns shown at once; others are a click away, but for those that hardly count.
FIRST, MOST = 15, 100
NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "rmse": "RMSE",
    "mae": "mean error",
    "r2": "R²",
}


def figures(manifest: Manifest, record: Record | None) -> str:
    """Return the figures, each with production's on the same rows."""
    before = record.production.figures if record and record.production else {}
    shown = []
    for key, value in manifest.metrics.items():
        if key in NAMES:
            old = (
                f"<dd>{number(before[key])} in production</dd>" if key in before else ""
            )
            shown.append(
                f"<div><dt>{NAMES[key]}</dt><dd>{number(value)}</dd>{old}</div>"
            )
    return f'<dl class="figures">{"".join(shown)}</dl>'


def confusion(found: Confusion) -> str:
    """Return rows by truth and answer; the stronger the colour, the more of a class."""
    rows = []
    for name, counts in zip(found.classes, found.counts, strict=True):
        total = max(sum(counts), 1)
        cells = "".join(
            f'<td style="--share:{count / total:.3f}">{count:,}</td>'
            for count in counts
        )
        rows.append(f'<tr><th scope="row">{text(name, 30)}</th>{cells}</tr>')
    columns = head(["truth ↓ &nbsp; answer →", *(text(n, 30) for n in found.classes)])
    left = (
        f" {found.left_out:,} rows of rarer classes are left out."
        if found.left_out
        else ""
    )
    caption = f"<caption>How often each class was answered.{left}</caption>"
    return scrolled(
        "confusion matrix",
        f'<table class="confusion">{caption}{columns}{"".join(rows)}</table>',
    )


def importance(record: Record, manifest: Manifest) -> str:
    """Return what each column counts, by two measures side by side."""
    weights = record.weights
    if not weights:
        return ""
    largest = max(max(w.permutation or 0.0 for w in weights), 1e-30)
    strongest = max(max(w.gradient for w in weights), 1e-30)
    figure = "RMSE" if manifest.task == "regression" else "log loss"
    rows = [_weight(w, largest, strongest) for w in weights]
    columns = head(["column", f"{figure} without it", "contribution"])
    note = (
        f'<p class="note">By how much the {figure} rises when a column is shuffled '
        "among rows, and how much the column contributes to an answer on average "
        "(integrated gradients).</p>"
    )
    table = f'<table class="wide">{columns}{"".join(rows[:FIRST])}</table>'
    if rest := rows[FIRST:MOST]:
        more = f"{len(rest)} more of {len(rows)} columns"
        table += (
            f"<details><summary>{more}</summary>"
            f'<table class="wide">{columns}{"".join(rest)}</table></details>'
        )
    return note + scrolled("importance of columns", table)


def _weight(weight: Weight, largest: float, strongest: float) -> str:
    cost = weight.permutation
    shuffled = number(cost, 3, "+")
    return (
        f'<tr><th scope="row">{text(weight.name, 60)}</th>'
        f'<td class="bars">{shuffled}{bar((cost or 0.0) / largest)}</td>'
        f'<td class="bars">{number(weight.gradient, 3)}'
        f"{bar(weight.gradient / strongest, 'second')}</td></tr>"
    )


def mistakes(record: Record, manifest: Manifest) -> str:
    """Return the rows that were answered worst."""
    if not record.mistakes:
        return ""
    cards = "".join(_mistake(m, manifest) for m in record.mistakes)
    return (
        '<p class="note">The rows that were answered worst. Look whether their truth '
        "is true: a wrong label stands here first.</p>"
        f'<div class="mistakes">{cards}</div>'
    )


def _mistake(mistake: Mistake, manifest: Manifest) -> str:
    truth, answer = text(mistake.truth, 60), text(mistake.answer, 60)
    if manifest.task == "regression":
        heading, off = (
            f"{answer}, and it is {truth}",
            f"off by {number(mistake.loss, 4, '+')}",
        )
    else:
        right = mistake.truth == mistake.answer
        heading = (
            f"{answer}, rightly but unsure" if right else f"{answer}, and it is {truth}"
        )
        off = f"gave the truth {mistake.loss:.2%}"
    values = "".join(
        f"<dt>{text(k, 60)}</dt><dd>{number(v)}</dd>" for k, v in mistake.row.items()
    )
    picture = ""
    if mistake.picture is not None:
        alt = f"an image of {plain(mistake.truth)}"
        picture = f"<figure>{plots.image(mistake.picture, alt)}</figure>"
    return (
        f'<article><h3>{heading}</h3><p class="note">{off}</p>{picture}'
        f"<dl>{values}</dl></article>"
    )


def time(run: dict[str, Any]) -> str:
    """Return how long the run took."""
    timing = run.get("timing")
    if not isinstance(timing, dict):
        return ""
    epochs, seconds = timing.get("epochs", 0), timing.get("train_s", 0.0)
    return (
        f"<p>{number(epochs)} epochs in {number(seconds, 3)} s, "
        f"{number(timing.get('rows_per_s', 0.0), 3)} rows a second; the whole run "
        f"{number(timing.get('total_s', 0.0), 3)} s.</p>"
    )

"""The page of a report: is the version good, what to do, and then why.

Each section is a template of its name.
"""

from __future__ import annotations

from typing import Any

from models.nn.layer_names import layer_names
from models.storage.artefact import Artefact, Manifest
from trainer.evaluation.metrics import PRIMARY
from trainer.inspection.listing import flat_settings
from trainer.preparation.monotone import WORDS, directions_of
from trainer.report import plots
from trainer.report.diagnosis import find_problems
from trainer.report.distributions import distributions
from trainer.report.record import Record
from trainer.report.rendering import render

TASKS = {
    "binary": "one of two classes",
    "multiclass": "one of several classes",
    "regression": "a number",
}
SECTIONS = {
    "quality": "Is it good?",
    "advice": "What to do",
    "columns": "Columns",
    "mistakes": "Mistakes",
    "data": "Data",
    "learning": "Learning",
    "layers": "Layers",
    "settings": "Settings",
}
METRICS = {
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
#: The names of the baselines in the head of a table.
BASELINES = {"constant": "constant answer", "linear": "linear model"}


def page(
    name: str,
    version: int,
    artefact: Artefact,
    record: Record | None,
    run: dict[str, Any],
) -> str:
    """Return the report as one HTML document, without scripts or external files."""
    values = contents(artefact.manifest, record, run)
    rendered = [
        (anchor, title, render(f"{anchor}.html", **values).strip())
        for anchor, title in SECTIONS.items()
    ]
    return render(
        "page.html",
        name=name,
        version=version,
        sha256=artefact.sha256,
        sections=[section for section in rendered if section[2]],
        task=TASKS[artefact.manifest.task],
        moment=str(run.get("trained_at", ""))[:16].replace("T", " "),
        **values,
    )


def contents(
    manifest: Manifest, record: Record | None, run: dict[str, Any]
) -> dict[str, Any]:
    """Return the values that the templates of the sections show."""
    # A leak is a problem already.
    findings = [f.sentence for f in manifest.recipe.findings if f.kind != "leak"]
    return {
        "manifest": manifest,
        "record": record,
        "run": run,
        "draw": plots,
        "networks": networks(manifest),
        "against_baselines": against_baselines(manifest),
        "problems": find_problems(manifest, record) if record else [],
        "findings": findings,
        "distributions": distributions(manifest),
        "layer_names": layer_names(manifest.network),
        "settings": flat_settings(manifest.config),
        "directions": {
            name: f"As asked, the answer {WORDS[direction]}."
            for name, direction in directions_of(manifest.config).items()
        },
        "positive": record.lift.name if record and record.lift else "",
        "loss": "RMSE" if manifest.task == "regression" else "log loss",
        **dependence(manifest, record),
        **metrics(manifest, record),
    }


def metrics(manifest: Manifest, record: Record | None) -> dict[str, Any]:
    """Return the values of `metrics.html`."""
    others = {BASELINES.get(k, k): v for k, v in manifest.baselines.items()}
    if record and record.production:
        others = {"production": record.production.figures, **others}
    return {"manifest": manifest, "metric_names": METRICS, "others": others}


def dependence(manifest: Manifest, record: Record | None) -> dict[str, Any]:
    """Return what the plots of partial dependence show, and the limits they share."""
    # No class has a line if the measured rows are all of one class.
    plots = [one for one in record.dependence if one.lines] if record else []
    means = [x for one in plots for line in one.lines.values() for x in line]
    low, high = min(means, default=0.0), max(means, default=1.0)
    margin = 0.06 * (high - low) or 1.0
    names = list(plots[0].lines) if plots else []
    share = manifest.task != "regression"
    if len(names) > 1:
        answer = "probability of each class"
    else:
        answer = f"probability of {''.join(names)}" if share else manifest.target
    limits = low - margin, high + margin
    return {"curves": plots, "answer": answer, "limits": limits, "share": share}


def networks(manifest: Manifest) -> str:
    """Return how many networks the model has, or that it is linear."""
    n = manifest.networks
    if not n:
        return "a linear model"
    beside = " and a linear model" if n < manifest.members else ""
    return f"{n} network{'s' * (n > 1)}{beside}"


def against_baselines(manifest: Manifest) -> str:
    """Return how the metric that versions are compared by stands to the baselines."""
    key = PRIMARY[manifest.task]
    value, than = manifest.metrics[key], []
    for name, figures in manifest.baselines.items():
        if figures.get(key):
            share = value / figures[key] - 1
            more = "higher" if share > 0 else "lower"
            than.append(f"{abs(share):.0%} {more} than that of a {BASELINES[name]}")
    rows = f"{manifest.metrics['rows']:,} {manifest.metrics['measured_on']}"
    stands = f": its {METRICS[key]} is {' and '.join(than)}" if than else ""
    note = " Small figures are 95% intervals." if manifest.intervals else ""
    return f"Measured on {rows}{stands}.{note}"

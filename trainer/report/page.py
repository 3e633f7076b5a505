"""The page: everything about one version, in the order in which people ask."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from models.features.table import TableInput
from models.storage.artefact import Artefact, Manifest
from trainer.report import plots, tables
from trainer.report.diagnosis import faults
from trainer.report.markup import listed, number, pairs, section, text
from trainer.report.markup import plots as shown
from trainer.report.record import Record

#: Columns whose learned curves are shown.
MOST_CURVES = 6
TASKS = {
    "binary": "tells two classes apart",
    "multiclass": "tells classes apart",
    "regression": "answers a number",
}
SECTIONS = {
    "verdict": "Verdict",
    "learning": "Learning",
    "health": "Layers",
    "answers": "Answers",
    "columns": "Columns",
    "mistakes": "Mistakes",
    "data": "Data",
    "recipe": "Recipe",
    "time": "Time",
}


def page(
    name: str,
    version: int,
    artefact: Artefact,
    record: Record | None,
    run: dict[str, Any],
) -> str:
    """Return the report as one HTML document that asks for nothing else."""
    manifest = artefact.manifest
    found = {
        "verdict": _verdict(manifest, record, run),
        "learning": _learning(manifest),
        "health": _health(record) if record else "",
        "answers": _answers(record) if record else "",
        "columns": _columns(artefact, record) if record else "",
        "mistakes": tables.mistakes(record, manifest) if record else "",
        "data": _data(manifest),
        "recipe": _recipe(manifest),
        "time": tables.time(run),
    }
    style = files("trainer.report").joinpath("style.css").read_text("utf-8")
    links = "".join(
        f'<a href="#{anchor}">{SECTIONS[anchor]}</a>'
        for anchor in found
        if found[anchor]
    )
    body = "".join(
        section(anchor, SECTIONS[anchor], content)
        for anchor, content in found.items()
        if content
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(name)} version {version}: training report</title>"
        f"<style>{style}</style></head><body><header>"
        f'<p class="eyebrow">glassnet training report</p>'
        f"<h1>{text(name)} <small>version {version}</small></h1>"
        f'<p class="lede">{_lede(manifest, run)}</p>'
        f"{tables.figures(manifest, record)}<nav>{links}</nav></header>"
        f"<main>{body}</main><footer>sha256 <code>{artefact.sha256}</code></footer>"
        "</body></html>\n"
    )


def _lede(manifest: Manifest, run: dict[str, Any]) -> str:
    data = manifest.data
    members = manifest.members
    networks = "One network" if members == 1 else f"{members} networks together"
    moment = str(run.get("trained_at", ""))[:16].replace("T", " ")
    when = f" Trained on {text(moment)} UTC." if moment else ""
    return (
        f"{networks}, fitted to {data.train_rows:,} of {data.rows:,} rows; the target "
        f"is <b>{text(manifest.target)}</b>, and the model "
        f"{TASKS[manifest.task]}.{when}"
    )


def _verdict(manifest: Manifest, record: Record | None, run: dict[str, Any]) -> str:
    reason = text(run.get("reason", "no verdict was kept"), 600)
    promoted = "Promoted" if run.get("promoted") else "Not promoted"
    parts = [f"<p><b>{promoted}</b>: {reason}.</p>"]
    if record is None:
        note = "This version was published without its record, so pictures that need"
        return f'{parts[0]}<p class="note">{note} rows are missing.</p>'
    wrong = faults(manifest, record)
    items = "".join(
        f'<li data-fault="{fault.kind}"><p>{text(fault.sentence, 600)}</p>'
        f"<p>{text(fault.advice, 400)}</p></li>"
        for fault in wrong
    )
    parts.append(
        f'<ul class="faults">{items}</ul>'
        if items
        else '<p class="fine">Nothing that this report looks for is wrong: no dead or '
        "saturated layer, no vanishing gradient, no rate too high, no column that "
        "gives the answer away, and the columns do tell of the target.</p>"
    )
    return "".join(parts)


def _learning(manifest: Manifest) -> str:
    history = manifest.history
    best = ", ".join(f"{int(each['best_epoch'][0])}" for each in history)
    of = ", ".join(f"{len(each['loss'])}" for each in history)
    several = len(history) > 1
    who = "Each network is" if several else "The network is"
    kept = f"epochs {best} of {of}" if several else f"epoch {best} of {of}"
    others = (
        " Strong lines are the first network, faint ones the others." if several else ""
    )
    return shown(
        (
            plots.losses(history),
            "Loss",
            f"{who} kept as it was where the dot is: {kept}.{others}",
        ),
        (
            plots.rates(history),
            "Learning rate",
            "As the schedule had it, epoch by epoch.",
        ),
    )


def _health(record: Record) -> str:
    looks = record.health[0] if record.health else []
    if not looks:
        return ""
    several = len(record.health) > 1
    which = "the first network" if several else "the network"
    return (
        f'<p class="note">Layers of {which}, by number from the front, looked at on '
        "the same rows after an epoch. Lines that stay level, and near one another, "
        "are what one hopes for.</p>"
    ) + shown(
        (
            plots.layers(looks, "(activation)", lambda x: x.mean, "mean"),
            "Activations, mean",
            "What each non-linearity gives on average.",
        ),
        (
            plots.layers(looks, "(activation)", lambda x: x.spread, "spread"),
            "Activations, spread",
            "Their standard deviation. Towards 0 a layer says the same of every row; "
            "ever larger, it runs away.",
        ),
        (
            plots.layers(looks, "(activation)", lambda x: x.dead, "dead", share=True),
            "Dead units",
            "ReLU units that are 0 for every row: they no longer learn.",
        ),
        (
            plots.layers(
                looks, "(activation)", lambda x: x.saturated, "saturated", share=True
            ),
            "Saturated outputs",
            "Where sigmoid or tanh is flat, hardly any gradient comes through.",
        ),
        (
            plots.layers(looks, "(linear)", lambda x: x.gradient, "gradient", log=True),
            "Gradient",
            "Its length for each linear layer. A front layer far below the others "
            "learns far slower.",
        ),
        (
            plots.layers(looks, "(linear)", lambda x: x.moved, "update", log=True),
            "Update to weight",
            "How far a layer's weights went in an epoch, in their own length: about "
            "0.1 is lively, above 1 is a rate too high, below 0.0001 is standstill.",
        ),
    )


def _answers(record: Record) -> str:
    rows = f"{record.rows:,} {record.where}"
    note = f'<p class="note">On {rows}.</p>'
    if record.points is not None:
        return note + shown(
            (
                plots.against_truth(record.points),
                "Answer against truth",
                "On the dotted line an answer is exact.",
            ),
            (
                plots.residuals(record.points),
                "Residuals",
                "Centred on 0 means no answer is too high or too low by habit.",
            ),
        )
    return (
        note
        + (tables.confusion(record.confusion) if record.confusion else "")
        + shown(
            (
                plots.reliability(record.reliability) if record.reliability else "",
                "Reliability",
                "On the dotted line 80% sure is right 8 times in 10; below it, the "
                "model is too sure. Larger dots hold more rows.",
            ),
            (
                plots.roc(record.roc) if record.roc else "",
                "ROC",
                "The dotted line is chance.",
            ),
            (
                plots.precision_recall(record.precision_recall)
                if record.precision_recall
                else "",
                "Precision and recall",
                "What it costs in false names to find more of a class.",
            ),
        )
    )


def _columns(artefact: Artefact, record: Record) -> str:
    if record.saliency is not None:
        return shown(
            (
                plots.saliency(record.saliency),
                "Where it looks",
                "How much each pixel contributes to answers (integrated gradients).",
            )
        )
    curves = "".join(f"<figure>{svg}</figure>" for svg in _curves(artefact, record))
    if curves:
        curves = (
            "<h3>Learned curves</h3>"
            '<p class="note">What the first layer makes of a number before anything '
            "else sees it: the number itself (dotted) and the waves it learnt, over "
            f'the range of training.</p><div class="plots">{curves}</div>'
        )
    return tables.importance(record, artefact.manifest) + curves


def _curves(artefact: Artefact, record: Record) -> Iterator[str]:
    inputs = artefact.model.inputs
    if not isinstance(inputs, TableInput):
        return
    typical: Any = inputs.baseline(artefact.manifest.reference.inputs)
    names = [w.name for w in record.weights]
    numeric = [n for n in names if inputs.by_name[n].value_range]
    seen = set(inputs.feature_names())
    for name in [n for n in numeric if n in seen][:MOST_CURVES]:
        svg = plots.embedding(artefact.model.networks[0], inputs, name, typical)
        if svg:
            yield svg


def _data(manifest: Manifest) -> str:
    data, found = manifest.data, manifest.recipe.findings
    said = listed(finding.sentence for finding in found)
    return (
        f"<p>{data.rows:,} rows of {data.columns:,} columns: {data.train_rows:,} train"
        f"{' each network' if manifest.members > 1 else ''}, "
        f"{data.validation_rows:,} choose its epoch, {data.test_rows:,} are kept for "
        "the figures.</p>"
        + (said or "<p class='note'>The data doctor found nothing to mention.</p>")
        + f'<p class="note">sha256 of the data <code>{text(data.sha256)}</code></p>'
    )


def _recipe(manifest: Manifest) -> str:
    settings = {
        f"{group}.{key}": value
        for group, values in manifest.config.items()
        if isinstance(values, dict)
        for key, value in values.items()
    }
    settings["seed"] = manifest.config.get("seed")
    return (
        listed(manifest.recipe.reasons)
        + f"<details><summary>All {len(settings)} settings</summary>"
        + pairs({k: number(v, 6) for k, v in settings.items()}, "settings")
        + "</details>"
    )

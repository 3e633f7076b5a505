"""The page of a report: everything about one version, the verdict first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

from models.features.table import TableInput
from models.storage.artefact import Artefact, Manifest
from trainer.inspection.listing import flat_settings
from trainer.report import plots, tables
from trainer.report.diagnosis import find_problems
from trainer.report.markup import listed, number, pairs, section, text
from trainer.report.markup import plots as figures
from trainer.report.record import Record
from trainer.training.history import LayerStats

#: Columns whose learned embedding is shown.
MAX_EMBEDDINGS = 6
#: How to read each plot, by its title.
CAPTIONS = {
    "Activations, mean": "Mean output of each activation layer.",
    "Activations, spread": "Standard deviation of the outputs. Near 0, a layer gives "
    "the same output for every row; if it keeps growing, training is unstable.",
    "Dead units": "Share of ReLU units that are 0 for every row: they no longer learn.",
    "Saturation": "Share of outputs at the flat ends of sigmoid or tanh, where the "
    "gradient is almost 0.",
    "Gradient": "Norm of the gradient of each linear layer. A layer far below the "
    "others learns much more slowly.",
    "Relative update": "Change of a layer's weights in an epoch relative to their "
    "norm: about 0.1 is normal, above 1 the learning rate is too high, below 0.0001 "
    "the layer hardly learns.",
    "Predicted against true values": "Points on the dotted line are exact predictions.",
    "Residuals": "Predicted minus true value. Centred on 0 means no systematic error.",
    "Reliability": "Accuracy by confidence. On the dotted line the model is "
    "calibrated, below it overconfident. Larger dots hold more rows.",
    "ROC": "The dotted line is a random guess.",
    "Precision and recall": "How precision falls as the threshold is lowered to raise "
    "recall.",
    "Pixels": "Mean contribution of each pixel to the predictions (integrated "
    "gradients).",
}
TASKS = {
    "binary": "one of two classes",
    "multiclass": "one of several classes",
    "regression": "a number",
}
SECTIONS = {
    "verdict": "Verdict",
    "learning": "Training",
    "health": "Layers",
    "answers": "Predictions",
    "columns": "Columns",
    "mistakes": "Mistakes",
    "data": "Data",
    "recipe": "Settings",
    "time": "Time",
}


def page(
    name: str,
    version: int,
    artefact: Artefact,
    record: Record | None,
    run: dict[str, Any],
) -> str:
    """Return the report as one HTML document, without scripts or external files."""
    manifest = artefact.manifest
    contents = {
        "verdict": _verdict(manifest, record, run),
        "learning": _learning(manifest),
        "health": _health(record) if record else "",
        "answers": _predictions(record) if record else "",
        "columns": _columns(artefact, record) if record else "",
        "mistakes": tables.mistakes(record, manifest) if record else "",
        "data": _data(manifest),
        "recipe": _recipe(manifest),
        "time": tables.time(run),
    }
    style = files("trainer.report").joinpath("style.css").read_text("utf-8")
    links = "".join(
        f'<a href="#{anchor}">{SECTIONS[anchor]}</a>'
        for anchor in contents
        if contents[anchor]
    )
    body = "".join(
        section(anchor, SECTIONS[anchor], content)
        for anchor, content in contents.items()
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
        f"{tables.metrics(manifest, record)}<nav>{links}</nav></header>"
        f"<main>{body}</main><footer>sha256 <code>{artefact.sha256}</code></footer>"
        "</body></html>\n"
    )


def _lede(manifest: Manifest, run: dict[str, Any]) -> str:
    data, members = manifest.data, manifest.members
    networks = "one network" if members == 1 else f"an ensemble of {members} networks"
    moment = str(run.get("trained_at", ""))[:16].replace("T", " ")
    each = "each " if members > 1 else ""
    return (
        f"Predicts <b>{text(manifest.target)}</b>, {TASKS[manifest.task]}, with "
        f"{networks}, {each}trained on {data.train_rows:,} of {data.rows:,} rows"
        f"{f' on {text(moment)} UTC' if moment else ''}."
    )


def _verdict(manifest: Manifest, record: Record | None, run: dict[str, Any]) -> str:
    reason = text(run.get("reason", "the reason was not stored"), 600)
    promoted = "Promoted" if run.get("promoted") else "Not promoted"
    parts = [f"<p><b>{promoted}</b>: {reason}.</p>"]
    if record is None:
        note = "This version has no record.json, so plots that need rows are missing."
        return f'{parts[0]}<p class="note">{note}</p>'
    items = "".join(
        f'<li data-problem="{problem.kind}"><p>{text(problem.sentence, 600)}</p>'
        f"<p>{text(problem.advice, 400)}</p></li>"
        for problem in find_problems(manifest, record)
    )
    parts.append(
        f'<ul class="problems">{items}</ul>'
        if items
        else '<p class="fine">No problems found: the report checked for dead and '
        "saturated layers, a vanishing gradient, a learning rate that is too high, "
        "overfitting, columns that leak the target, and columns without signal.</p>"
    )
    return "".join(parts)


def _learning(manifest: Manifest) -> str:
    history = manifest.history
    best = ", ".join(f"{int(member['best_epoch'][0])}" for member in history)
    caption = f"The dot marks the best epoch ({best}), whose weights are published."
    if len(history) > 1:
        caption = (
            f"The dots mark the best epochs ({best}), whose weights are published. "
            "Strong lines are the first network, faint lines the others."
        )
    return figures(
        (plots.losses(history), "Loss", caption),
        (plots.rates(history), "Learning rate", "Its value at the end of each epoch."),
    )


def _health(record: Record) -> str:
    snapshots = record.health[0] if record.health else []
    if not snapshots:
        return ""

    def activations(
        value: Callable[[LayerStats], float | None], y: str, share: bool = False
    ) -> str:
        return plots.layers(snapshots, "(activation)", value, y, share=share)

    def weights(value: Callable[[LayerStats], float | None], y: str) -> str:
        return plots.layers(snapshots, "(linear)", value, y, log=True)

    which = "the first network" if len(record.health) > 1 else "the network"
    return (
        f'<p class="note">Layers of {which}, numbered from the input, measured on the '
        "same rows after each epoch. Healthy lines stay level and close to one "
        "another.</p>"
    ) + _captioned(
        (activations(lambda x: x.mean, "mean"), "Activations, mean"),
        (activations(lambda x: x.spread, "spread"), "Activations, spread"),
        (activations(lambda x: x.dead, "dead", share=True), "Dead units"),
        (activations(lambda x: x.saturated, "saturated", share=True), "Saturation"),
        (weights(lambda x: x.gradient, "gradient"), "Gradient"),
        (weights(lambda x: x.moved, "update"), "Relative update"),
    )


def _captioned(*pairs: tuple[str, str]) -> str:
    return figures(*((svg, title, CAPTIONS[title]) for svg, title in pairs))


def _predictions(record: Record) -> str:
    note = f'<p class="note">On {record.rows:,} {record.where}.</p>'
    if record.points is not None:
        points = record.points
        return note + _captioned(
            (plots.predicted_against_true(points), "Predicted against true values"),
            (plots.residuals(points), "Residuals"),
        )
    confusion = tables.confusion(record.confusion) if record.confusion else ""
    bins, roc, precision = record.reliability, record.roc, record.precision_recall
    return (
        note
        + confusion
        + _captioned(
            (plots.reliability(bins) if bins else "", "Reliability"),
            (plots.roc(roc) if roc else "", "ROC"),
            (
                plots.precision_recall(precision) if precision else "",
                "Precision and recall",
            ),
        )
    )


def _columns(artefact: Artefact, record: Record) -> str:
    if record.saliency is not None:
        return _captioned((plots.saliency(record.saliency), "Pixels"))
    embeddings = "".join(
        f"<figure>{svg}</figure>" for svg in _embeddings(artefact, record)
    )
    if embeddings:
        embeddings = (
            "<h3>Embeddings of numeric columns</h3>"
            '<p class="note">Outputs of the first layer for a numeric column over its '
            "range in training: the scaled value (dotted) and the periodic functions "
            f'it learned.</p><div class="plots">{embeddings}</div>'
        )
    return tables.importance(record, artefact.manifest) + embeddings


def _embeddings(artefact: Artefact, record: Record) -> Iterator[str]:
    inputs = artefact.model.inputs
    if not isinstance(inputs, TableInput):
        return
    typical: Any = inputs.baseline(artefact.manifest.reference.inputs)
    features = set(inputs.feature_names())
    numeric = [
        column.name
        for column in record.weights
        if inputs.by_name[column.name].value_range and column.name in features
    ]
    for name in numeric[:MAX_EMBEDDINGS]:
        svg = plots.embedding(artefact.model.networks[0], inputs, name, typical)
        if svg:
            yield svg


def _data(manifest: Manifest) -> str:
    data = manifest.data
    findings = listed(finding.sentence for finding in manifest.recipe.findings)
    each = " for each network" if manifest.members > 1 else ""
    return (
        f"<p>{data.rows:,} rows of {data.columns:,} columns:{each} {data.train_rows:,} "
        f"for training, {data.validation_rows:,} for validation and "
        f"{data.test_rows:,} for testing.</p>"
        + (findings or '<p class="note">The data checks found no problems.</p>')
        + f'<p class="note">sha256 of the data: <code>{text(data.sha256)}</code></p>'
    )


def _recipe(manifest: Manifest) -> str:
    settings = flat_settings(manifest.config)
    return (
        listed(manifest.recipe.reasons)
        + f"<details><summary>All {len(settings)} settings</summary>"
        + pairs({k: number(v, 6) for k, v in settings.items()}, "settings")
        + "</details>"
    )

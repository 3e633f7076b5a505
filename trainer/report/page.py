"""The page of a report: is the version good, what to do, and then why."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from models.nn.layer_names import layer_names
from models.storage.artefact import Artefact, Manifest
from trainer.inspection.listing import flat_settings
from trainer.report import plots, tables
from trainer.report.diagnosis import find_problems
from trainer.report.distributions import distributions
from trainer.report.markup import listed, number, pairs, section, text
from trainer.report.markup import plots as figures
from trainer.report.record import Record
from trainer.training.history import LayerStats

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
    "Lift": "How many times more frequent the class is among the rows with the highest "
    "probabilities than among all. The dotted line is a random choice.",
    "Pixels": "Mean contribution of each pixel to the predictions (integrated "
    "gradients).",
}
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
        "quality": _quality(manifest, record, run),
        "advice": _advice(manifest, record),
        "columns": _columns(manifest, record) if record else "",
        "mistakes": _mistakes(manifest, record) if record else "",
        "data": _data(manifest),
        "learning": _learning(manifest) + tables.time(run),
        "layers": _layers(manifest, record) if record else "",
        "settings": _settings(manifest),
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
        f"<nav>{links}</nav></header>"
        f"<main>{body}</main><footer>sha256 <code>{artefact.sha256}</code></footer>"
        "</body></html>\n"
    )


def _lede(manifest: Manifest, run: dict[str, Any]) -> str:
    data = manifest.data
    moment = str(run.get("trained_at", ""))[:16].replace("T", " ")
    each = "each " if manifest.members > 1 else ""
    return (
        f"Predicts <b>{text(manifest.target)}</b>, {TASKS[manifest.task]}, with "
        f"{tables.networks(manifest)}, {each}trained on {data.train_rows:,} of "
        f"{data.rows:,} rows"
        f"{f' on {text(moment)} UTC' if moment else ''}."
    )


def _quality(manifest: Manifest, record: Record | None, run: dict[str, Any]) -> str:
    reason = text(run.get("reason", "the reason was not stored"), 600)
    promoted = "Promoted" if run.get("promoted") else "Not promoted"
    return (
        tables.against_baselines(manifest)
        + tables.metrics(manifest, record)
        + f'<p class="verdict"><b>{promoted}</b>: {reason}.</p>'
    )


def _advice(manifest: Manifest, record: Record | None) -> str:
    problems = find_problems(manifest, record) if record else []
    items = "".join(
        f'<li data-problem="{problem.kind}"><p>{text(problem.sentence, 600)}</p>'
        f"<p>{text(problem.advice, 400)}</p></li>"
        for problem in problems
    )
    # A leak is a problem already.
    findings = [f.sentence for f in manifest.recipe.findings if f.kind != "leak"]
    if record is None:
        said = "This version has no record.json, so what needs rows is missing."
    elif not problems and not findings:
        said = (
            "No problems found: checked for dead and saturated layers, a vanishing "
            "gradient, a learning rate that is too high, overfitting, columns that "
            "leak the target or hold no signal, and the checks of the data."
        )
    else:
        said = ""
    return (
        (f'<ul class="problems">{items}</ul>' if items else "")
        + listed(findings)
        + (f'<p class="fine">{said}</p>' if said else "")
    )


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


def _layers(manifest: Manifest, record: Record) -> str:
    snapshots = record.health[0] if record.health else []
    if not snapshots:
        return ""
    titles = layer_names(manifest.network)

    def activations(
        value: Callable[[LayerStats], float | None], y: str, share: bool = False
    ) -> str:
        return plots.layers(snapshots, titles, "(activation)", value, y, share=share)

    def weights(value: Callable[[LayerStats], float | None], y: str) -> str:
        return plots.layers(snapshots, titles, "(linear)", value, y, log=True)

    which = "the first network" if len(record.health) > 1 else "the network"
    return (
        f'<p class="note">Layers of {which}, from the input to the output, measured on '
        "the same rows after each epoch. Healthy lines stay level and close to one "
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


def _columns(manifest: Manifest, record: Record) -> str:
    if record.saliency is not None:
        return _captioned((plots.saliency(record.saliency), "Pixels"))
    return tables.importance(record, manifest) + _dependence(manifest, record)


def _dependence(manifest: Manifest, record: Record) -> str:
    means = [x for one in record.dependence for y in one.lines.values() for x in y]
    if not means:
        return ""
    share = manifest.task != "regression"
    margin = 0.06 * (max(means) - min(means)) or 1.0
    limits = min(means) - margin, max(means) + margin
    drawn = figures(
        *(
            (plots.dependence(one, limits, share), text(one.column), "")
            for one in record.dependence
        )
    )
    names = list(record.dependence[0].lines)
    what = f"probability of {text(names[0])}" if share else text(manifest.target)
    if len(names) > 1:
        what = "probability of each class"
    return (
        "<h3>The answer by column</h3>"
        f'<p class="note">Mean predicted {what} if all rows had this value of the '
        "column and kept their others (partial dependence), on one scale.</p>" + drawn
    )


def _mistakes(manifest: Manifest, record: Record) -> str:
    note = f'<p class="note">On {record.rows:,} {record.where}.</p>'
    worst = tables.mistakes(record, manifest)
    if record.points is not None:
        points = record.points
        drawn = _captioned(
            (plots.predicted_against_true(points), "Predicted against true values"),
            (plots.residuals(points), "Residuals"),
        )
        return note + drawn + worst
    curves, roc, bins = record.precision_recall, record.roc, record.reliability
    lift = record.lift
    return (
        note
        + tables.thresholds(record.thresholds, lift.name if lift else "")
        + (tables.confusion(record.confusion) if record.confusion else "")
        + _captioned(
            (
                plots.precision_recall(curves) if curves else "",
                "Precision and recall",
            ),
            (plots.lift(lift) if lift else "", "Lift"),
            (plots.reliability(bins) if bins else "", "Reliability"),
            (plots.roc(roc) if roc else "", "ROC"),
        )
        + worst
    )


def _data(manifest: Manifest) -> str:
    data = manifest.data
    each = " for each network" if manifest.members > 1 else ""
    return (
        f"<p>{data.rows:,} rows of {data.columns:,} columns:{each} {data.train_rows:,} "
        f"for training, {data.validation_rows:,} for validation and "
        f"{data.test_rows:,} for testing.</p>"
        + distributions(manifest)
        + f'<p class="note">sha256 of the data: <code>{text(data.sha256)}</code></p>'
    )


def _settings(manifest: Manifest) -> str:
    settings = flat_settings(manifest.config)
    return (
        listed(manifest.recipe.reasons)
        + f"<details><summary>All {len(settings)} settings</summary>"
        + pairs({k: number(v, 6) for k, v in settings.items()}, "settings")
        + "</details>"
    )

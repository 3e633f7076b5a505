"""The figures and curves of a fitted model, as HTML for a notebook."""

from __future__ import annotations

from markupsafe import Markup

from models.storage.artefact import Artefact
from trainer.report import plots
from trainer.report.page import metrics, networks
from trainer.report.rendering import render


def render_model(title: str, artefact: Artefact | None) -> str:
    """Return the figures beside their baselines, the loss curves and the findings.

    All text is escaped. Without an artefact it is only the title.
    """
    if artefact is None:
        return Markup("<code>{}</code> <em>not fitted</em>").format(title)
    manifest = artefact.manifest
    return render(
        "notebook.html",
        title=title,
        networks=networks(manifest),
        draw=plots,
        findings=[finding.sentence for finding in manifest.recipe.findings],
        **metrics(manifest, None),
    )

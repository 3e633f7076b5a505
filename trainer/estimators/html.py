"""The figures and curves of a fitted model, as HTML for a notebook."""

from __future__ import annotations

from models.storage.artefact import Artefact
from trainer.report import plots, tables
from trainer.report.markup import listed, text
from trainer.report.markup import plots as figures

#: The colours of the report, within the element alone.
STYLE = """
.glassnet { color-scheme: light dark; --ink: currentColor; --faint: #77787f;
  --grid: #8884; --card: transparent; --line1: #3b82c4; --line2: #d9722f;
  --line3: #34845a; max-width: 46rem; font-variant-numeric: tabular-nums; }
.glassnet .figures { display: flex; flex-wrap: wrap; gap: .6rem; margin: .6rem 0; }
.glassnet .figures div { border: 1px solid var(--grid); border-radius: .5rem;
  padding: .5rem .8rem; }
.glassnet dt, .glassnet dd + dd, .glassnet figcaption, .glassnet .about
  { color: var(--faint); font-size: .85em; font-weight: 400; }
.glassnet dd { margin: 0; font-weight: 600; }
.glassnet figure { margin: .6rem 0; max-width: 24rem; }
.glassnet figure svg { width: 100%; height: auto; overflow: visible; }
"""


def render(title: str, artefact: Artefact | None) -> str:
    """Return the figures beside their baselines, the loss curves and the findings.

    All text is escaped. Without an artefact it is only the title.
    """
    heading = f"<code>{text(title, 500)}</code>"
    if artefact is None:
        return f"{heading} <em>not fitted</em>"
    manifest = artefact.manifest
    data = manifest.data
    about = (
        f"{tables.networks(manifest)}, {data.train_rows:,} of {data.rows:,} rows "
        f"trained, measured on {manifest.metrics['rows']:,} "
        f"{manifest.metrics['measured_on']}"
    )
    curves = figures(
        (plots.losses(manifest.history), "Loss", "By epoch; the dot is the best.")
    )
    findings = listed(finding.sentence for finding in manifest.recipe.findings)
    return (
        f'<div class="glassnet"><style>{STYLE}</style>{heading}'
        f'<div class="about">{text(about)}</div>{tables.metrics(manifest, None)}'
        f"{curves}{findings}</div>"
    )

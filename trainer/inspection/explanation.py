"""A model's explanations of the rows of a file, for `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.explain.integrated_gradients import Explainer, Explanation
from models.features.predictions import label_text
from models.storage.artefact import Artefact
from trainer.data import Source, read_for
from trainer.inspection.listing import write


def explain(
    artefact: Artefact, source: Source | str, target: str | None
) -> Explanation:
    """Explain every row of a file: the class `target`, or the likeliest of each."""
    data = read_for(source, artefact.manifest.inputs, None)
    return Explainer(artefact).explain(data.inputs, target)


def importance(found: Explanation) -> dict[str, float]:
    """Return the mean size of each input's attributions, the largest first."""
    sizes = np.abs(found.attributions).mean(axis=0).tolist()
    pairs = zip(found.inputs.explained, sizes, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def save(found: Explanation, output: Any, out: Path) -> None:
    """Write `target`, `output`, `baseline_output` and one `a_<input>` an input."""
    columns: dict[str, Any] = {
        "target": [label_text(label) for label in found.targets],
        "output": found.output,
        "baseline_output": found.baseline_output,
    }
    for place, name in enumerate(found.inputs.explained):
        columns[f"a_{name}"] = found.attributions[:, place]
    write(columns, out)

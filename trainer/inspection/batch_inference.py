"""A published model on all rows of a data set: evaluate and explain."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from models.errors import ConfigError
from models.explain.integrated_gradients import Explainer, Explanation
from models.features.predictions import label_text
from models.storage.artefact import Artefact
from trainer.config.schema import DataConfig
from trainer.data import Source, read_for
from trainer.data.results import appearing
from trainer.evaluation.clusters import clusters
from trainer.evaluation.intervals import Interval, intervals
from trainer.evaluation.metrics import metrics
from trainer.preparation.prepare import read_part

_FORMULA = re.compile(r"(?![+-]?[0-9.]+([eE][+-]?[0-9]+)?$)[=+@\t\r-]")


class Figures(NamedTuple):
    """The metrics of a model on some rows, with the intervals of those that have one.

    `metrics` also has the number of `rows`; `weighted_by` names the column of weights.
    """

    metrics: dict[str, Any]
    intervals: dict[str, Interval]


def evaluate(artefact: Artefact, source: Source | str) -> Figures:
    """Measure a model on data that contains its target.

    Rows are weighted as in training, and rows of a group belong together, if the data
    contain the columns.
    """
    manifest = artefact.manifest
    settings = manifest.config.get("data", {})
    weight, group = settings.get("weight"), settings.get("group")
    part = read_part(
        source,
        manifest.inputs,
        manifest.output,
        manifest.target,
        DataConfig(weight=weight, group=group),
        require_weights=False,
    )
    level = manifest.output.measured_level
    predictions = artefact.model.predict(part.raw, level)
    measured = (manifest.output, predictions, part.target, part.weights)
    basis = {} if part.weights is None else {"weighted_by": weight}
    return Figures(
        {**metrics(*measured), "rows": len(part), **basis},
        intervals(*measured, clusters(part, group)),
    )


def explain(
    artefact: Artefact, source: Source | str, target: str | None
) -> Explanation:
    """Explain every row: the class `target`, or the most probable class of each row."""
    data = read_for(source, artefact.manifest.inputs, None)
    return Explainer(artefact).explain(data.inputs, target)


def mean_contributions(explanation: Explanation) -> dict[str, float]:
    """Return the mean absolute attribution of each input, the largest first."""
    sizes = np.abs(explanation.attributions).mean(axis=0).tolist()
    pairs = zip(explanation.inputs.explained, sizes, strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def write_explanation(explanation: Explanation, out: Path | str) -> None:
    """Write `target`, `output`, `baseline_output` and a column `a_<input>` an input."""
    columns: dict[str, Any] = {
        "target": [label_text(label) for label in explanation.targets],
        "output": explanation.output,
        "baseline_output": explanation.baseline_output,
    }
    for number, name in enumerate(explanation.inputs.explained):
        columns[f"a_{name}"] = explanation.attributions[:, number]
    _write_table(columns, out)


def inert(value: Any) -> Any:
    """Return a value of a CSV file; text that a spreadsheet would run gets a ' before.

    Such text begins with = + - @ or a control character, and is no number.
    """
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value


def require_table_file(out: Path | str) -> None:
    """Raise ConfigError if the file to write is neither CSV nor Parquet."""
    if PurePosixPath(out).suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out must be a .csv or .parquet file, not '{out}'")


def _write_table(columns: dict[str, Any], out: Path | str) -> None:
    """Write columns as CSV or Parquet."""
    import polars as pl

    as_text = str(out).endswith(".csv")
    if as_text:
        # Names of columns begin with p_ or a_; classes are as the data have them.
        columns |= {
            name: [*map(inert, values)]
            for name, values in columns.items()
            if isinstance(values, list)
        }
    frame = pl.DataFrame(columns)
    with appearing(out) as temporary:
        if as_text:
            frame.write_csv(temporary)
        else:
            frame.write_parquet(temporary)

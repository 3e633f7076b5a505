"""Compares candidate and production on the same rows, with confidence intervals.

They are compared on rows that neither has learnt: on all of them, on those that were
test rows of the production version and are unchanged, and on each group of a named
column. A numeric target is compared by a robust loss too, so that no single wrong value
decides. The intervals come from `trainer.evaluation.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import Output, Predictions
from models.features.table import Columns
from models.storage.artefact import Artefact
from trainer.config.thresholds import GateConfig
from trainer.data import with_aside
from trainer.data.roles import group_text
from trainer.evaluation import bootstrap
from trainer.evaluation.clusters import clusters
from trainer.evaluation.metrics import PRIMARY, losses, mean_loss, metrics
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import fingerprint_rows, unchanged_rows
from trainer.preparation.prepare import Part
from trainer.preparation.targets import label_key

#: Fewer rows are not compared by themselves.
MIN_ROWS = 30
#: The robust loss clips errors at this multiple of production's median error: at two
#: standard deviations of normal errors. If a tenth of the targets are wrong, a model
#: that is a third worse does not show in the RMSE, nor in errors clipped at 10.
CLIPPED_AT = 3.0


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metric of both models on some rows, and why the candidate is refused, if so.

    A smaller metric is better; `low` and `high` are the ends of the interval of the
    candidate's minus production's. Without production there is only the candidate's.
    """

    rows: str
    count: int
    figure: str
    candidate: float
    production: float | None = None
    low: float | None = None
    high: float | None = None
    refused: str = ""

    def __str__(self) -> str:
        sentence = f"{self._verdict}: {self.figure} {self.candidate:.3g}"
        if self.production is not None:
            sentence += f", production {self.production:.3g},"
        sentence += f" on {self.count:,} {self.rows}"
        if self.low is None:
            return sentence
        ends = f"{self.low:.3g} to {self.high:.3g}"
        return f"{sentence} (95% interval of the difference: {ends})"

    @property
    def _verdict(self) -> str:
        if self.refused or self.production is None or self.high is None:
            return self.refused
        if self.high < 0:
            return "significantly better"
        if self.candidate <= self.production:
            return "at least as good"
        return "not significantly worse"


class PairedComparison:
    """The losses of both models on the same rows, and the cluster of each row.

    `production_metrics` has all metrics of production on these rows, if there is one.
    """

    def __init__(
        self,
        settings: GateConfig,
        candidate: Artefact,
        production: ProductionModel | None,
        rows: Part,
    ) -> None:
        manifest = candidate.manifest
        self.settings, self.rows, self.output = settings, rows, manifest.output
        self.metric = PRIMARY[manifest.task]
        self.losses = losses(self.output, self._predict(candidate), rows.target)
        self.production_losses: Floats | None = None
        self.production_metrics: dict[str, float] | None = None
        if production is not None:
            answer = self._predict(production.artefact)
            self.production_losses = losses(self.output, answer, rows.target)
            self.production_metrics = metrics(
                self.output, answer, rows.target, rows.weights
            )
        self.clusters = clusters(rows, manifest.config["data"]["group"])
        self.unchanged = np.zeros(len(rows), bool)
        if production is not None and production.measured is not None:
            inputs = production.artefact.manifest.inputs
            now = fingerprint_rows(rows, inputs, self.output)
            self.unchanged = unchanged_rows(now, production.measured)

    def _predict(self, artefact: Artefact) -> Predictions:
        answer = artefact.model.predict(artefact.manifest.inputs.select(self.rows.raw))
        return _align(answer, artefact.manifest.output, self.output)

    def comparisons(self, evaluated_on: str) -> Iterator[Comparison]:
        """Compare on all rows, on unchanged test rows of production, on each group."""
        gain = self.settings.minimum_gain
        if self.production_losses is not None:
            everywhere = np.ones(len(self.rows), bool)
            yield self._compare(evaluated_on, everywhere, gain=gain)
            if self.unchanged.sum() >= MIN_ROWS and not self.unchanged.all():
                yield self._compare("test rows of production", self.unchanged)
            yield from self._robust(evaluated_on)
        groups = list(self._groups())
        for name, mask in groups:
            level = 1.0 - (1.0 - bootstrap.LEVEL) / len(groups)  # Bonferroni
            limit = self.settings.group_limit
            yield self._compare(name, mask, level=level, limit=limit)

    def _robust(self, evaluated_on: str) -> Iterator[Comparison]:
        """Compare a numeric target with errors clipped, if any error is that large."""
        theirs = self.production_losses
        if self.output.classes or theirs is None:
            return
        limit = CLIPPED_AT**2 * float(np.median(theirs))
        clipped = np.minimum(self.losses, limit), np.minimum(theirs, limit)
        if limit and (self.losses.max() > limit or theirs.max() > limit):
            everywhere = np.ones(len(self.rows), bool)
            name = f"{evaluated_on}, errors clipped at {np.sqrt(limit):.3g}"
            yield self._compare(name, everywhere, both=clipped)

    def _groups(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        name = self.settings.group
        if name is None:
            return
        texts = np.array([str(x) for x in group_text(columns_of(self.rows)[name])])
        for text in np.unique(texts).tolist():
            if (texts == text).sum() >= MIN_ROWS:
                yield f"rows of {name} = {text}", texts == text

    def _compare(
        self,
        name: str,
        mask: NDArray[np.bool_],
        level: float = bootstrap.LEVEL,
        gain: float | None = None,
        limit: float | None = None,
        both: tuple[Floats, Floats] | None = None,
    ) -> Comparison:
        ours, theirs = both or (self.losses, self.production_losses)
        weights = None if self.rows.weights is None else self.rows.weights[mask]
        candidate = mean_loss(self.output, ours[mask], weights)
        comparison = Comparison(name, int(mask.sum()), self.metric, candidate)
        if limit is not None and candidate > limit:
            comparison = replace(
                comparison, refused=f"above gate.group_limit={limit:g}"
            )
        if theirs is None:
            return comparison
        production = mean_loss(self.output, theirs[mask], weights)
        low, high = bootstrap.interval(
            (ours[mask], theirs[mask]),
            weights,
            self.clusters[mask],
            root=not self.output.classes,
            level=level,
        )
        comparison = replace(comparison, production=production, low=low, high=high)
        refused, allowed = comparison.refused, self.settings.allowed_loss
        if gain is not None and high > -gain * production:
            refused = f"not significantly better by gate.minimum_gain={gain:g}"
        elif gain is None and low > allowed * production:
            refused = "significantly worse"
        return replace(comparison, refused=refused)


def columns_of(rows: Part) -> Columns:
    """Return every column of the rows, also those set aside."""
    raw = {} if isinstance(rows.raw, np.ndarray) else rows.raw
    return with_aside(raw, rows.aside)


def _align(answer: Predictions, theirs: Output, ours: Output) -> Predictions:
    """Return an answer in our order of classes; a class they lack has probability 0."""
    if not ours.classes or not theirs.classes:
        return answer
    P = np.zeros((len(answer["probabilities"]), len(ours.classes)))
    columns = {label_key(name): c for c, name in enumerate(theirs.class_names)}
    for column, name in enumerate(ours.class_names):
        if (key := label_key(name)) in columns:
            P[:, column] = answer["probabilities"][:, columns[key]]
    return {"probabilities": P}

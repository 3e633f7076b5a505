"""Candidate and production on the same rows, by networks that have not learnt them.

They are compared on all rows, on those that production was measured on when it was made
and that are as they were, and on those of each group that is named. Each difference
comes with the interval that chance leaves (`trainer.evaluation.bootstrap`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.inputs import RawColumns
from models.features.predictions import Output, Predictions
from models.features.table import Columns
from models.model import Model
from models.storage.artefact import Artefact
from trainer.config.thresholds import GateConfig
from trainer.data import take
from trainer.data.roles import group_text
from trainer.data.row_hashing import hash_rows, rehash_duplicates
from trainer.evaluation import bootstrap
from trainer.evaluation.metrics import PRIMARY, losses, mean_loss, metrics
from trainer.evaluation.production import ProductionModel
from trainer.evaluation.row_fingerprints import fingerprint_rows, unchanged_rows
from trainer.preparation.prepare import Part
from trainer.preparation.split_plan import split_again

#: Fewer rows than this say nothing of their own, be it of a group or of what was there.
MIN_ROWS = 30


class Comparison(msgspec.Struct, frozen=True, omit_defaults=True):
    """Both models on some rows, and in a word why the candidate may not pass.

    The figure is the smaller the better; `low` and `high` are the interval of the
    candidate's less production's. Of a first version there is only its own.
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
        said = f"{self.figure} {self.candidate:.6g}"
        if self.production is not None:
            said += f" against {self.production:.6g} of production on the same"
        else:
            said += " on"
        said += f" {self.rows} ({self.count:,} rows"
        if self.low is not None:
            said += (
                f", 95% interval of the difference {self.low:.3g} to {self.high:.3g}"
            )
        return f"{self._word}: {said})"

    @property
    def _word(self) -> str:
        if self.refused or self.production is None or self.high is None:
            return self.refused
        if self.high < 0:
            return "better"
        even = self.candidate <= self.production
        return "at least as good" if even else "not worse beyond doubt"


class PairedComparison:
    """What both models lose on each row, what it counts, and to whom it belongs.

    `figures` are all of production's on the same rows, if there is one.
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
        self.figure = PRIMARY[manifest.task]
        self.new = losses(self.output, self._answer(candidate), rows.target)
        self.old: Floats | None = None
        self.figures: dict[str, float] | None = None
        if production is not None:
            answer = self._answer(production.artefact)
            self.old = losses(self.output, answer, rows.target)
            self.figures = metrics(self.output, answer, rows.target, rows.weights)
        self.kin = _clusters(rows, manifest.config["data"]["group"])
        self.there = np.zeros(len(rows), bool)
        if production is not None and production.measured is not None:
            theirs = production.artefact.manifest
            now = fingerprint_rows(rows, theirs.inputs, self.output)
            self.there = unchanged_rows(now, production.measured)

    def _answer(self, artefact: Artefact) -> Predictions:
        rows = self.rows
        answer = out_of_fold(artefact, rows.raw, rows.aside, rows.turns)
        return _aligned(answer, artefact.manifest.output, self.output)

    def comparisons(self, measured_on: str) -> Iterator[Comparison]:
        """Yield what all rows say, what those say that were there, and each group."""
        gain = self.settings.minimum_gain
        if self.old is not None:
            everywhere = np.ones(len(self.rows), bool)
            yield self._compare(measured_on, everywhere, gain=gain)
            if self.there.sum() >= MIN_ROWS:
                yield self._compare("rows it was measured on", self.there)
        groups = list(self._groups())
        for name, chosen in groups:
            level = 1.0 - (1.0 - bootstrap.LEVEL) / len(groups)  # Bonferroni
            limit = self.settings.group_limit
            yield self._compare(name, chosen, level=level, limit=limit)

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
        chosen: NDArray[np.bool_],
        level: float = bootstrap.LEVEL,
        gain: float | None = None,
        limit: float | None = None,
    ) -> Comparison:
        counts = self.rows.weights
        weights = None if counts is None else counts[chosen]
        new = mean_loss(self.output, self.new[chosen], weights)
        found = Comparison(name, int(chosen.sum()), self.figure, new)
        if limit is not None and new > limit:
            found = replace(found, refused=f"above gate.group_limit={limit:g}")
        if self.old is None:
            return found
        old = mean_loss(self.output, self.old[chosen], weights)
        low, high = bootstrap.interval(
            (self.new[chosen], self.old[chosen]),
            weights,
            self.kin[chosen],
            root=not self.output.classes,
            level=level,
        )
        found = replace(found, production=old, low=low, high=high)
        if gain is not None and high > -gain * old:
            return replace(found, refused=f"not better by {gain:.1%} beyond doubt")
        if gain is None and low > self.settings.allowed_loss * old:
            return replace(found, refused="worse")
        return found


def _clusters(rows: Part, group: str | None) -> NDArray[Any]:
    """Tell rows that belong together: of one group, or the same in every column."""
    if group is not None and group in rows.aside:
        return np.array([str(text) for text in rows.aside[group]])
    where = hash_rows(rows.raw)
    return where if rows.turns is None else rehash_duplicates(where, rows.turns, 0)


def columns_of(rows: Part) -> Columns:
    """Return every column of some rows, those set aside too."""
    raw = {} if isinstance(rows.raw, np.ndarray) else rows.raw
    return {**raw, **rows.aside}


def out_of_fold(
    artefact: Artefact,
    raw: RawColumns,
    aside: Columns | None = None,
    turns: Floats | None = None,
) -> Predictions:
    """Answer each row by a network of the artefact that was fitted without it.

    A row has its place from what stands in it, or from its group, so the place tells
    which network held it out, whatever else was in that run's data; one that was to be
    measured on it goes before one that chose its epoch on it. Where none did, or where
    it cannot be told, all answer together.
    """
    manifest, model = artefact.manifest, artefact.model
    answer = model.predict(raw)
    if manifest.members == 1:
        return answer
    splits = split_again(manifest, raw, aside or {}, turns)
    if splits is None:
        return answer
    pairs = list(zip(model.networks, splits, strict=True))
    spared = [(network, split.validation) for network, split in pairs]
    spared += [(network, split.test) for network, split in pairs]
    for network, rows in spared:
        if len(rows):
            alone = Model(model.inputs, [network], model.output)
            for name, values in alone.predict(take(raw, rows)).items():
                answer[name][rows] = values
    return answer


def _aligned(answer: Predictions, theirs: Output, ours: Output) -> Predictions:
    """Return an answer in our order of classes; a class they lack gets nothing."""
    if not ours.classes or not theirs.classes:
        return answer
    P = np.zeros((len(answer["probabilities"]), len(ours.classes)))
    column = {label: place for place, label in enumerate(theirs.classes)}
    for place, label in enumerate(ours.classes):
        if label in column:
            P[:, place] = answer["probabilities"][:, column[label]]
    return {"probabilities": P}

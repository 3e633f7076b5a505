"""May the candidate take over? Only if it is at least as good on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.artefact import Artefact
from models.columns import Floats
from models.errors import InvalidInput
from models.model import Model, Raw
from models.output import Answer, Classification, Output
from models.table import Columns, TableInput
from trainer.data import take
from trainer.division import divided_again
from trainer.evaluate import PRIMARY, classification, regression
from trainer.preparation import Part

Policy = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is promoted, and the sentence that says why.

    `production` are the figures it was compared with.
    """

    promoted: bool
    reason: str
    production: dict[str, float] | None = None


def decide(
    policy: Policy,
    candidate: Artefact,
    production: Artefact | None,
    rows: Part,
    measured_on: str,
) -> Verdict:
    """Compare the candidate with what serves now, on the candidate's measured rows.

    Their target is class numbers in the candidate's order, or values; their weights
    count for both.
    """
    if policy == "never":
        return Verdict(False, "--promote never")
    if policy == "always":
        return Verdict(True, "--promote always")
    if production is None:
        return Verdict(True, "there is none in production to compare with")
    problem = _incomparable(candidate, production)
    if problem:
        return Verdict(False, f"cannot be compared with production: {problem}")
    name = PRIMARY[candidate.manifest.task]
    new = candidate.manifest.metrics[name]
    try:
        theirs = _figures(production, candidate.manifest.output, rows)
    except InvalidInput as error:
        return Verdict(False, f"cannot be compared with production: {error}")
    old = theirs[name]
    figures = (
        f"{name} {new:.6g} against {old:.6g} of production on the same {measured_on}"
    )
    if new <= old:
        return Verdict(True, f"at least as good: {figures}", theirs)
    return Verdict(False, f"worse: {figures}", theirs)


def _incomparable(candidate: Artefact, production: Artefact) -> str | None:
    ours, theirs = candidate.manifest, production.manifest
    if ours.output.__class__ is not theirs.output.__class__:
        return f"its task is {theirs.task}, the candidate's {ours.task}"
    if isinstance(ours.inputs, TableInput) and isinstance(theirs.inputs, TableInput):
        for column in theirs.inputs.columns:
            mine = ours.inputs.by_name.get(column.name)
            if type(mine) is not type(column):
                return f"it needs the column '{column.name}' as it was"
        return None
    if type(ours.inputs) is not type(theirs.inputs):
        return "one takes a table, the other arrays"
    if ours.inputs.shape != theirs.inputs.shape:  # type: ignore[union-attr]
        return "the rows have another shape"
    return None


def unseen(
    artefact: Artefact,
    raw: Raw,
    aside: Columns | None = None,
    turns: Floats | None = None,
) -> Answer:
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
    splits = divided_again(manifest, raw, aside or {}, turns)
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


def _figures(production: Artefact, output: Output, rows: Part) -> dict[str, float]:
    target, weights = rows.target, rows.weights
    answer = unseen(production, rows.raw, rows.aside, rows.turns)
    if not isinstance(output, Classification):
        return regression(answer["value"], target, weights)
    theirs = production.manifest.output
    assert isinstance(theirs, Classification)
    # Production's probabilities in the candidate's order; a class it lacks gets none.
    P = np.zeros((len(target), len(output.classes)))
    column = {label: place for place, label in enumerate(theirs.classes)}
    for place, label in enumerate(output.classes):
        if label in column:
            P[:, place] = answer["probabilities"][:, column[label]]
    return classification(P, target, weights)

"""Loads the production version, which a candidate and its data are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import (
    ArtefactCorrupt,
    LabelNotFound,
    ModelNotFound,
    VersionNotFound,
)
from models.storage.artefact import Artefact
from models.storage.base import PRODUCTION, ROWS, ArtefactStore
from trainer.evaluation import row_fingerprints
from trainer.evaluation.metrics import PRIMARY
from trainer.evaluation.row_fingerprints import RowFingerprints, hash_inputs
from trainer.preparation.prepare import TRAINING_ROWS, Part
from trainer.preparation.split_plan import learnt_rows
from trainer.types import Say


@dataclass(frozen=True)
class ProductionModel:
    """The production version, and the fingerprints of its test rows if stored."""

    version: int
    artefact: Artefact
    measured: RowFingerprints | None = None

    @property
    def beats_constant(self) -> bool:
        """Tell whether it was measured to be better than a constant answer."""
        manifest = self.artefact.manifest
        name = PRIMARY[manifest.task]
        constant = manifest.baselines.get("constant", {}).get(name)
        return constant is not None and manifest.metrics[name] < constant

    def learnt(self, rows: Part) -> NDArray[np.bool_]:
        """Tell which rows (n,) it has learnt; those it was measured on it has not."""
        manifest = self.artefact.manifest
        learnt = learnt_rows(manifest, rows.raw, rows.aside, rows.occurrence)
        shared = manifest.recipe.shared_test_rows or manifest.members == 1
        held_out = manifest.metrics.get("measured_on") != TRAINING_ROWS
        if self.measured is not None and shared and held_out:
            there = hash_inputs(rows, manifest.inputs)
            learnt &= ~np.isin(there, self.measured[:, 0])
        return learnt


def load_production(
    store: ArtefactStore, name: str, say: Say
) -> ProductionModel | None:
    """Return the production version, or None if it is missing or damaged."""
    try:
        version = store.resolve(name, label=PRODUCTION)
        artefact = store.load(name, version)
        rows = store.read_attachment(name, version, ROWS)
        address = store.address(name, version, ROWS)
        measured = None if rows is None else row_fingerprints.load(rows, address)
    except (ModelNotFound, LabelNotFound):
        return None
    except (VersionNotFound, ArtefactCorrupt, OSError) as error:
        say(f"the production version cannot be read and is not compared: {error}")
        return None
    return ProductionModel(version, artefact, measured)

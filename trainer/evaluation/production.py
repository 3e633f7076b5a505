"""Loads the production version, which a candidate and its data are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import (
    ArtefactCorrupt,
    LabelNotFound,
    ModelNotFound,
    VersionNotFound,
)
from models.storage.artefact import Artefact
from models.storage.base import PRODUCTION, ArtefactStore
from trainer.evaluation import row_fingerprints
from trainer.evaluation.row_fingerprints import ROWS, RowFingerprints
from trainer.types import Say


@dataclass(frozen=True)
class ProductionModel:
    """The production version, and the fingerprints of its test rows if stored."""

    version: int
    artefact: Artefact
    measured: RowFingerprints | None = None


def load_production(
    store: ArtefactStore, name: str, say: Say
) -> ProductionModel | None:
    """Return the production version, or None if there is none or it is damaged."""
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

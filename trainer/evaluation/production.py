"""The version in production, which a candidate and its data are held against."""

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
    """What serves now, and which rows it was measured on, where that is known."""

    version: int
    artefact: Artefact
    measured: RowFingerprints | None = None


def load_production(
    store: ArtefactStore, name: str, say: Say
) -> ProductionModel | None:
    """Return what serves now; a damaged version stands in nobody's way."""
    try:
        version = store.resolve(name, label=PRODUCTION)
        artefact = store.load(name, version)
        rows = store.read_attachment(name, version, ROWS)
        address = store.address(name, version, ROWS)
        measured = None if rows is None else row_fingerprints.load(rows, address)
    except (ModelNotFound, LabelNotFound):
        return None
    except (VersionNotFound, ArtefactCorrupt, OSError) as error:
        say(f"the version in production cannot be read and is not compared: {error}")
        return None
    return ProductionModel(version, artefact, measured)

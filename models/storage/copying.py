"""Copies a model from one store to another: versions, labels and their history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from models.errors import ArtefactCorrupt, ConfigError, ProductionMoved
from models.storage.archive import MAX_FILE_BYTES
from models.storage.base import (
    ARTEFACT,
    LABELS,
    RECORD,
    REPORT,
    ROWS,
    RUN,
    ArtefactStore,
)
from models.storage.labels import Labels
from models.storage.signing import SIGNATURE

FILES = (ARTEFACT, RUN, RECORD, REPORT, ROWS, SIGNATURE)


def copy(source: ArtefactStore, target: ArtefactStore, name: str) -> dict[int, str]:
    """Copy a model, all or nothing; return its versions and their sha256.

    Each version keeps its number and is loaded from both stores. Raises ModelNotFound,
    ConfigError if the other store has the model, ProductionMoved if it changed
    meanwhile, ArtefactCorrupt for a damaged version, and OSError.
    """
    source.require(name)
    target.check_writable()
    before = source.snapshot(name)
    labels = Labels.decode(before.labels, f"{source}/{name}/{LABELS}")
    labels.versions = labels.write = msgspec.UNSET  # how a bucket lists its objects
    digests = {}

    def contents() -> Iterator[tuple[int, Mapping[str, bytes]]]:
        for version in before.versions:
            digests[version] = source.load(name, version).sha256
            yield version, dict(_files(source, name, version))
        if source.snapshot(name) != before:
            raise ProductionMoved(f"{name} changed while it was copied: copy it again")

    if not target.add_model(name, contents(), labels.encode()):
        raise ConfigError(
            f"{target}/{name} exists: a model is copied as a whole, to a store "
            "that has none of this name"
        )
    for version, sha256 in digests.items():
        if target.load(name, version).sha256 != sha256:
            address = target.address(name, version)
            raise ArtefactCorrupt(f"{address}: its bytes are not those of {source}")
    return digests


def _files(
    store: ArtefactStore, name: str, version: int
) -> Iterator[tuple[str, bytes]]:
    for file in FILES:
        opened = store.open_file(name, version, file, MAX_FILE_BYTES)
        if opened is not None:
            with opened:
                yield file, opened.read()

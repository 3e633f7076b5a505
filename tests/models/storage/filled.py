"""Stores with versions and labels, and what tests ask of them."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import NotFound
from models.storage.base import ARTEFACT, RUN, ArtefactStore

Labelled = tuple[tuple[str, int], ...]
FILES = {ARTEFACT: b"model", RUN: b'{"trained_at":"2026-01-31"}'}
#: Production went 2, 5, 7 and candidate 3, 6.
LABELLED = (
    *(("production", version) for version in (2, 5, 7)),
    *(("candidate", version) for version in (3, 6)),
)


def fill(store: ArtefactStore, versions: int = 3, labelled: Labelled = ()) -> None:
    """Publish versions of the model `m`, and move labels."""
    for number in range(1, versions + 1):
        store.publish("m", {**FILES, ARTEFACT: b"model %d" % number})
    for label, version in labelled:
        store.promote("m", version, label)


def content(store: ArtefactStore, version: int, name: str = "m") -> bytes:
    """Return the artefact of a version, as it was published."""
    file = store.open_file(name, version, ARTEFACT, 1 << 20)
    assert file is not None
    with file:
        return file.read()


def missing(kind: type[NotFound], call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(NotFound) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is kind
    return str(caught.value)


def standing(store: ArtefactStore) -> dict[str, tuple[int, list[int]]]:
    labels = store.labels("m")
    return {name: (label.version, label.previous) for name, label in labels.items()}

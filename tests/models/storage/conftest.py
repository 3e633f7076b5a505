"""One test, each kind of store: on a disk, and in a bucket of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.storage.base import ArtefactStore
from models.storage.directory import DirectoryStore
from models.storage.factory import open_store


@pytest.fixture(
    params=["directory", pytest.param("bucket", marks=pytest.mark.cloud)],
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtefactStore]:
    """An empty store of each kind."""
    if request.param == "directory":
        yield DirectoryStore(tmp_path / "store")
    else:
        yield open_store(request.getfixturevalue("bucket"))

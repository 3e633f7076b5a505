"""An address names its store by the scheme; one without a scheme is a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from models.storage.directory import DirectoryStore
from models.storage.factory import open_store


def test_an_address_without_a_scheme_is_a_directory(tmp_path: Path) -> None:
    for address in (str(tmp_path / "store"), f"file://{tmp_path}/store"):
        store = open_store(address, "keys")
        assert isinstance(store, DirectoryStore)
        assert store.root == tmp_path / "store" and str(store) == str(store.root)
        assert store.key_file == Path("keys")
    assert str(open_store("./artefacts")) == "artefacts"


def test_an_unknown_scheme_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match="unknown scheme 'files'; did you mean 'file'"
    ):
        open_store("files:///store")
    with pytest.raises(ConfigError, match="unknown scheme 'xyz'; it is one of file"):
        open_store("xyz://store")

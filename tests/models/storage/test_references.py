"""Names of versions, alone and after a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ConfigError
from models.storage.directory import DirectoryStore
from models.storage.references import resolve, split_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("churn:production", ("here", "churn:production")),
        ("a/b/churn@3", ("a/b", "churn@3")),
        ("/churn", ("/", "churn")),
        ("s3://bucket/prefix/churn", ("s3://bucket/prefix", "churn")),
    ],
)
def test_an_address_is_a_store_and_a_reference(
    address: str, expected: tuple[str, str]
) -> None:
    assert split_address(address, "here") == expected


@pytest.mark.parametrize("reference", ["", "a@b", "a:b:c", "a@1:b"])
def test_another_form_is_an_error(tmp_path: Path, reference: str) -> None:
    with pytest.raises(ConfigError, match="NAME@VERSION or NAME:LABEL"):
        resolve(DirectoryStore(tmp_path), reference)

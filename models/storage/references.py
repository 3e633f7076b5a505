"""Names of a version: NAME, NAME@VERSION or NAME:LABEL, alone or after a store."""

from __future__ import annotations

import re

from models.errors import ConfigError
from models.storage.base import ArtefactStore

_REFERENCE = re.compile(r"([^@:]+)(?:@([0-9]{1,18})|:([a-zA-Z0-9_]+))?")


def resolve(store: ArtefactStore, reference: str) -> tuple[str, int]:
    """Return the model and version of NAME, NAME@VERSION or NAME:LABEL.

    Raises ConfigError if the reference has another form, NotFound if it does not exist.
    """
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ConfigError(
            f"expected NAME, NAME@VERSION or NAME:LABEL, found '{reference}'"
        )
    name, version, label = match.groups()
    return name, store.resolve(name, int(version) if version else None, label)


def split_address(address: str, default_store: str) -> tuple[str, str]:
    """Return the store and the reference of STORE/REFERENCE, or of a reference."""
    store, slash, reference = address.rpartition("/")
    return (store or slash, reference) if slash else (default_store, reference)

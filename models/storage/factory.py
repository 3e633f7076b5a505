"""The store that an address names."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import ConfigError, nearest
from models.storage.base import ArtefactStore
from models.storage.directory import DirectoryStore

#: For each scheme of an address what makes its store, of the address without the scheme
#: and a key file.
SCHEMES: dict[str, Callable[[str, str | None], ArtefactStore]] = {
    "file": DirectoryStore,
}


def open_store(address: str, key_file: str | None = None) -> ArtefactStore:
    """Return the store at an address: a directory, or SCHEME://REST.

    Raises ConfigError for an unknown scheme.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "file", address
    if scheme not in SCHEMES:
        hint = nearest(scheme, SCHEMES) or f"; it is one of {', '.join(SCHEMES)}"
        raise ConfigError(f"store '{address}': unknown scheme '{scheme}'{hint}")
    return SCHEMES[scheme](rest, key_file)

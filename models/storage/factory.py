"""The store that an address names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from models.errors import ConfigError, nearest
from models.storage.base import ArtefactStore
from models.storage.cache import Cache
from models.storage.directory import DirectoryStore


def _directory(
    address: str, key_file: str | None, cache: Cache | None
) -> ArtefactStore:
    return DirectoryStore(address, key_file)


def _bucket(
    scheme: str, address: str, key_file: str | None, cache: Cache | None
) -> ArtefactStore:
    # Imported here: with a store on a disk nothing of it is needed.
    from models.storage.object_store import ObjectStore

    return ObjectStore(f"{scheme}://{address}", key_file, cache)


#: The schemes of buckets: S3, Google Cloud Storage and Azure.
BUCKETS = ("s3", "gs", "az")
#: For each scheme of an address what makes its store, of the address without the
#: scheme, a key file and a cache.
SCHEMES: dict[str, Callable[[str, str | None, Cache | None], ArtefactStore]] = {
    "file": _directory,
    **{scheme: partial(_bucket, scheme) for scheme in BUCKETS},
}


def in_bucket(address: str) -> bool:
    """Tell whether an address is in a bucket."""
    return address.startswith(tuple(f"{scheme}://" for scheme in BUCKETS))


def open_store(
    address: str, key_file: str | None = None, cache: Cache | None = None
) -> ArtefactStore:
    """Return the store at an address: a directory, or SCHEME://REST.

    A store in a bucket keeps what it downloads in the `cache`. Raises ConfigError for
    an unknown scheme, or a bucket without its name.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "file", address
    if scheme not in SCHEMES:
        hint = nearest(scheme, SCHEMES) or f"; it is one of {', '.join(SCHEMES)}"
        raise ConfigError(f"store '{address}': unknown scheme '{scheme}'{hint}")
    return SCHEMES[scheme](rest, key_file, cache)

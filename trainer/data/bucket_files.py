"""The files of a table in a bucket, which are read from copies on this disk.

The copies are in TMPDIR for as long as they are read, so whatever reads files reads
these too. Errors name the objects, not the copies.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from models.errors import DataError, GlassnetError
from models.storage.factory import in_bucket
from trainer.data.files import is_table
from trainer.data.source import Source

if TYPE_CHECKING:
    from models.storage.bucket import Bucket
    from models.storage.bucket_client import Listed

DataT = TypeVar("DataT", bound="Source | str")


def locate(address: str) -> tuple[Bucket, str]:
    """Return the bucket of an address, and the key in it; raises ConfigError."""
    scheme, _, rest = address.partition("://")
    name, _, key = rest.partition("/")
    return _bucket(f"{scheme}://{name}"), key


@lru_cache(maxsize=4)
def _bucket(address: str) -> Bucket:
    """Return one object for all files, since each has a process beside this one."""
    from models.storage.bucket import Bucket

    return Bucket(address)


@contextmanager
def local_files(data: DataT) -> Iterator[DataT | str]:
    """Give data whose files are on this disk: copies of those that are in a bucket.

    Raises DataError if there are none, and BucketError.
    """
    address = str(data)
    if not in_bucket(address):
        yield data
        return
    base, entries = list_bucket(address)
    keys = [entry.key for entry in entries]
    if not keys:  # the address of one object
        base, _, name = address.rpartition("/")
        keys = [name]
    with copied(base, keys) as folder:
        yield address.replace(base, str(folder), 1)


@contextmanager
def copied(base: str, keys: Sequence[str]) -> Iterator[Path]:
    """Download the objects `keys` below an address; give the folder of the copies.

    Raises DataError if one does not exist or the disk is full, and BucketError.
    """
    from models.storage.bucket_client import BucketError

    bucket, prefix = locate(f"{base}/")
    with tempfile.TemporaryDirectory(prefix="glassnet-") as folder:
        for key in keys:
            path = Path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not bucket.download(prefix + key, path):
                    raise DataError(f"no such file: {base}/{key}")
            except BucketError as error:
                if error.errno != errno.ENOSPC:
                    raise
                place = tempfile.gettempdir()
                raise DataError(
                    f"{base}/{key}: there is no room for a copy in {place}; TMPDIR "
                    "names another folder"
                ) from None
        try:
            yield Path(folder)
        except GlassnetError as error:
            error.args = (str(error).replace(folder, base),)
            raise


def list_bucket(address: str) -> tuple[str, list[Listed]]:
    """Return the fixed part of a folder or glob, and the tables below it by name.

    Raises BucketError.
    """
    parts = address.rstrip("/").split("/")
    fixed = list(takewhile(lambda part: not set(part) & set("*?["), parts))
    base, pattern = "/".join(fixed), parts[len(fixed) :]
    bucket, prefix = locate(f"{base}/")
    found = (
        entry._replace(key=entry.key.removeprefix(prefix))
        for entry in bucket.entries(prefix)
    )
    return base, sorted(entry for entry in found if _is_part(entry.key, pattern))


def _is_part(key: str, pattern: Sequence[str]) -> bool:
    """Tell whether an object is one of a table's files, as `list_files` does."""
    *folders, name = key.split("/")
    if not is_table(name) or ".." in folders:
        return False
    if not pattern:
        return all("=" in folder for folder in folders)
    names = [*folders, name]
    return len(names) == len(pattern) and all(map(fnmatchcase, names, pattern))

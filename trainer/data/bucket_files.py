"""Data in a bucket: copied into a folder, and read from there.

s3://BUCKET/PREFIX     the files below it, as of a folder
gs://BUCKET/data.csv   one file
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from models.errors import DataError
from trainer.data.source import BUCKETS, Source

#: The largest object that is read.
MAX_BYTES = 8 << 30


def local(data: Source) -> Source:
    """Return the source with its files in a folder of this machine.

    They are copied once. Raises DataError if there are none, ConfigError if a package
    is missing, and BucketError.
    """
    truth = data.truth and _local(data.truth)
    return replace(data, address=_local(data.address), truth=truth)


def _local(address: str) -> str:
    scheme, separator, _ = address.partition("://")
    return _copied(address) if separator and scheme in BUCKETS else address


@cache
def _copied(address: str) -> str:
    from models.storage.bucket import Bucket

    folder = Path(tempfile.mkdtemp(prefix="glassnet-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    head, _, name = address.rstrip("/").rpartition("/")
    if "." in name:
        bucket, keys = Bucket(head), [name]
    else:
        bucket = Bucket(address)
        keys = [entry.key for entry in bucket.entries("")]
    for key in keys:
        found = bucket.get(key, MAX_BYTES)
        if found is None or found.content is None:
            raise DataError(f"{address}: there is no such object")
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.content)
    if not keys:
        raise DataError(f"{address}: there is no file")
    return str(folder / name if "." in name else folder)

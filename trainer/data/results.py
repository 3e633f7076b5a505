"""A file of results appears whole, at the end: on this disk or in a bucket."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT
from glob import glob
from pathlib import Path

from models.errors import ConfigError
from models.storage.factory import in_bucket
from trainer.data.bucket_files import locate
from trainer.data.source import Source


@contextmanager
def appearing(out: Path | str, note: str = "") -> Iterator[Path]:
    """Yield a temporary file to write; rename it to `out` if no error was raised.

    An object in a bucket gets a note, which `read_note` returns. Raises OSError, among
    them BlockingIOError if another process writes the same file of this disk.
    """
    writing = _uploaded(str(out), note) if in_bucket(str(out)) else _claimed(Path(out))
    with writing as temporary:
        yield temporary


def require_other(source: Source | str, out: str) -> None:
    """Raise ConfigError if results would replace the data that they are made from."""
    data, place = Path(str(source)), Path(out)
    same = str(source) == out
    if place.exists() and not in_bucket(out):
        within = data.rglob("*") if data.is_dir() else glob(str(data))
        files = [data, *map(Path, within)]
        same = any(place.samefile(file) for file in files if file.exists())
    if same:
        raise ConfigError(f"--out {out} would replace the data: choose another place")


def read_note(out: str) -> str:
    """Return the note of a result in a bucket; nothing if it has not got one."""
    bucket, key = locate(out)
    return bucket.note(key)


@contextmanager
def _uploaded(out: str, note: str) -> Iterator[Path]:
    read_note(out)  # a bucket that cannot be read fails now, not after the work
    bucket, key = locate(out)
    with tempfile.TemporaryDirectory(prefix="glassnet-") as directory:
        temporary = Path(directory, f".{Path(key).name}.part")
        yield temporary
        bucket.upload(key, temporary, note)


@contextmanager
def _claimed(out: Path) -> Iterator[Path]:
    """Give a hidden file beside `out`; a lock on it ends with its process."""
    if not out.parent.is_dir():
        raise FileNotFoundError(ENOENT, "there is no such folder", str(out.parent))
    temporary = out.with_name(f".{out.name}.part")
    try:
        file = temporary.open("ab")
    except OSError as error:
        error.filename = str(out)  # the name that the user gave, not the hidden one
        raise
    with file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield temporary
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

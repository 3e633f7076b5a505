"""A bounded folder of files by their sha256, which processes share.

It saves downloads and never decides what is served: each read is verified, and a
damaged or missing file is downloaded again.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from models.storage.archive import MAX_FILE_BYTES, digest_of

#: A hidden file older than this was left by a process that died.
ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True)
class Cache:
    """Up to `limit` bytes of files; the ones not read for longest are removed."""

    folder: Path
    limit: int

    def read(self, sha256: str) -> bytes | None:
        """Return a content, or None if it is not here as it was written."""
        path = self.folder / sha256
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                return None
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return content if digest_of(content) == sha256 else None

    def write(self, sha256: str, content: bytes) -> None:
        """Store a content if it fits; a full disk is not an error."""
        if len(content) > self.limit:
            return
        hidden = self.folder / f".{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(len(content), sha256)
            hidden.write_bytes(content)
            hidden.replace(self.folder / sha256)
        with contextlib.suppress(OSError):
            hidden.unlink()

    def _make_room(self, size: int, sha256: str) -> None:
        """Remove files until `size` bytes fit."""
        files = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                files.append((status.st_mtime, status.st_size, entry.path))
        total = size + sum(size for _, size, _ in files)
        for _, freed, path in sorted(files):
            if total <= self.limit:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= freed

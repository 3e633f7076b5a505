"""Files of keys, tokens and passwords, which only their owner may read."""

from __future__ import annotations

from pathlib import Path


def write_secret(path: Path, content: str | bytes) -> str:
    """Write a file that others cannot read, and return its path."""
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return str(path)

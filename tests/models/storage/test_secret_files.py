"""Secrets are read only from files that other users cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.storage.secret_files import MAX_SECRET_BYTES, read_secret
from tests.private import write_secret


def test_a_private_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, "s")
    (tmp_path / "link").symlink_to("secret")
    for mode in (0o400, 0o600, 0o640):
        path.chmod(mode)
        assert read_secret(path) == read_secret(tmp_path / "link") == b"s"


def test_what_others_may_read_or_is_no_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, "s")
    path.chmod(0o604)
    with pytest.raises(ConfigError, match=r"mode 604.*chmod 600 .*/secret"):
        read_secret(path)
    write_secret(path, b"s" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_secret(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        read_secret(tmp_path / "fifo")
    with pytest.raises(FileNotFoundError, match="none"):
        read_secret(tmp_path / "none")

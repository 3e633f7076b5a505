"""Files of keys, tokens and passwords, which only their owner and a group may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from models.errors import ArtefactCorrupt, ConfigError
from models.storage.files import open_regular

#: A larger file is no list of keys or tokens.
MAX_SECRET_BYTES = 1 << 20


def read_secret(path: Path) -> bytes:
    """Return the content of a file of keys, tokens or passwords.

    Raises ConfigError if everybody may read it or it is no regular file, and OSError.
    """
    try:
        with open_regular(path, MAX_SECRET_BYTES) or path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & stat.S_IROTH:
                raise ConfigError(
                    f"{path}: every user of this machine may read it (mode "
                    f"{mode & 0o777:o}); make it private with: chmod 600 {path}"
                )
            return file.read()
    except ArtefactCorrupt as error:
        raise ConfigError(str(error)) from None

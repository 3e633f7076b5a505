"""The address that DATA is: a file, a folder, a glob, a built-in set, or a database.

A database is an address without a password, and a query:

    postgresql://user@host:5432/shop      defaults of the server for what is left out
    sqlite:///shop.db                     sqlite:////var/lib/shop.db from the root

The password comes from the environment (`PGPASSWORD`) or from a file (`PGPASSFILE`,
`GLASSNET_DATABASE_PASSWORD_FILE`), since every process can read a command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError, nearest
from models.storage.factory import BUCKETS

SCHEMES = ("postgresql", "sqlite")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
#: Parameters of an address that are secrets.
_SECRET = re.compile(r"[?&](ssl)?password=", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Where rows come from; `query` selects the rows of a database.

    `truth` is a table with the target of logged predictions.
    """

    address: str
    query: str | None = None
    truth: str | None = None

    @property
    def scheme(self) -> str | None:
        """The kind of database, or None for files, also in a bucket."""
        match = _ADDRESS.match(self.address)
        return match[1] if match and match[1] not in BUCKETS else None

    def __str__(self) -> str:
        """Return the address for logs and errors, without user and parameters."""
        if self.scheme != "postgresql":
            return self.address
        return "postgresql://" + self.address[13:].partition("?")[0].rpartition("@")[2]


def source(address: str, query: str | None = None, file: Path | None = None) -> Source:
    """Return the source that the options of a command name.

    The query may come from a file instead. Raises ConfigError if the options do not fit
    one another; no error repeats an address.
    """
    database = _ADDRESS.match(address)
    if database and database[1] in BUCKETS:
        database = None
    if database:
        _check_address(database[1], database[2])
    if query is not None and file is not None:
        raise ConfigError("--query and --query-file exclude each other")
    if file is not None:
        query = _read_query(file)
    named = Source(address, query)
    if database and (query is None or not query.strip()):
        raise ConfigError(
            f"{named}: a database needs --query 'SELECT …' or --query-file FILE.sql"
        )
    if not database and query is not None:
        raise ConfigError(
            "--query needs a database (postgresql://…, sqlite:///…), and "
            f"{address} is not one"
        )
    return named


def _check_address(scheme: str, rest: str) -> None:
    if scheme not in SCHEMES:
        raise ConfigError(
            "expected postgresql://… or sqlite:///…, or a bucket at s3://…, gs://… or "
            f"az://…, found {scheme}://…{nearest(scheme, SCHEMES + BUCKETS)}"
        )
    user, at, _ = rest.partition("@")
    if (at and ":" in user) or _SECRET.search(rest):
        raise ConfigError(
            "the address of a database must not contain the password, since others can "
            "read a command line: put it into PGPASSWORD, PGPASSFILE or a file named "
            "by GLASSNET_DATABASE_PASSWORD_FILE (write any other '@' as %40)"
        )
    if scheme == "sqlite" and not rest[1:]:
        raise ConfigError(
            "sqlite:/// needs a file: sqlite:///FILE, or sqlite:////FILE from the root"
        )


def _read_query(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such query file: {file}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: expected a query in UTF-8 text") from None

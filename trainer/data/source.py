"""What DATA names: a file, a folder, a glob, a built-in set, or rows of a database.

A database is named by an address without a password, and its rows by a query:

    postgresql://user@host:5432/shop      the server's own rules fill what is left out
    sqlite:///shop.db                     sqlite:////var/lib/shop.db from the root

A password comes from the environment (`PGPASSWORD`) or from a file (`PGPASSFILE`,
`GLASSNET_DATABASE_PASSWORD_FILE`), since a command line is read by every process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import ConfigError, nearest

SCHEMES = ("postgresql", "sqlite")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
#: Parameters of an address that are secrets themselves.
_SECRET = re.compile(r"[?&](ssl)?password=", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Where rows come from; `query` chooses them where that is a database."""

    place: str
    query: str | None = None

    @property
    def scheme(self) -> str | None:
        """Which kind of database it is, or None for files."""
        found = _ADDRESS.match(self.place)
        return found[1] if found else None

    def __str__(self) -> str:
        """Name the place for logs and errors: without user and parameters."""
        if self.scheme != "postgresql":
            return self.place
        return "postgresql://" + self.place[13:].partition("?")[0].rpartition("@")[2]


def source(place: str, query: str | None = None, file: Path | None = None) -> Source:
    """Return what the options of a command name; ConfigError where they do not fit.

    `file` holds the query where it is not given itself. No error repeats an address.
    """
    found = _ADDRESS.match(place)
    if found:
        _check_address(found[1], found[2])
    if query is not None and file is not None:
        raise ConfigError("say --query or --query-file, not both")
    if file is not None:
        query = _content(file)
    named = Source(place, query)
    if found and (query is None or not query.strip()):
        raise ConfigError(
            f"{named}: which rows? say --query 'SELECT …' or --query-file FILE.sql"
        )
    if not found and query is not None:
        raise ConfigError(
            f"a query is for a database (postgresql://…, sqlite:///…), not for {place}"
        )
    return named


def _check_address(scheme: str, rest: str) -> None:
    if scheme not in SCHEMES:
        raise ConfigError(
            f"a database is postgresql://… or sqlite:///…, not {scheme}://…"
            f"{nearest(scheme, SCHEMES)}"
        )
    user, at, _ = rest.partition("@")
    if (at and ":" in user) or _SECRET.search(rest):
        raise ConfigError(
            "the address of a database holds no password, since others can read a "
            "command line: put it into PGPASSWORD, PGPASSFILE or a file named by "
            "GLASSNET_DATABASE_PASSWORD_FILE (an '@' that is none of this is %40)"
        )
    if scheme == "sqlite" and not rest[1:]:
        raise ConfigError("which file? write sqlite:///FILE, or sqlite:////FILE from /")


def _content(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no such query file: {file}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: a query is UTF-8 text") from None

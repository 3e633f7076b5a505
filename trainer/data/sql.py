"""Reads the rows of a query, from PostgreSQL by ADBC and from SQLite by Python.

Both give a polars frame, which `trainer.data.frames` treats as it does Parquet. The
error of a driver has many lines and repeats the query; our errors contain only its
first sentence, and never the parameters of the address.
"""

from __future__ import annotations

import ctypes
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from models.errors import ConfigError, DataError
from models.storage.secret_files import read_secret
from trainer.config import environment
from trainer.config.environment import DATABASE_PASSWORD_FILE
from trainer.data.source import Source
from trainer.data.table import typed, typed_text

if TYPE_CHECKING:
    import polars as pl

#: Parameters that an address may override. Without them the trainer would wait two
#: hours for a server that lost power, and a query could write.
_PARAMETERS = {
    "application_name": "glassnet trainer",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
    "options": "-c default_transaction_read_only=on",
}


def read_sql(source: Source) -> pl.DataFrame:
    """Return the rows of the query; raise DataError in one sentence on any failure."""
    assert source.query is not None
    # The newline ends a closing comment before the text that drivers append.
    query = source.query.strip().rstrip(";") + "\n"
    read = _read_sqlite if source.scheme == "sqlite" else _read_postgresql
    frame = read(source, query)
    if not frame.width:
        raise DataError(f"{source}: expected a SELECT, found a query without columns")
    if not len(frame):
        raise DataError(f"{source}: the query returned no rows")
    return frame


def _read_postgresql(source: Source, query: str) -> pl.DataFrame:
    import polars as pl

    try:
        import adbc_driver_postgresql.dbapi as driver
    except ImportError:
        raise ConfigError(
            "reading PostgreSQL needs the extra 'sql': pip install 'glassnet[sql]'"
        ) from None
    try:
        with _password():
            opened = driver.connect(_address(source))
        with opened as connection, connection.cursor() as c:
            c.execute(query)
            result = c.fetch_arrow()
            types = _types(result)
            columns = zip(pl.DataFrame(result), types, strict=True)
            return pl.DataFrame([_plain(column, name) for column, name in columns])
    except (driver.Error, pl.exceptions.PolarsError) as error:
        raise DataError(f"{source}: {_sentence(error)}") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _address(source: Source) -> str:
    """Return the address with the default parameters."""
    try:
        parts = urlsplit(source.address)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise DataError(f"{source}: not a valid database address") from None
    parameters = _PARAMETERS | parameters
    return parts._replace(query=urlencode(parameters, quote_via=quote)).geturl()


@contextmanager
def _password() -> Iterator[None]:
    """Set PGPASSWORD from the password's file, if there is one.

    libpq repeats an address in its messages, with a password in it.
    """
    file = environment.read(DATABASE_PASSWORD_FILE)
    if file is None:
        yield
        return
    try:
        password = read_secret(Path(file)).decode().rstrip("\r\n")
    except ConfigError as error:
        raise ConfigError(f"{DATABASE_PASSWORD_FILE}: {error}") from None
    except UnicodeDecodeError:
        password = "\0"
    if "\0" in password:
        raise ConfigError(f"{DATABASE_PASSWORD_FILE}: expected UTF-8 text in {file}")
    before = os.environ.get("PGPASSWORD")
    os.environ["PGPASSWORD"] = password
    try:
        yield
    finally:
        if before is None:
            del os.environ["PGPASSWORD"]
        else:
            os.environ["PGPASSWORD"] = before


class _ArrowSchema(ctypes.Structure):
    """The head of the struct of arrow.apache.org/docs/format/CDataInterface.html."""


_ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.POINTER(ctypes.c_char)),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowSchema))),
]


def _types(result: Any) -> list[str]:
    """Return PostgreSQL's names of the types of the columns.

    Raises DataError for intervals, on which polars panics with a page on standard
    error.
    """
    capsule = result.__arrow_c_schema__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype = ctypes.c_void_p
    pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    schema = _ArrowSchema.from_address(pointer(capsule, b"arrow_schema"))
    columns = [schema.children[index].contents for index in range(schema.n_children)]
    for column in columns:
        if column.format == b"tin":
            raise DataError(
                f"column '{column.name.decode()}' has intervals, which cannot be read; "
                "write EXTRACT(EPOCH FROM …) in the query for seconds"
            )
    return [_type(column.metadata) for column in columns]


def _type(metadata: Any) -> str:
    """Return the type in Arrow's metadata: a count, then keys and values by length."""
    if not metadata:
        return ""
    texts: list[str] = []
    at = 4
    for _ in range(2 * int.from_bytes(metadata[:4], sys.byteorder)):
        end = at + 4 + int.from_bytes(metadata[at : at + 4], sys.byteorder)
        texts.append(metadata[at + 4 : end].decode())
        at = end
    found = dict(zip(texts[::2], texts[1::2], strict=True))
    return found.get("POSTGRESQL:type") or found.get("ADBC:postgresql:typname", "")


def _plain(column: pl.Series, name: str) -> pl.Series:
    """Return a column as one that polars computes with, given its type.

    NUMERIC has any number of digits and arrives as text, money as whole cents. Other
    types of PostgreSQL are bytes, which cannot be an input.
    """
    import polars as pl

    if isinstance(column.dtype, pl.BaseExtension):
        column = column.ext.storage()
    if name == "numeric":
        return column
    return column / 100 if name == "money" else typed_text(column)


def _read_sqlite(source: Source, query: str) -> pl.DataFrame:
    import polars as pl

    path = source.address.removeprefix("sqlite:///")
    if not Path(path).is_file():
        raise DataError(f"no such file: {path}")
    _register()
    address = f"file:{quote(path)}?mode=ro"
    try:
        with closing(
            sqlite3.connect(address, uri=True, detect_types=sqlite3.PARSE_DECLTYPES)
        ) as connection:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description or ()]
            # SQLite allows any value in any column, so infer from all of them.
            frame = pl.DataFrame(
                cursor.fetchall(), names, orient="row", infer_schema_length=None
            )
            return typed(frame)
    except (sqlite3.Error, pl.exceptions.PolarsError, ValueError) as error:
        raise DataError(f"{source}: {_sentence(error)}") from None


def _register() -> None:
    """Make SQLite return booleans as such, and dates as text, as in CSV."""
    sqlite3.register_converter("boolean", lambda raw: raw not in (b"0", b"false"))
    sqlite3.register_converter("date", bytes.decode)
    sqlite3.register_converter("timestamp", bytes.decode)


def _sentence(error: Exception) -> str:
    """Return the first sentence of a driver's error."""
    text = str(error)
    # From PostgreSQL: `ERROR:  relation "x" does not exist`, in the server's language.
    if message := re.search(r"\b\w+:  (\S.*)", text):
        return message[1]
    first = text.strip().partition("\n")[0]
    first = re.sub(r'(: )?"?postgres(ql)?://[^\s"]*"?', "", first)  # libpq repeats it
    return re.sub(r"^([A-Z_]+: )?(\[libpq\] )?(Failed to connect: )?", "", first)

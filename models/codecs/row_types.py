"""The msgspec types of a table's rows: by name and in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from types import GenericAlias
from typing import Any
from unicodedata import normalize

import msgspec
import numpy as np

from models.codecs.json import Json, parse
from models.features.columns import AnyColumn

#: Characters that msgspec refuses in the name of a field, since it would escape them.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_OPTIONS: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
_raw_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class RowDecoders:
    """Decoders of lists of rows, each made when it is asked for."""

    def __init__(self, fields: Sequence[tuple[str, Any, bool]]) -> None:
        """Take the name, type and whether it may be absent of each column's field."""
        self._fields = [(f"c{i}", *field) for i, field in enumerate(fields)]

    @cached_property
    def objects(self) -> msgspec.json.Decoder[Any]:
        """Decode rows that are objects by name."""
        columns = self._fields
        # Fields without a default must come first.
        required: list[Any] = [
            (c, kind) for c, _, kind, absent in columns if not absent
        ]
        optional = [(c, kind, None) for c, _, kind, absent in columns if absent]
        names = {column[0]: column[1] for column in columns}
        row = msgspec.defstruct("Row", required + optional, rename=names, **_OPTIONS)
        return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]

    @cached_property
    def lists(self) -> msgspec.json.Decoder[Any]:
        """Decode rows that are lists in order."""
        in_order: list[Any] = [(column, kind) for column, _, kind, _ in self._fields]
        row = msgspec.defstruct("ListRow", in_order, array_like=True, **_OPTIONS)
        return msgspec.json.Decoder(list[row])  # type: ignore[valid-type]


class RowTypes:
    """The decoders of the rows of one table."""

    def __init__(self, columns: Sequence[AnyColumn]) -> None:
        self._columns = columns
        names = [column.name for column in columns]
        # Such a column is decoded under an alias that begins in the private use area.
        self._alias = {
            name: f"\ue000{i}" for i, name in enumerate(names) if _ESCAPED.search(name)
        }
        self._name_of = {alias: name for name, alias in self._alias.items()}
        self._composed = {normalize("NFC", n): n for n in names if not n.isascii()}
        optional = [column.nullable for column in columns]
        self._order = np.argsort(np.argsort(optional, kind="stable"))
        self.types = [Any if c.was_empty else c.json_type | None for c in columns]
        self.plain = self._decoders(self.types)

    @cached_property
    def wrapped(self) -> RowDecoders:
        """Decoders of rows whose values may be lists of one."""
        return self._decoders(
            [k if k is Any else k | GenericAlias(tuple, k) for k in self.types]
        )

    def _decoders(self, types: Sequence[Any]) -> RowDecoders:
        columns = zip(self._columns, types, strict=True)
        return RowDecoders([(self.field(c.name), k, c.nullable) for c, k in columns])

    def by_column(self, rows: Iterator[Sequence[Any]], objects: bool) -> list[Any]:
        """Return the values of each column, in signature order, of decoded rows."""
        values = list(zip(*rows, strict=True))
        return [values[i] for i in self._order] if objects and values else values

    # Names

    def field(self, name: str) -> str:
        """Return the name under which a column is decoded."""
        return self._alias.get(name, name)

    def real(self, field: str) -> str:
        """Return the name of the column that is decoded under a name."""
        return self._name_of.get(field, field)

    def known(self, name: str) -> str:
        """Return the column's name that a name spells, in any form of its accents."""
        if not self._composed:
            return name
        return self._composed.get(normalize("NFC", name), name)

    @property
    def needs_renaming(self) -> bool:
        """Whether an object's keys must be renamed before its type fits."""
        return bool(self._alias)

    @property
    def has_accents(self) -> bool:
        """Whether a name may be spelled in several ways."""
        return bool(self._composed)

    def renamed(self, raw: Json) -> bytes:
        """Return rows with the names under which their columns are decoded.

        Raises InvalidInput for other JSON, msgspec.ValidationError for other rows.
        """
        return msgspec.json.encode(
            [
                {self.field(self.known(name)): value for name, value in row.items()}
                for row in parse(_raw_rows, raw)
            ]
        )

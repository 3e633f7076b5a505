"""The msgspec types of a table's rows: by name and in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from types import GenericAlias
from typing import Any, NamedTuple
from unicodedata import normalize

import msgspec
import numpy as np

from models.codecs.json import Json, parse
from models.features.columns import AnyColumn

#: Characters that msgspec refuses in the name of a field, since it would escape them.
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_raw_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class RowDecoders(NamedTuple):
    """Decoders of lists of rows, which are objects by name, or lists in order."""

    objects: msgspec.json.Decoder[Any]
    lists: msgspec.json.Decoder[Any]


class RowTypes:
    """What decodes the rows of one table."""

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
        columns = [
            (f"c{i}", kind, column)
            for i, (kind, column) in enumerate(zip(types, self._columns, strict=True))
        ]
        options: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
        in_order: list[Any] = [column[:2] for column in columns]
        optional: list[Any] = [(*c[:2], None) for c in columns if c[2].nullable]
        by_name = msgspec.defstruct(
            "Row",
            # Fields without a default must come first.
            [column[:2] for column in columns if not column[2].nullable] + optional,
            rename={field: self.field(column.name) for field, _, column in columns},
            **options,
        )
        listed = msgspec.defstruct("ListRow", in_order, array_like=True, **options)
        return RowDecoders(
            msgspec.json.Decoder(list[by_name]),  # type: ignore[valid-type]
            msgspec.json.Decoder(list[listed]),  # type: ignore[valid-type]
        )

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

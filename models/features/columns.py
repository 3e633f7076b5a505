"""The kinds of column that a table may have.

A column is fitted to its training rows and stored in the manifest as its fields. Its
class knows everything about the kind: how values are read from text and from JSON, how
they become inputs of the network, how they are written, described and counted. To add
a kind, write its class here and name it in `AnyColumn`.

Raw values have one of two forms, in training and in serving:

    float64 (n,)          numeric, boolean, datetime; NaN where the value is missing
    a list of n strings   categorical; None where the value is missing

A datetime is seconds since 1970 in UTC. A column that does not vary in training
becomes no input of the network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from models.features.column import Column as Column
from models.features.column import Floats as Floats
from models.features.column import Schema as Schema
from models.features.column import Standardization as Standardization
from models.features.column import Texts as Texts
from models.features.column import Values as Values
from models.features.dates import DAY, iso, seconds
from models.features.histograms import Histogram, Shares
from models.features.text import (
    DURATIONS,
    missing_pattern,
    parse_number,
    parse_truth,
    plain_text,
)

#: A column keeps this many categories; rarer ones are encoded like unknown ones.
MAX_CATEGORIES = 1_000
#: A column of more categories is encoded for an embedding, not one-hot.
MAX_ONE_HOT = 8
#: The JSON Schema of a column lists this many categories as examples.
MAX_EXAMPLES = 8
WEEK = 7 * DAY
#: The mean Gregorian year.
YEAR = 365.2425 * DAY


class NumericColumn(Column, tag="numeric", frozen=True, kw_only=True):
    """Numbers, with the range seen in training."""

    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    scaling: Standardization
    #: An example of `NUMBER_FORMATS`, or of `DURATIONS`; plain if empty.
    format: str = ""  # type: ignore[misc]

    datatype: ClassVar[str] = "FP64"
    expected: ClassVar[str] = "a finite number"

    @classmethod
    def _statistics(cls, present: Floats) -> dict[str, Any]:
        any_value = bool(len(present))
        return {
            "minimum": float(present.min()) if any_value else None,
            "maximum": float(present.max()) if any_value else None,
            "integer": any_value and bool((present == np.floor(present)).all()),
            "scaling": Standardization.fit(present),
        }

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return (self.scaling,) if self.scaling.scale else ()

    @property
    def was_empty(self) -> bool:
        return self.minimum is None and not self.scaling.scale

    @property
    def value_range(self) -> tuple[float, float] | None:
        if self.minimum is None or self.maximum is None:
            return None
        return self.minimum, self.maximum

    @property
    def json_type(self) -> Any:
        return float | str if self.format else float

    @classmethod
    def parse_text(cls, text: str, format: str = "") -> float:
        return parse_number(text, format)

    def _written(self, value: float) -> Any:
        return int(value) if self.integer and value.is_integer() else value

    def _schema(self) -> Schema:
        seen = ""
        if self.value_range is not None:
            seen = ", in training from {:g} to {:g}".format(*self.value_range)
        if self.format:
            unit = "in seconds" if self.format in DURATIONS else "numeric"
            form = f"{unit}, also as text such as {self.format}{seen}"
            return {"type": ["number", "string", "null"], "description": form}
        return {"type": ["number", "null"], "description": f"numeric{seen}"}

    def typical(self, seen: Histogram | Shares | None) -> Values:
        return np.array([self.scaling.center])


class BooleanColumn(Column, tag="boolean", frozen=True, kw_only=True):
    """True or false."""

    varies: bool

    datatype: ClassVar[str] = "BOOL"
    json_type: ClassVar[Any] = bool
    expected: ClassVar[str] = "true or false"
    is_quantity: ClassVar[bool] = False

    @classmethod
    def _statistics(cls, present: Floats) -> dict[str, Any]:
        return {"varies": len(np.unique(present)) > 1}

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return (Standardization(0.5, 2.0),) if self.varies else ()

    @classmethod
    def parse_text(cls, text: str, format: str = "") -> float:
        return float(parse_truth(text))

    def _written(self, value: float) -> Any:
        return bool(value)

    def _schema(self) -> Schema:
        return {"type": ["boolean", "null"], "description": "boolean"}

    def typical(self, seen: Histogram | Shares | None) -> Values:
        more = False
        if isinstance(seen, Histogram):
            # They are counted as numbers: 0 in one bin, 1 in the same or the next.
            no, yes = np.searchsorted(seen.edges, [0.0, 1.0], side="right")
            more = seen.shares[yes] > seen.shares[no]
        return np.array([float(more)])


class DatetimeColumn(Column, tag="datetime", frozen=True, kw_only=True):
    """Dates, with or without a time of day, as ISO 8601 text.

    Inputs of the network are the moment itself, and sine and cosine of the time of the
    year and of the week, and of the day if training rows had several times of day.
    """

    minimum: str | None = None
    maximum: str | None = None
    has_time: bool
    scaling: Standardization
    #: How a date is spelled, such as `%d/%m/%Y`; ISO 8601 if empty.
    format: str = ""  # type: ignore[misc]

    datatype: ClassVar[str] = "BYTES"
    json_type: ClassVar[Any] = str
    expected: ClassVar[str] = (
        "a date or time as ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00Z"
    )

    @classmethod
    def _statistics(cls, present: Floats) -> dict[str, Any]:
        has_time = len(np.unique(np.mod(present, DAY))) > 1
        return {
            "minimum": iso(present.min(), has_time) if len(present) else None,
            "maximum": iso(present.max(), has_time) if len(present) else None,
            "has_time": has_time,
            "scaling": Standardization.fit(present),
        }

    @property
    def was_empty(self) -> bool:
        return self.minimum is None and not self.scaling.scale

    @property
    def limits(self) -> tuple[float, float] | None:
        if self.minimum is None or self.maximum is None:
            return None
        return seconds(self.minimum), seconds(self.maximum)

    @property
    def _range(self) -> str:
        return f"{self.minimum} to {self.maximum}"

    @property
    def periods(self) -> tuple[float, ...]:
        """The periods of its waves, in seconds."""
        return (YEAR, WEEK, DAY) if self.has_time else (YEAR, WEEK)

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        if not self.scaling.scale:
            return ()
        return (self.scaling, *[Standardization(0.0, 1.0)] * (2 * len(self.periods)))

    def features(self, values: Floats) -> list[Floats]:
        if not self.scaling.scale:
            return []
        angles = [values * (2.0 * math.pi / period) for period in self.periods]
        return [values, *(wave(angle) for angle in angles for wave in (np.sin, np.cos))]

    @classmethod
    def parse_text(cls, text: str, format: str = "") -> float:
        return seconds(text, format)

    def _written(self, value: float) -> Any:
        return iso(value, self.has_time)

    def _schema(self) -> Schema:
        seen = ""
        if self.minimum is not None:
            seen = f", in training from {self.minimum} to {self.maximum}"
        texts: list[Schema] = [
            {"type": "string", "format": form} for form in ("date", "date-time")
        ]
        spelled = f" or as {self.format}" if self.format else ""
        # Any text may be in a format; others that are no date are missing ones.
        pattern = {} if self.format else {"pattern": missing_pattern(self.marks)}
        texts.append({"type": "string", **pattern})
        return {
            "anyOf": [*texts, {"type": "null"}],
            "description": f"ISO 8601{spelled}, UTC without an offset{seen}",
        }

    def typical(self, seen: Histogram | Shares | None) -> Values:
        return np.array([self.scaling.center])


class CategoricalColumn(
    Column, tag="categorical", frozen=True, kw_only=True, dict=True
):
    """One of a list of texts; `categories` are in the order of their encoding.

    Two categories become one number, -1 or 1. A few become one number each, all zeros
    for a missing or unknown category. Many become the number of the category, -1 for a
    missing or unknown one. `rare` categories of training have no encoding of their own.
    """

    categories: tuple[str, ...]
    rare: int = 0

    datatype: ClassVar[str] = "BYTES"
    json_type: ClassVar[Any] = str
    expected: ClassVar[str] = "a text"
    is_text: ClassVar[bool] = True
    histogram: ClassVar[type[Shares]] = Shares

    @classmethod
    def fit(cls, name: str, values: Values) -> Self:
        counts = Counter(text for text in cast(Texts, values) if text is not None)
        frequent = sorted(counts, key=lambda text: (-counts[text], text))
        kept = tuple(sorted(frequent[:MAX_CATEGORIES]))
        return cls(
            name=name,
            nullable=counts.total() < len(values),
            categories=kept,
            rare=len(counts) - len(kept),
        )

    @property
    def was_empty(self) -> bool:
        return not self.categories and not self.rare

    @property
    def embedded(self) -> bool:
        """Whether it is encoded as the number of its category, for an embedding."""
        return len(self.categories) > MAX_ONE_HOT

    @property
    def width(self) -> int:
        """Inputs of the network."""
        if self.embedded:
            return 1
        return {0: 0, 1: 0, 2: 1}.get(len(self.categories), len(self.categories))

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return ()

    @property
    def note(self) -> str:
        return f"{self.rare} rare values are encoded as unknown" if self.rare else ""

    @classmethod
    def missing(cls, n: int) -> Values:
        return [None] * n

    @cached_property
    def _spellings(self) -> dict[str | None, str]:
        spellings: dict[str | None, str]
        spellings = {plain_text(text): text for text in self.categories}
        return spellings | {text: text for text in self.categories}

    def category(self, text: str | None) -> str | None:
        """Return the category that a text spells, as with blanks, `1.0` for `1`, NFD.

        Another text is returned without blanks around it, and None if nothing is left
        or it stands for a missing value.
        """
        known = self._spellings.get(text)
        if known is not None or text is None:
            return known
        bare = text.strip()
        if not bare or bare in self.marks:
            return None
        return self._spellings.get(plain_text(bare), bare)

    def from_text(self, texts: Sequence[str]) -> Values:
        return [self.category(text) for text in texts]

    def from_json(self, values: Sequence[Any]) -> Values:
        return [self.category(text) for text in values]

    def to_json(self, values: Values) -> list[Any]:
        return list(values)

    def _schema(self) -> Schema:
        known = self.categories
        return {
            "type": ["string", "null"],
            "examples": list(known[:MAX_EXAMPLES]),
            "description": f"one of {len(known)} categories, or another",
        }

    def doubts(self, values: Values) -> Iterator[tuple[NDArray[np.bool_], str]]:
        texts, known = cast(Texts, values), {None, *self.categories}
        if not self.nullable:
            missing = np.fromiter((text is None for text in texts), bool, len(texts))
            yield missing, "missing, as none was in training"
        unknown = np.fromiter((text not in known for text in texts), bool, len(texts))
        yield unknown, "rare or never seen in training" if self.rare else "never seen"

    def count(self, values: Values) -> Histogram | Shares:
        return Shares.fit(self.categories, cast(Texts, values))

    def typical(self, seen: Histogram | Shares | None) -> Values:
        if isinstance(seen, Shares) and seen.shares:
            return [seen.categories[int(np.argmax(seen.shares))]]
        return [None]  # it had no value in training


#: Every kind.
AnyColumn: TypeAlias = (
    NumericColumn | BooleanColumn | DatetimeColumn | CategoricalColumn
)
COLUMN_KINDS: dict[str, type[AnyColumn]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyColumn)
}

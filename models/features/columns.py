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
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self, TypeAlias, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput
from models.features.histograms import Histogram, Shares
from models.features.text import (
    DAY,
    is_missing,
    iso,
    parse_number,
    parse_truth,
    seconds,
)

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[str | None]
Values: TypeAlias = Floats | Texts
Schema: TypeAlias = dict[str, Any]

#: A column keeps this many categories; rarer ones are encoded like unknown ones.
MAX_CATEGORIES = 1_000
#: A column of more categories is encoded for an embedding, not one-hot.
MAX_ONE_HOT = 8
#: The JSON Schema of a column lists this many categories as examples.
MAX_EXAMPLES = 8
WEEK = 7 * DAY
#: The mean Gregorian year.
YEAR = 365.2425 * DAY

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Standardization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """(x - center) * scale by the median and the quartiles, which resist outliers.

    RealMLP's robust scaling (Holzmüller et al. 2024, arXiv 2407.04491, section 3):
    scale = 1 / (q75 - q25), or 2 / (max - min) where the quartiles meet.
    """

    center: float
    scale: float

    @classmethod
    def fit(cls, values: Floats) -> Standardization:
        """Fit to values (n,) without NaN; a constant gets scale 0."""
        if not len(values):
            return cls(0.0, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75])
            spread = q75 - q25
            if spread == 0:
                spread = (values.max() - values.min()) / 2
            scale = 1.0 / spread if spread > 0 else 0.0
        # A spread that float64 cannot hold, or cannot divide by, counts as no spread.
        if not np.isfinite([median, spread, scale]).all():
            return cls(0.0, 0.0)
        return cls(float(median), float(scale))


class Column(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    forbid_unknown_fields=True,
):
    """Any column: its name, and whether training rows lacked a value.

    A nullable column may be left out of a row; any column may be null.
    """

    name: Name
    nullable: bool = False

    #: The datatype of its tensor in the Open Inference Protocol.
    datatype: ClassVar[str]
    #: The Python type of its values in JSON.
    json_type: ClassVar[type]
    #: What error messages say that a value should be.
    expected: ClassVar[str]
    #: Whether raw values are texts and not float64.
    is_text: ClassVar[bool] = False
    #: Whether its first input of the network is a quantity, which gets learned curves.
    is_quantity: ClassVar[bool] = True
    #: How its values are counted for drift.
    histogram: ClassVar[type[Histogram] | type[Shares]] = Histogram

    @property
    def kind(self) -> str:
        """The kind's name in the manifest."""
        return str(self.__struct_config__.tag)

    @classmethod
    def fit(cls, name: str, values: Values) -> Self:
        """Fit a column to its raw training values (n,)."""
        floats = np.asarray(values, np.float64)
        present = floats[~np.isnan(floats)]
        nullable = len(present) < len(floats)
        return cls(name=name, nullable=nullable, **cls._statistics(present))

    @classmethod
    def _statistics(cls, present: Floats) -> dict[str, Any]:
        """Return a kind's own fields, from values (n,) without NaN."""
        raise NotImplementedError

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        """The scaling of each scaled input of the network."""
        raise NotImplementedError

    def features(self, values: Floats) -> list[Floats]:
        """Return the scaled inputs, each (n,), before scaling, of raw values (n,)."""
        return [values] if self.scalings else []

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The lowest and highest number seen in training, if it holds numbers."""
        return None

    @property
    def note(self) -> str:
        """What the encoding leaves out, as a sentence, or an empty text."""
        return ""

    # Text and JSON

    @classmethod
    def parse_text(cls, text: str) -> float:
        """Return the raw value of a text. Raises ValueError for other text."""
        raise NotImplementedError

    @classmethod
    def matches(cls, text: str) -> bool:
        """Tell whether a text makes a column of text look like this kind."""
        try:
            cls.parse_text(text)
        except ValueError:
            return False
        return True

    @classmethod
    def missing(cls, n: int) -> Values:
        """Return raw values (n,) that are all missing."""
        return np.full(n, np.nan)

    def from_text(self, texts: Sequence[str]) -> Values:
        """Return raw values (n,) of CSV fields. Raises InvalidInput for other text."""
        present = [None if is_missing(text) else text for text in texts]
        return self._parsed(present, ", or nothing where it is missing")

    def from_json(self, values: Sequence[Any]) -> Values:
        """Return raw values (n,) of decoded JSON values, where None is missing.

        Raises InvalidInput for a text that does not fit.
        """
        if self.json_type is str:
            return self._parsed(values)
        return np.array(values, np.float64)  # None becomes NaN

    def _parsed(self, texts: Sequence[str | None], hint: str = "") -> Floats:
        parse, parsed = self.parse_text, []
        for row, text in enumerate(texts):
            try:
                parsed.append(math.nan if text is None else parse(text))
            except ValueError:
                raise InvalidInput(
                    f"row {row}, column '{self.name}': expected {self.expected}{hint}"
                ) from None
        return np.array(parsed, np.float64)

    def to_json(self, values: Values) -> list[Any]:
        """Return raw values (n,) as JSON values, None where one is missing."""
        floats = np.asarray(values, np.float64).tolist()
        return [None if x != x else self._written(x) for x in floats]

    def _written(self, value: float) -> Any:
        return value

    def json_schema(self) -> Schema:
        """Return the JSON Schema of a value, with a description of the column."""
        schema = self._schema()
        if not self.nullable:
            schema["description"] += "; never missing in training"
        return schema

    def _schema(self) -> Schema:
        raise NotImplementedError

    # Statistics

    def count(self, values: Values) -> Histogram | Shares:
        """Return the distribution of raw values (n,)."""
        return Histogram.fit(cast(Floats, values))

    def typical(self, seen: Histogram | Shares | None) -> Values:
        """Return a typical raw value (1,), from the distribution of training rows.

        It is the median of numbers, and the most frequent of other values.
        """
        raise NotImplementedError


class NumericColumn(Column, tag="numeric", frozen=True, kw_only=True):
    """Numbers, with the range seen in training."""

    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    scaling: Standardization

    datatype: ClassVar[str] = "FP64"
    json_type: ClassVar[type] = float
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
    def value_range(self) -> tuple[float, float] | None:
        if self.minimum is None or self.maximum is None:
            return None
        return self.minimum, self.maximum

    @classmethod
    def parse_text(cls, text: str) -> float:
        return parse_number(text)

    def _written(self, value: float) -> Any:
        return int(value) if self.integer and value.is_integer() else value

    def _schema(self) -> Schema:
        seen = ""
        if self.value_range is not None:
            seen = ", in training from {:g} to {:g}".format(*self.value_range)
        return {"type": ["number", "null"], "description": f"numeric{seen}"}

    def typical(self, seen: Histogram | Shares | None) -> Values:
        return np.array([self.scaling.center])


class BooleanColumn(Column, tag="boolean", frozen=True, kw_only=True):
    """True or false."""

    varies: bool

    datatype: ClassVar[str] = "BOOL"
    json_type: ClassVar[type] = bool
    expected: ClassVar[str] = "true or false"
    is_quantity: ClassVar[bool] = False

    @classmethod
    def _statistics(cls, present: Floats) -> dict[str, Any]:
        return {"varies": len(np.unique(present)) > 1}

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return (Standardization(0.5, 2.0),) if self.varies else ()

    @classmethod
    def parse_text(cls, text: str) -> float:
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

    datatype: ClassVar[str] = "BYTES"
    json_type: ClassVar[type] = str
    expected: ClassVar[str] = (
        "a date or time as ISO 8601, such as 2026-01-31 or 2026-01-31T12:00:00Z"
    )
    _looks_like: ClassVar[re.Pattern[str]] = re.compile(
        r"\d{4}-\d{2}-\d{2}([T ].*)?", re.ASCII
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
    def parse_text(cls, text: str) -> float:
        # NumPy and pandas write a missing date as "NaT".
        return math.nan if text == "NaT" else seconds(text)

    @classmethod
    def matches(cls, text: str) -> bool:
        return bool(cls._looks_like.fullmatch(text)) and super().matches(text)

    def _written(self, value: float) -> Any:
        return iso(value, self.has_time)

    def _schema(self) -> Schema:
        seen = ""
        if self.minimum is not None:
            seen = f", in training from {self.minimum} to {self.maximum}"
        texts = [{"type": "string", "format": form} for form in ("date", "date-time")]
        return {
            "anyOf": [*texts, {"type": "null"}],
            "description": f"ISO 8601, UTC without an offset{seen}",
        }

    def typical(self, seen: Histogram | Shares | None) -> Values:
        return np.array([self.scaling.center])


class CategoricalColumn(Column, tag="categorical", frozen=True, kw_only=True):
    """One of a list of texts; `categories` are in the order of their encoding.

    Two categories become one number, -1 or 1. A few become one number each, all zeros
    for a missing or unknown category. Many become the number of the category, -1 for a
    missing or unknown one. `rare` categories of training have no encoding of their own.
    """

    categories: tuple[str, ...]
    rare: int = 0

    datatype: ClassVar[str] = "BYTES"
    json_type: ClassVar[type] = str
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
    def matches(cls, text: str) -> bool:
        return True

    @classmethod
    def missing(cls, n: int) -> Values:
        return [None] * n

    def from_text(self, texts: Sequence[str]) -> Values:
        return [text or None for text in texts]

    def from_json(self, values: Sequence[Any]) -> Values:
        return values

    def to_json(self, values: Values) -> list[Any]:
        return list(values)

    def _schema(self) -> Schema:
        known = self.categories
        return {
            "type": ["string", "null"],
            "examples": list(known[:MAX_EXAMPLES]),
            "description": f"one of {len(known)} categories, or another",
        }

    def count(self, values: Values) -> Histogram | Shares:
        return Shares.fit(self.categories, cast(Texts, values))

    def typical(self, seen: Histogram | Shares | None) -> Values:
        if isinstance(seen, Shares) and seen.shares:
            return [seen.categories[int(np.argmax(seen.shares))]]
        return [None]  # it had no value in training


#: Every kind. A column of text is of the first kind that all of its values match.
AnyColumn: TypeAlias = (
    NumericColumn | BooleanColumn | DatetimeColumn | CategoricalColumn
)
COLUMN_KINDS: dict[str, type[AnyColumn]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyColumn)
}

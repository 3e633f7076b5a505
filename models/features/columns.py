"""The kinds of column a table may have: what each is and how it becomes numbers.

A column learns itself from the training rows (`fit`) and stands in the manifest as
it is written here. Raw values come in two forms, the same in training and serving:

    numeric, boolean, datetime   float64 (n,), NaN where the value is missing
    categorical                  a list of n strings, None where missing

A datetime is seconds since 1970 in UTC. Missing values and categories never seen are
ordinary inputs. A column that does not vary in training gives no numbers at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[str | None]
Values: TypeAlias = Floats | Texts

#: What people write in text where a value is missing (an empty field always is). Not
#: where words are expected: there `NA` may be one.
MISSING = frozenset({"NA", "N/A", "#N/A", "null", "NULL", "None"})
#: Categories kept apart; rarer ones are encoded like one never seen.
MAX_CATEGORIES = 1_000
#: Of more categories than this each becomes a learned point, not a number of its own.
MAX_ONE_HOT = 8
DAY, WEEK = 86_400.0, 604_800.0
#: The mean Gregorian year.
YEAR = 365.2425 * DAY
#: The last float before the year 10000, which has no ISO text.
LAST_SECOND = math.nextafter(253_402_300_800.0, 0.0)
#: The start of the year 1, before which there is none either.
FIRST_SECOND = -62_135_596_800.0

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Column(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="kind",
    forbid_unknown_fields=True,
):
    """What all columns have: a name, and whether training rows lacked a value.

    A nullable column may be left out of a row; any column may be null.
    """

    name: Name
    nullable: bool = False


class Standardization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """(x - center) * scale by the median and the quartiles, which outliers leave alone.

    RealMLP's robust scaling (Holzmüller et al. 2024, arXiv 2407.04491, section 3):
    scale = 1 / (q75 - q25), or 2 / (max - min) where the quartiles meet.
    """

    center: float
    scale: float

    @classmethod
    def fit(cls, values: Floats) -> Standardization:
        """Learn from values without NaN; a constant gets scale 0."""
        if not len(values):
            return cls(0.0, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75])
            spread = q75 - q25
            if spread == 0:
                spread = (values.max() - values.min()) / 2
            scale = 1.0 / spread if spread > 0 else 0.0
        # A spread that float64 cannot hold, or cannot divide by, is no spread.
        if not np.isfinite([median, spread, scale]).all():
            return cls(0.0, 0.0)
        return cls(float(median), float(scale))


class NumericColumn(Column, tag="numeric", frozen=True, kw_only=True):
    """Numbers, with the range seen in training."""

    minimum: float | None = None
    maximum: float | None = None
    integer: bool = False
    scaling: Standardization

    datatype: ClassVar[str] = "FP64"

    @classmethod
    def fit(cls, name: str, values: Floats) -> NumericColumn:
        present = values[~np.isnan(values)]
        return cls(
            name=name,
            nullable=len(present) < len(values),
            minimum=float(present.min()) if len(present) else None,
            maximum=float(present.max()) if len(present) else None,
            integer=bool(len(present)) and bool((present == np.floor(present)).all()),
            scaling=Standardization.fit(present),
        )

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return (self.scaling,) if self.scaling.scale else ()

    def features(self, values: Floats) -> list[Floats]:
        return [values] if self.scaling.scale else []


class BooleanColumn(Column, tag="boolean", frozen=True, kw_only=True):
    """True or false."""

    varies: bool

    datatype: ClassVar[str] = "BOOL"

    @classmethod
    def fit(cls, name: str, values: Floats) -> BooleanColumn:
        present = values[~np.isnan(values)]
        return cls(
            name=name,
            nullable=len(present) < len(values),
            varies=len(np.unique(present)) > 1,
        )

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        return (Standardization(0.5, 2.0),) if self.varies else ()

    def features(self, values: Floats) -> list[Floats]:
        return [values] if self.varies else []


class DatetimeColumn(Column, tag="datetime", frozen=True, kw_only=True):
    """Dates, with or without a time of day, as ISO 8601 text.

    They become the moment itself and its place on the circles of the year and the
    week, and of the day where training saw more than one time of day.
    """

    minimum: str | None = None
    maximum: str | None = None
    has_time: bool
    scaling: Standardization

    datatype: ClassVar[str] = "BYTES"

    @classmethod
    def fit(cls, name: str, values: Floats) -> DatetimeColumn:
        present = values[~np.isnan(values)]
        has_time = len(np.unique(np.mod(present, DAY))) > 1
        return cls(
            name=name,
            nullable=len(present) < len(values),
            minimum=iso(present.min(), has_time) if len(present) else None,
            maximum=iso(present.max(), has_time) if len(present) else None,
            has_time=has_time,
            scaling=Standardization.fit(present),
        )

    @property
    def periods(self) -> tuple[float, ...]:
        return (YEAR, WEEK, DAY) if self.has_time else (YEAR, WEEK)

    @property
    def scalings(self) -> tuple[Standardization, ...]:
        if not self.scaling.scale:
            return ()
        return (self.scaling, *[Standardization(0.0, 1.0)] * (2 * len(self.periods)))

    def features(self, values: Floats) -> list[Floats]:
        if not self.scaling.scale:
            return []
        turns = [values * (2.0 * math.pi / period) for period in self.periods]
        return [values, *(wave(turn) for turn in turns for wave in (np.sin, np.cos))]


class CategoricalColumn(Column, tag="categorical", frozen=True, kw_only=True):
    """One of a list of texts; `categories` stand in the order of their encoding.

    Of two categories one number is made (-1 and +1), of a few one number each, where
    missing or never seen is all zeros. Of many the number of the category is given, -1
    for missing or never seen. `rare` training values were not kept apart.
    """

    categories: tuple[str, ...]
    rare: int = 0

    datatype: ClassVar[str] = "BYTES"

    @classmethod
    def fit(cls, name: str, values: Texts) -> CategoricalColumn:
        counts = Counter(value for value in values if value is not None)
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
        if self.embedded:
            return 1
        return {0: 0, 1: 0, 2: 1}.get(len(self.categories), len(self.categories))


AnyColumn: TypeAlias = (
    NumericColumn | BooleanColumn | DatetimeColumn | CategoricalColumn
)


def seconds(text: str) -> float:
    """Return an ISO 8601 date or date and time as seconds since 1970.

    Without an offset it is taken as UTC. Raises ValueError for anything else, and for
    a moment that in UTC is before the year 1 or after 9999.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return min(moment.timestamp(), LAST_SECOND)


def iso(moment: float, has_time: bool) -> str:
    """Return seconds since 1970 as ISO 8601 text in UTC, the inverse of `seconds`.

    Midnight is written as a date alone, unless the column `has_time`.
    """
    text = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat()
    return text if has_time or moment % DAY else text[:10]

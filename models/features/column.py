"""The base of the column kinds: scaling, and values in text and in JSON."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput
from models.features.histograms import Histogram, Shares
from models.features.text import is_missing

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[str | None]
Values: TypeAlias = Floats | Texts
Schema: TypeAlias = dict[str, Any]

#: Characters of the longest name of a column.
MAX_NAME = 1024
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


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
    #: Texts that stand for a missing value, besides the usual ones.
    marks: tuple[str, ...] = ()

    #: How its texts are spelled, if not as plain numbers or ISO 8601.
    format: ClassVar[str] = ""
    #: The datatype of its tensor in the Open Inference Protocol.
    datatype: ClassVar[str]
    #: The Python type of its values in JSON.
    json_type: ClassVar[Any]
    #: The expected value, for error messages.
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

    @property
    def was_empty(self) -> bool:
        """Whether training rows had no value at all: then any value is ignored."""
        return False

    def features(self, values: Floats) -> list[Floats]:
        """Return the scaled inputs, each (n,), before scaling, of raw values (n,)."""
        return [values] if self.scalings else []

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The lowest and highest number seen in training, if it holds numbers."""
        return None

    @property
    def note(self) -> str:
        """A sentence about values that the encoding drops, or an empty text."""
        return ""

    # Text and JSON

    @classmethod
    def parse_text(cls, text: str, format: str = "") -> float:
        """Return the raw value of a text, which is in a format or plain.

        NaN is a missing value. Raises ValueError for other text.
        """
        raise NotImplementedError

    @classmethod
    def missing(cls, n: int) -> Values:
        """Return raw values (n,) that are all missing."""
        return np.full(n, np.nan)

    def from_text(self, texts: Sequence[str]) -> Values:
        """Return raw values (n,) of CSV fields. Raises InvalidInput for other text."""
        return self._parsed(texts, ", or nothing where it is missing")

    def from_json(self, values: Sequence[Any]) -> Values:
        """Return raw values (n,) of decoded JSON values, where None is missing.

        Raises InvalidInput for a text that does not fit.
        """
        if self.json_type in (float, bool):
            return np.array(values, np.float64)  # None becomes NaN
        return self._parsed(values)

    def _parsed(self, values: Sequence[Any], hint: str = "") -> Floats:
        parsed = []
        for row, value in enumerate(values):
            try:
                parsed.append(self.raw_value(value) if value is not None else math.nan)
            except ValueError:
                spelled = f", or as {self.format}" if self.format else ""
                raise InvalidInput(
                    f"row {row}, column '{self.name}': expected {self.expected}"
                    f"{spelled}{hint}"
                ) from None
        return np.array(parsed, np.float64)

    def raw_value(self, value: str | float) -> float:
        """Return the raw value of a text or number, NaN if it is missing.

        Raises ValueError for other text.
        """
        if not isinstance(value, str):
            return value
        return self.read_text(value, self.format, self.marks)

    @classmethod
    def read_text(cls, text: str, format: str, marks: Collection[str]) -> float:
        """Return the raw value of a text, NaN if it is missing or one of `marks`.

        Raises ValueError for other text.
        """
        return math.nan if is_missing(text, marks) else cls.parse_text(text, format)

    def without_marks(self, values: Floats) -> Floats:
        """Return raw values (n,) with NaN for numbers that stand for a missing one."""
        marks = [self._number(mark) for mark in self.marks]
        if not marks:
            return values
        return np.where(np.isin(values, marks), np.nan, values)

    def _number(self, mark: str) -> float:
        try:
            return self.parse_text(mark, self.format)
        except ValueError:
            return math.nan

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

    def doubts(self, values: Values) -> Iterator[tuple[NDArray[np.bool_], str]]:
        """Yield which of n raw values are unlike those of training (n,), and why."""
        numbers = np.asarray(values, np.float64)
        if not self.nullable:
            yield np.isnan(numbers), "missing, as none was in training"
        if (limits := self.limits) is not None:
            low, high = limits
            yield numbers < low, f"below the range of training, {self._range}"
            yield numbers > high, f"above the range of training, {self._range}"

    @property
    def limits(self) -> tuple[float, float] | None:
        """The lowest and highest raw value of training, if they are in an order."""
        return self.value_range

    @property
    def _range(self) -> str:
        """The range of training, for people."""
        return "{:g} to {:g}".format(*self.value_range or ())

    def typical(self, seen: Histogram | Shares | None) -> Values:
        """Return a typical raw value (1,), from the distribution of training rows.

        It is the median of numbers, and the most frequent of other values.
        """
        raise NotImplementedError

"""A table as it was read: its columns, where its rows are, what was found in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, nearest
from models.storage.artefact import Finding

if TYPE_CHECKING:
    import polars as pl

#: Returns the row of an index, for messages.
Place = Callable[[int], str]

#: Longer values are cut in messages.
MAX_SHOWN = 40


@dataclass(frozen=True)
class Part:
    """The rows of one file, with their numbers (n,) in it, counted from 1.

    `name` tells the file from the others of its table; `file` is its whole path.
    """

    file: str
    name: str
    frame: pl.DataFrame
    numbers: NDArray[np.intp]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Table:
    """A frame and the parts that it was joined from.

    Columns of text without a type are `String`: their kind is inferred. Text that a
    format declares as text is `Categorical`.
    """

    frame: pl.DataFrame
    parts: tuple[Part, ...]

    def place(self, index: int) -> str:
        """Return the row of an index, with its file if there are several.

        Raises IndexError if there is no such row.
        """
        for part in self.parts:
            if index < len(part.numbers):
                row = f"row {part.numbers[index]}"
                return row if len(self.parts) == 1 else f"{part.name}, {row}"
            index -= len(part.numbers)
        raise IndexError(index)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings about files, such as a row of units."""
        return tuple(finding for part in self.parts for finding in part.findings)


def whole(name: str, frame: pl.DataFrame) -> Table:
    """Return a frame without row numbers of its own as a table."""
    return Table(frame, (Part(name, name, frame, np.arange(1, len(frame) + 1)),))


def typed_text(column: pl.Series) -> pl.Series:
    """Return a column that is text by its type as `Categorical`; others as they are."""
    import polars as pl

    return column.cast(pl.Categorical) if column.dtype == pl.String else column


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose columns have types: see `typed_text`."""
    import polars as pl

    return pl.DataFrame([typed_text(column) for column in frame])


def shown(value: object) -> str:
    """Return a value in quotes for a message, cut if it is long.

    Characters that cannot be seen are escaped as Python does.
    """
    start = str(value)[: MAX_SHOWN + 1]
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in start)
    return f"'{text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + '…'}'"


def require_target(frame: pl.DataFrame, target: str | None) -> None:
    """Raise DataError if there is no row, or no column of the target."""
    if not len(frame):
        raise DataError("expected rows, found only a header")
    if target is not None and target not in frame.columns:
        only = len(frame.columns) == 1
        hint = "; expected a comma, semicolon, tab or | between them" if only else ""
        raise DataError(
            f"there is no target column '{target}'{nearest(target, frame.columns)}; "
            f"the columns are {', '.join(frame.columns[:20])}{hint}"
        )


def join_parts(parts: list[Part]) -> Table:
    """Return the rows of all parts; raise DataError if their columns differ."""
    import polars as pl

    names = parts[0].frame.columns
    for part in parts:
        if unshared := sorted({*names} ^ {*part.frame.columns}):
            raise DataError(
                f"{part.file}: expected the columns of {parts[0].name}; the two files "
                f"differ in {', '.join(unshared[:8])}"
            )
    if len(parts) == 1:
        return Table(parts[0].frame, tuple(parts))
    columns = [_joined(name, parts) for name in names]
    return Table(pl.DataFrame(columns), tuple(parts))


def _joined(name: str, parts: list[Part]) -> pl.Series:
    """Return a column of all parts as the narrowest type that holds all values."""
    import polars as pl

    columns = [_widened(part.frame[name]) for part in parts]
    known = next((c for c in columns if c.dtype != pl.Null), columns[0])
    for part, column in zip(parts, columns, strict=True):
        if _family(column) not in (_family(known), "nothing"):
            raise DataError(
                f"{part.file}: column '{name}' is {column.dtype}, but {known.dtype} in "
                "another file: give it one type in both"
            )
    frames = [column.to_frame() for column in columns]
    return pl.concat(frames, how="vertical_relaxed")[name]


def _widened(column: pl.Series) -> pl.Series:
    """Return a column as a type that does not depend on precision or encoding."""
    import polars as pl

    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        naive = column
        if kind.time_zone:
            naive = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return naive.cast(pl.Datetime("us"))
    if isinstance(kind, pl.Decimal):
        return column.cast(pl.Float64)
    if isinstance(kind, pl.Categorical | pl.Enum):
        return column.cast(pl.String).cast(pl.Categorical)
    return column


def _family(column: pl.Series) -> str:
    import polars as pl

    kind = column.dtype
    if kind == pl.Null:
        return "nothing"
    if kind.is_numeric():
        return "numbers"
    if isinstance(kind, pl.Datetime | pl.Date):
        return "dates"
    return str(kind)

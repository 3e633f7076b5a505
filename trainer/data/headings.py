"""Rows and columns of a CSV file that are none: headings, units, empty columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.errors import DataError
from models.features.text import is_missing, is_number
from models.storage.artefact import Finding
from trainer.data.table import Part, shown

if TYPE_CHECKING:
    import polars as pl

#: Begins the name of a column that has none, until its values are known to be empty.
NAMELESS = "\0"
#: What has to be done with what people write above a table.
TITLE = "a title above the header has to go, or to begin with #"
#: Rows that show what a column holds below a possible row of units.
SAMPLE = 200


def without_headings(path: Path, frame: pl.DataFrame, start: int = 0) -> Part:
    """Leave out a row of units, repeated headers and columns without name and value.

    `start` rows stand before. Raises DataError for a value without a name.
    """
    nameless = [name for name in frame.columns if name.startswith(NAMELESS)]
    for name in nameless:
        _refuse_value(path, frame[name], start)
    frame = frame.drop(nameless)
    kept, findings = np.ones(len(frame), bool), []
    for index in _repeated_headers(frame):
        kept[index] = False
        row = start + index + 1
        findings.append(f"{path.name}, row {row}: the header again, left out")
    if not start and len(frame) and kept[0] and (units := _units(frame)):
        kept[0] = False
        findings.append(f"{path.name}, row 1: a row of units ({units}), left out")
    found = tuple(Finding("heading", (), sentence) for sentence in findings)
    numbers = np.flatnonzero(kept) + start + 1
    rows = frame if kept.all() else frame.filter(kept)
    return Part(str(path), path.name, rows, numbers, found)


def _refuse_value(path: Path, column: pl.Series, start: int) -> None:
    """Raise DataError for the first value of a column that has no name."""
    position = column.name.removeprefix(NAMELESS)
    present = (column.str.strip_chars() != "").fill_null(False)
    if present.any():
        index = int(present.arg_max() or 0)
        raise DataError(
            f"{path}: column {position} has no name in the header, and row "
            f"{start + index + 1} has {shown(column[index])} in it: name it; {TITLE}"
        )


def _repeated_headers(frame: pl.DataFrame) -> list[int]:
    names = tuple(frame.columns)
    same = (frame.to_series(0) == names[0]).fill_null(False).arg_true().to_list()
    return [index for index in same if len(names) > 1 and frame.row(index) == names]


def _units(frame: pl.DataFrame) -> str:
    """Return the first row if it has words, and only it, where numbers stand below."""
    first, below = frame.row(0), frame[1 : SAMPLE + 1]
    words = []
    for column, value in zip(below, first, strict=True):
        texts = [text for text in column if text and not is_missing(text)]
        if not texts or sum(map(is_number, texts)) < 0.95 * len(texts):
            continue
        if value and is_number(value):
            return ""
        if value and not is_missing(value):
            words.append(shown(value))
    enough = len(words) >= 2 and len(below) >= len(words)
    return ", ".join(words[:3]) if enough else ""

"""The target of a table, from text or typed values to labels.

Labels keep the spelling of the data, but blanks around them do not count, and `1` and
`1.0` are one label. A row without a target has None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models.errors import DataError
from models.features.predictions import Label, Output, Regression, label_text
from models.features.text import is_missing, is_number, parse_truth, plain_text
from models.storage.artefact import Finding
from trainer.config.schema import ColumnConfig
from trainer.data.kinds import MANY, SCATTERED, as_kind, count_texts, infer, share_of
from trainer.data.spelling import Spelling, conflict, fits
from trainer.data.table import Place, shown
from trainer.data.values import as_text, typed_values, untyped

if TYPE_CHECKING:
    import polars as pl

#: Fewer odd cells than this share among a few numbers are no class of their own.
NO_CLASS = 0.01


def read_labels(
    column: pl.Series,
    place: Place,
    kind: str | None = None,
    format: str | None = None,
    marks: tuple[str, ...] = (),
) -> tuple[Sequence[Label | None], Spelling]:
    """Return the labels (n,) of a target, and how they are spelled.

    Raises DataError for a type that is not supported, for a number that is not finite,
    and for an odd cell among numbers or truth values, with its row and value.
    """
    import polars as pl

    if column.dtype == pl.String:
        return _from_text(column, place, kind, format, marks)
    if column.dtype == pl.Categorical or column.dtype == pl.Enum:
        return _texts(column.cast(pl.String), marks), Spelling("categorical")
    return _typed(column, place, marks), Spelling(kind or "numeric")


def as_before(
    column: pl.Series, setting: ColumnConfig, output: Output | None
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return kind, format and marks of a target: as set, or as in production.

    The format of production counts if all values fit it.
    """
    marks = tuple(setting.missing) or (() if output is None else output.marks)
    text = untyped(column)
    if not isinstance(output, Regression) or not output.format or text is None:
        return setting.kind, setting.format, marks
    before = Spelling("numeric", output.format, marks)
    is_set = setting.kind or setting.format
    if is_set or share_of(text, before) < 1 or conflict(count_texts(text), before):
        return setting.kind, setting.format, marks
    return before.kind, before.format, marks


def numbers_as_classes(
    name: str, labels: Sequence[Label | None], spelling: Spelling
) -> list[Finding]:
    """Report many classes that seem to be numbers, as `<0.5` beside 0.62."""
    n = len({*labels} - {None})
    if (
        not spelling.is_text
        or n <= MANY
        or spelling.reason not in ("numeric", SCATTERED)
    ):
        return []
    sentence = (
        f"target '{name}' has {n:,} classes, though most of its values begin with "
        "numbers: if it is a number, spell all rows in one way, or declare the others "
        f"missing (data.columns.{name}.missing)"
    )
    return [Finding("labels", (name,), sentence)]


def _typed(
    column: pl.Series, place: Place, marks: tuple[str, ...]
) -> Sequence[Label | None]:
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime, pl.Decimal):
        column = as_text(column)
    elif column.dtype in (pl.Time, pl.Duration):
        column = pl.Series(column.name, typed_values(column, "numeric")[0])
    elif not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"target '{column.name}': expected numbers, text, booleans or dates, "
            f"found {column.dtype}"
        )
    if column.dtype.is_float():
        column = column.fill_nan(None)
        infinite = column.is_infinite().fill_null(False).arg_true()
        if len(infinite):
            index = int(infinite[0])
            raise DataError(
                f"target '{column.name}', {place(index)}: expected a finite number, "
                f"found {column[index]}"
            )
    values: list[Label | None] = column.to_list()
    if not marks:
        return values
    return [None if plain_text(label_text(v or "")) in marks else v for v in values]


def _texts(column: pl.Series, marks: tuple[str, ...]) -> list[str | None]:
    bare = column.str.strip_chars().str.normalize("NFC").to_list()
    distinct = {text for text in bare if text}
    plain = {text: plain_text(text) for text in distinct}
    spelled = {t: p if p in distinct else t for t, p in plain.items() if t not in marks}
    return [spelled.get(text) for text in bare]


def _from_text(
    column: pl.Series,
    place: Place,
    kind: str | None,
    format: str | None,
    marks: tuple[str, ...],
) -> tuple[Sequence[Label | None], Spelling]:
    texts = _texts(column, marks)
    spelling = _spelling(column, kind, format, marks)
    counts = Counter(text for text in texts if text is not None)
    odd = {
        text: n
        for text, n in counts.items()
        if not is_missing(text, marks) and not fits(spelling, text)
    }
    if spelling.kind not in ("numeric", "boolean") or (
        kind is None and _are_classes(odd, counts)
    ):
        return texts, replace(spelling, kind="categorical", format="", marks=marks)
    if odd:
        index = next(i for i, text in enumerate(texts) if text in odd)
        share = 1 - sum(odd.values()) / counts.total()
        like = f" as in {share:.1%} of the rows" if share > 0.5 else ""
        if format:
            like = f" as {format}"
        expected = "a number" if spelling.kind == "numeric" else "true or false"
        raise DataError(
            f"target '{column.name}', {place(index)}: expected {expected}{like}, "
            f"found {shown(texts[index])}; correct it, or declare it missing "
            f"(data.columns.{column.name}.missing=[{shown(texts[index])}])"
        )
    table = _parsed(spelling, [t for t in counts if not is_missing(t, marks)])
    if kind is None and spelling.format and _are_few(table, counts.total()):
        classes = [text if text in table else None for text in texts]
        return classes, Spelling("categorical", marks=marks)
    return [None if text is None else table.get(text) for text in texts], spelling


def _spelling(
    column: pl.Series, kind: str | None, format: str | None, marks: tuple[str, ...]
) -> Spelling:
    if kind is not None and format is not None:
        return Spelling(kind, format, marks)
    return infer(column, marks) if kind is None else as_kind(column, kind, marks)


def _are_classes(odd: dict[str, int], counts: Counter[str]) -> bool:
    """Tell whether odd texts are frequent enough to be classes beside a few numbers."""
    few = len(counts) - len(odd) <= MANY
    return few and sum(odd.values()) >= max(NO_CLASS * counts.total(), 2)


def _are_few(table: dict[str, Label], rows: int) -> bool:
    """Tell whether labels are classes, to be spelled as they are: 3 stars, 10:30."""
    n = len({*table.values()})
    whole = all(float(label).is_integer() for label in table.values())
    return n <= MANY and n * 5 <= rows and (whole or n == 2)


def _parsed(spelling: Spelling, texts: Sequence[str]) -> dict[str, Label]:
    """Return the label of each text, which are all numbers or all truth values.

    Text that is not the canonical form of a number ("1.50") stays text, unless another
    text is the same number or all are in a format of people.
    """
    if spelling.format:
        return {text: spelling.parse(text) for text in texts}
    table: dict[str, Label] = {text: plain_text(text) for text in texts}
    for parse in (_parse_whole, float, parse_truth):
        try:
            values: dict[str, Label] = {text: parse(table[text]) for text in texts}  # type: ignore[arg-type]
        except ValueError:
            continue
        written = {text: label_text(value) for text, value in values.items()}
        if all(written[text] in (text, table[text]) for text in texts):
            finite = all(np.isfinite(float(value)) for value in values.values())
            return values if finite else table
    # Equal values are one label: the spelling that comes first.
    first: dict[float | bool, str] = {}
    if spelling.kind == "boolean":
        return {text: first.setdefault(parse_truth(text), text) for text in texts}
    if not all(map(is_number, texts)):
        return {text: text for text in texts}
    return {text: first.setdefault(float(text), text) for text in texts}


def _parse_whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 1 << 63:
        raise ValueError("too large for an int64")
    return number

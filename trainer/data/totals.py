"""A row of totals at the end of a table, which is no example of anything."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from models.storage.artefact import Finding
from trainer.data.kinds import infer, read_numbers
from trainer.data.table import Place, shown

if TYPE_CHECKING:
    import polars as pl

#: A sum may differ by this share, as it is rounded.
ROUNDING = 1e-9
#: Categories of rows that are sums of others.
TOTALS = frozenset({"total", "totals", "grand total", "subtotal", "summe", "insgesamt"})
#: The first text of such a row, in lower case.
WORDS = frozenset(
    {"sum", "average", "mean", "all", "gesamt", "gesamtsumme", "mittelwert"}
    | {"durchschnitt", "totale", "totaal", "moyenne", "ensemble", "suma", "media"}
    | {"somme", *TOTALS}
)


def totals(
    frame: pl.DataFrame, place: Place, settings: Collection[str] = ()
) -> Finding | None:
    """Report the last row if its first text is a word of totals, and in no other row.

    So is a row whose first cell alone is empty, if a number in it is the sum of those
    above. Only text without a type is looked at, as of CSV. A column of `settings` is
    known to hold what it should.
    """
    import polars as pl

    if len(frame) < 2:
        return None
    first = frame.columns[0]
    if frame[first].dtype == pl.String and first not in settings:
        bare = frame[first].str.strip_chars().fill_null("")
        if not bare[-1] and (bare.head(-1) != "").all() and (sums := _sums(frame)):
            return Finding(
                "heading",
                (first,),
                f"{place(len(frame) - 1)}: a row of totals, of {sums}, left out "
                f"(data.columns.{first}.kind keeps it)",
            )
    for name in frame.columns:
        column = frame[name]
        if column.dtype != pl.String or not (column[-1] or "").strip():
            continue
        text = column[-1].strip().rstrip(":").lower()
        known = text not in WORDS or name in settings
        if known or (column.head(-1) == column[-1]).any():
            return None
        return Finding(
            "heading",
            (name,),
            f"{place(len(frame) - 1)}: a row of totals ({shown(column[-1])}), left out "
            f"(data.columns.{name}.kind keeps it)",
        )
    return None


def _sums(frame: pl.DataFrame) -> str:
    """Return the first column whose last number is the sum of at least two above."""
    import polars as pl

    for name in frame.columns[1:]:
        column = frame[name]
        if column.dtype != pl.String or not (column[-1] or "").strip():
            continue
        spelling = infer(column)
        if spelling.kind != "numeric":
            continue
        values, _ = read_numbers(column, spelling)
        above = values[:-1][~np.isnan(values[:-1])]
        away = abs(values[-1] - above.sum())
        if np.count_nonzero(above) > 1 and away <= ROUNDING * np.abs(above).sum():
            return shown(name)
    return ""

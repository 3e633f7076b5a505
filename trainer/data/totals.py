"""A row of totals at the end of a table, which is no example of anything."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from models.storage.artefact import Finding
from trainer.data.table import Place, shown

if TYPE_CHECKING:
    import polars as pl

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

    Only text without a type is looked at, as of CSV. A column of `settings` is known to
    hold what it should.
    """
    import polars as pl

    if len(frame) < 2:
        return None
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

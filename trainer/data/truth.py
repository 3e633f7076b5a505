"""The true values of logged predictions, joined to their rows by the id.

The service logs the inputs of requests with an id each (`GLASSNET_PAYLOAD_FOLDER`). A
table with these ids and the target makes them rows to learn from.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from models.codecs.payload import ID, PREFIX
from models.errors import DataError
from models.storage.artefact import Finding
from trainer.data.table import Part, Table, require_target


def with_truth(
    logged: Table, truth: Table, target: str, keep: Collection[str | None] = ()
) -> Table:
    """Return the logged rows whose id is in the truth, with its column of the target.

    The other columns of the log are left out, but for those to `keep`. Of an id that
    was logged twice the first row counts. Raises DataError if a column is missing, an
    id has two truths, or no row has one.
    """
    import polars as pl

    for table, name in (logged, "the logged predictions"), (truth, "the truth"):
        if ID not in table.frame.columns:
            raise DataError(f"{name}: expected a column '{ID}' with the id of each row")
    require_target(truth.frame, target)
    known = truth.frame.select(pl.col(ID).cast(pl.String), target)
    if (twice := known.filter(known[ID].is_duplicated())).height:
        raise DataError(f"the truth: the id '{twice[ID][0]}' is there more than once")
    left_out = [
        name
        for name in logged.frame.columns
        if name == target or (name.startswith(PREFIX) and name not in {ID, *keep})
    ]
    rows = logged.frame.drop(left_out).with_columns(pl.col(ID).cast(pl.String))
    once = rows.unique(ID, keep="first", maintain_order=True)
    frame = once.join(known, on=ID, how="inner", maintain_order="left").drop(ID)
    if not len(frame):
        raise DataError("no logged prediction has an id that the truth has")
    sentence = f"{len(frame):,} of {len(once):,} logged rows have a truth"
    if doubles := len(rows) - len(once):
        sentence += f"; {doubles:,} with an id that was logged before are left out"
    finding = Finding("truth", (), sentence)
    name = logged.parts[0].file
    numbers = np.arange(1, len(frame) + 1)
    part = Part(name, "joined rows", frame, numbers, (*logged.findings, finding))
    return Table(frame, (part,))

"""Numbers of a JSON text straight into an array, where the text is plain.

simdjson reads them, and no Python float is made of each: half the time of a request
that brings thousands. What is not so plain is None here, and left to the decoder that
can say what is wrong with it, if anything is.
"""

from __future__ import annotations

import numpy as np
import simdjson
from numpy.typing import NDArray

#: Bytes of a text; of a longer one the rows are counted before they are made.
MAX_BYTES = 1 << 20


def parse_numeric_rows(text: bytes, key: str, width: int) -> NDArray[np.float64] | None:
    """Return the rows (n, width) of `{key: [[…], …]}`, if that is what a text is."""
    if len(text) > MAX_BYTES or text[:1] != b"{":
        return None
    try:
        return _rows_at(text, key, width)
    except (KeyError, TypeError, ValueError, RuntimeError):  # as simdjson says it
        return None


def _rows_at(text: bytes, key: str, width: int) -> NDArray[np.float64] | None:
    # A new one each time: it is one thread's, and keeps four times its longest text.
    document = simdjson.Parser().parse(text)
    if not isinstance(document, simdjson.Object) or len(document) != 1:
        return None
    rows = document[key]
    # A buffer is of all numbers, however they are nested: no bracket but the rows'.
    if not isinstance(rows, simdjson.Array) or text.count(b"[") != 1 + len(rows):
        return None
    if not len(rows) or any(len(row) != width for row in rows):  # type: ignore[arg-type]
        return None
    return np.frombuffer(rows.as_buffer(of_type="d")).reshape(-1, width)

"""The columns of a logged prediction beside its inputs.

The service writes them and the trainer reads them: it joins what became true by the id,
and learns from none of them.
"""

from __future__ import annotations

PREFIX = "glassnet_"
#: The request's id, with `/0`, `/1`, … if it had several rows.
ID = f"{PREFIX}id"
TIME = f"{PREFIX}time"


def row_id(request_id: str, row: int, rows: int) -> str:
    """Return the id of a row of a request."""
    return request_id if rows == 1 else f"{request_id}/{row}"

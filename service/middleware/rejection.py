"""Rejections: requests that are answered with an error before their view is called.

Whoever rejects a request puts the exception into its WSGI environment, and Flask raises
it, so that it is counted, logged and worded as every other error.
"""

from __future__ import annotations

import errno
import os
from typing import Any, TypeAlias

from models.errors import GlassnetError

#: A WSGI application (PEP 3333).
Application: TypeAlias = Any
#: Key in the WSGI environment of the exception that Flask is to raise.
REJECTION = "glassnet.rejection"
#: Errors of a process that has no more of something.
_SHORTAGES = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOSPC}


class Rejected(GlassnetError):
    """A request is rejected unread, with this code and these headers."""

    code: int
    #: For the metric.
    reason: str
    headers: dict[str, str] = {}  # noqa: RUF012


class Overloaded(Rejected):
    """A limit of the process is reached."""

    code = 503
    reason = "overload"
    headers = {"Retry-After": "1"}  # noqa: RUF012


def shortage(error: Exception) -> Overloaded | None:
    """Return the rejection if memory, descriptors or a disk ran out; None if not."""
    code = errno.ENOMEM if isinstance(error, MemoryError) else None
    if isinstance(error, OSError) and error.errno in _SHORTAGES:
        code = error.errno
    if code is None:
        return None
    reason = os.strerror(code).lower()
    return Overloaded(f"this process lacks what the request needs: {reason}; try again")


class TooSlow(Rejected):
    """The request does not arrive in time."""

    code = 408
    reason = "slow"


class Incomplete(Rejected):
    """The client ended before its request did."""

    code = 400
    reason = "incomplete"


class TooLarge(Rejected):
    """The body is larger than the limit."""

    code = 413
    reason = "size"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body is larger than {limit} bytes (GLASSNET_MAX_BODY_BYTES)"
        )

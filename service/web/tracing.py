"""The trace a request is part of, by W3C Trace Context's header `traceparent`."""

from __future__ import annotations

import re

#: version, trace, the caller's span, flags; a later version may go on after a dash.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
    r"-[0-9a-f]{2}(-.*)?",
    re.ASCII,
)


def trace_ids(header: str | None) -> dict[str, str]:
    """Return what a log line says of a trace; nothing where no header is valid."""
    if header is None:
        return {}
    found = _TRACEPARENT.fullmatch(header)
    if not found or (found[1] == "00" and found[4] is not None):
        return {}
    return {"trace_id": found[2], "span_id": found[3]}

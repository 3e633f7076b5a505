"""Large JSON in steps: its items are counted before objects are made of them.

A Python object takes up to fifty times as many bytes as its JSON. A text of at most
`BLOCK` bytes is decoded as it is. A longer list of rows is cut between its items into
lists of about that size, so that the objects of one block exist at a time; in every
other longer list or object the items are counted first. The text must be valid JSON:
msgspec has checked a `msgspec.Raw`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.codecs.json import Json
from models.errors import InvalidInput, TooManyRows

#: Bytes of JSON that are decoded at once: at most a few megabytes of objects.
BLOCK = 1 << 16
QUOTE, COMMA, N, A = b'",Na'
#: "[" and "{" differ in this bit alone, and so do "]" and "}".
_CURLY = 0x20
_OPEN, _CLOSE = b"{}"


def blocks(raw: Json, most: int, values: int, size: int = BLOCK) -> Iterator[bytes]:
    """Yield the items of a JSON list as lists of about `size` bytes each.

    Raises TooManyRows for more than `most` items, and InvalidInput for an item longer
    than a block that has more than `values` values in it.
    """
    text = memoryview(raw)
    start, rows, pending = 1, 0, 0
    for commas, found in _scan(text, size):
        rows += len(commas)
        if rows >= most:
            raise TooManyRows(most)
        if len(commas):
            pending, end = 0, int(commas[-1])
            yield b"".join((b"[", text[start:end], b"]"))
            start = end + 1
        elif (pending := pending + found) > values + size:
            raise InvalidInput(f"row {rows}: expected at most {values} values")
    yield b"".join((b"[", text[start:]))


def fits(raw: Json, items: int, values: float = math.inf) -> bool:
    """Tell whether a JSON list or object is within limits of items and values.

    A text of at most `BLOCK` bytes is always within them.
    """
    if len(raw) <= BLOCK:
        return True
    for commas, found in _scan(memoryview(raw), BLOCK):
        items, values = items - len(commas), values - found
        if items <= 0 or values < 0:
            return False
    return True


def _scan(text: memoryview, size: int) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield for each chunk where items of the outermost list end, and its values."""
    depth = 0
    for start, letters in unquoted(text, size):
        folded = letters | _CURLY
        opened, is_comma = folded == _OPEN, letters == COMMA
        steps = opened.astype(np.int8)
        steps -= folded == _CLOSE
        depths = np.cumsum(steps, dtype=np.int32)
        commas = np.flatnonzero(is_comma & (depths == 1 - depth))
        depth += int(depths[-1])
        values = np.count_nonzero(is_comma) + np.count_nonzero(opened)
        yield commas + start, int(values)


def unquoted(
    text: memoryview, size: int = BLOCK
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the offset and bytes (n,) of each chunk of JSON, with 0 inside strings."""
    inside, escaped = 0, False
    for start in range(0, len(text), size):
        chunk = bytes(text[start : start + size])
        if escaped:
            chunk = b"_" + chunk[1:]
        escaped = False
        if b"\\" in chunk:
            chunk = chunk.replace(b"\\\\", b"__")
            escaped = chunk.endswith(b"\\")
            chunk = chunk.replace(b'\\"', b"__")
        letters = np.frombuffer(chunk, np.uint8)
        if inside or b'"' in chunk:
            quotes = np.cumsum(letters == QUOTE, dtype=np.uint8)
            within = (quotes & 1) ^ inside
            letters = letters * (1 - within)
            inside = int(within[-1])
        yield start, letters


def nan_as_null(raw: bytes) -> bytes:
    """Return JSON with `null` for every token NaN."""
    source = np.frombuffer(raw, np.uint8)
    parts = []
    # A NaN may end in the next chunk: the last two letters and copies are carried over.
    ahead, copies_ahead = source[:2], np.ones(2, np.intp)
    for start, letters in unquoted(memoryview(raw)):
        size = len(letters)
        piece = source[start : start + size + 2].copy()
        piece[:2] = ahead[: len(piece)]
        copies = np.ones(size + 2, np.intp)
        copies[:2] = copies_ahead
        at = np.flatnonzero(letters == N)
        at = at[at + 2 < len(piece)]
        at = at[(source[start + at + 1] == A) & (source[start + at + 2] == N)]
        for offset, letter in enumerate(b"nul"):
            piece[at + offset] = letter
        copies[at + 2] = 2  # "nul" and another "l"
        ahead, copies_ahead = piece[size:], copies[size:]
        parts.append(np.repeat(piece[:size], copies[:size]).tobytes())
    return b"".join(parts)

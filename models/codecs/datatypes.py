"""The datatypes of the Open Inference Protocol: from JSON or bytes to an array.

Bytes are little-endian and without padding. A BOOL is one byte, 0 or 1; a text (BYTES)
is its length in four bytes and then its UTF-8 (Triton's binary tensor data extension).
A BF16 is the upper half of an FP32; JSON has no form of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.errors import nearest

#: What an element may be is checked where it is read; None, from JSON, is missing.
Elements: TypeAlias = NDArray[Any] | list[str]


class Misfit(Exception):
    """Data that is not of its datatype: which element, if it is one, and why."""

    def __init__(self, reason: str, element: int | None = None) -> None:
        super().__init__(reason)
        self.element = element


class Datatype(NamedTuple):
    """How an element lies in bytes, and what msgspec decodes one of JSON as."""

    dtype: np.dtype[Any]
    element: Any


def _datatypes() -> Iterator[tuple[str, Datatype]]:
    yield "BOOL", Datatype(np.dtype(bool), bool)
    for kind in ("INT", "UINT"):
        for bits in (8, 16, 32, 64):
            dtype = np.dtype(f"<{kind[0].lower()}{bits // 8}")
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            # msgspec has no bound beyond int64: UINT64's is kept in `as_array`.
            bounds = Meta(ge=low, le=high if high < 1 << 63 else None)
            yield f"{kind}{bits}", Datatype(dtype, Annotated[int, bounds])
    for bits in (16, 32, 64):
        yield f"FP{bits}", Datatype(np.dtype(f"<f{bits // 8}"), float)
    yield "BF16", Datatype(np.dtype("<u2"), None)
    yield "BYTES", Datatype(np.dtype(object), str)


DATATYPES = dict(_datatypes())
_NUMBERS = frozenset(DATATYPES) - {"BOOL", "BYTES"}
_ACCEPTED = {"FP32": _NUMBERS, "FP64": _NUMBERS}


def require(given: str, expected: str) -> None:
    """Raise Misfit unless data of one datatype may be given where another is meant.

    Numbers may be of any numeric datatype; texts and booleans are what they are.
    """
    if given not in DATATYPES:
        raise Misfit(
            f"there is no datatype '{given[:20]}'{nearest(given[:20], DATATYPES)}"
        )
    if given not in _ACCEPTED.get(expected, {expected}):
        raise Misfit(f"expected datatype {expected}, found {given}")


def element(datatype: str) -> Any:
    """Return what msgspec decodes one element of JSON data as; BF16 is a Misfit."""
    if datatype == "BF16":
        raise Misfit("BF16 has no form in JSON, it is sent as binary data")
    return DATATYPES[datatype].element


def as_array(values: Sequence[Any], datatype: str) -> NDArray[Any]:
    """Return decoded JSON numbers or booleans, nested or flat, as their datatype.

    Where one is missing (None), all are float64, and it is NaN. Raises Misfit for a
    number the datatype does not hold, ValueError for lists of different lengths.
    """
    dtype = DATATYPES[datatype].dtype
    if dtype.kind == "f":
        wide: NDArray[Any] = _doubles(values)
        if dtype == wide.dtype:
            return wide
        with np.errstate(over="ignore"):
            narrow = wide.astype(dtype)
        _refuse(np.isinf(narrow), f"a number is too large for {dtype.name}")
        return narrow
    if None in values:
        some = as_array([0 if value is None else value for value in values], datatype)
        return np.where([value is None for value in values], np.nan, some)
    try:
        return np.array(values, dtype)
    except OverflowError:
        most = np.iinfo(dtype).max
        beyond = np.array(values, object).ravel() > most
        _refuse(beyond, f"expected a whole number <= {most}")
        raise  # pragma: no cover - one is


def _doubles(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return lists of floats, nested or flat, as one array; None is NaN.

    Raises ValueError for lists of different lengths.
    """
    try:
        return _packed(values)
    except struct.error:  # a value is None, or a list not as long as another
        return np.array(values, np.float64)


def _packed(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return the same by `struct`, or raise struct.error.

    It takes a third of the time: NumPy looks at each value to find out what it is,
    which the decoder already knows.
    """
    shape, first = [len(values)], values
    while first and isinstance(first[0], list):
        first = first[0]
        shape.append(len(first))
    lists: list[Any] = [values]
    for size in shape[1:]:
        lists = list(chain.from_iterable(lists))
        if any(len(each) != size for each in lists):
            raise struct.error
    pack = struct.Struct(f"{shape[-1]}d").pack
    return np.frombuffer(b"".join([pack(*each) for each in lists])).reshape(shape)


def from_bytes(raw: memoryview, datatype: str, count: int) -> Elements:
    """Return that many elements, on the very bytes where that is their layout.

    Raises Misfit where there are fewer or more, or an element is none of its datatype.
    """
    if datatype == "BYTES":
        return list(_texts(raw, count))
    dtype = DATATYPES[datatype].dtype
    if len(raw) != count * dtype.itemsize:
        raise Misfit(
            f"{count} {datatype} values are {count * dtype.itemsize} bytes, "
            f"found {len(raw)}"
        )
    if datatype == "BOOL":
        whole = np.frombuffer(raw, np.uint8)
        _refuse(whole > 1, "expected a byte of 0 or 1")
        return whole.view(bool)
    found: NDArray[Any] = np.frombuffer(raw, dtype)
    if datatype == "BF16":
        return (found.astype("<u4") << 16).view("<f4")
    return found


def to_bytes(values: NDArray[Any], datatype: str) -> bytes:
    """Return values of an answer in the layout that `from_bytes` reads."""
    if datatype != "BYTES":
        return values.astype(DATATYPES[datatype].dtype).tobytes()
    texts = [str(text).encode() for text in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _texts(raw: memoryview, count: int) -> Iterator[str]:
    at, end = 0, len(raw)
    # Before anything is made for them: a length is four bytes at least.
    if count > end // 4:
        raise Misfit(f"{count} texts are {4 * count} bytes at least, found {end}")
    for number in range(count):
        size = int.from_bytes(raw[at : at + 4], "little")
        if end - at < 4 or size > end - at - 4:
            raise Misfit("the bytes end before the text does", number)
        at += 4 + size
        try:
            yield str(raw[at - size : at], "utf-8")
        except UnicodeDecodeError:
            raise Misfit("expected text in UTF-8", number) from None
    if at != end:
        raise Misfit(f"{end - at} bytes follow the last of {count} texts")


def _refuse(wrong: NDArray[np.bool_], reason: str) -> None:
    if wrong.any():
        raise Misfit(reason, int(np.flatnonzero(wrong)[0]))

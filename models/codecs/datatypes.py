"""The datatypes of the Open Inference Protocol: from JSON or bytes to an array.

Bytes are little-endian and without padding. A BOOL is one byte, 0 or 1. A text (BYTES)
is its length in four bytes, followed by its UTF-8 (Triton's binary tensor data
extension). A BF16 is the upper half of an FP32; JSON cannot hold one.
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

#: Decoded elements; None, from JSON, is a missing one.
Elements: TypeAlias = NDArray[Any] | list[str]


class Misfit(Exception):
    """Data that does not fit its datatype: the reason, and the first such element."""

    def __init__(self, reason: str, element: int | None = None) -> None:
        super().__init__(reason)
        self.element = element


class Datatype(NamedTuple):
    """The type of an element in bytes, and the one that msgspec decodes from JSON."""

    dtype: np.dtype[Any]
    element: Any


def _datatypes() -> Iterator[tuple[str, Datatype]]:
    yield "BOOL", Datatype(np.dtype(bool), bool)
    for kind in ("INT", "UINT"):
        for bits in (8, 16, 32, 64):
            dtype = np.dtype(f"<{kind[0].lower()}{bits // 8}")
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
            # msgspec takes no bound above int64; `as_array` checks the bound of UINT64.
            bounds = Meta(ge=low, le=high if high < 1 << 63 else None)
            yield f"{kind}{bits}", Datatype(dtype, Annotated[int, bounds])
    for bits in (16, 32, 64):
        yield f"FP{bits}", Datatype(np.dtype(f"<f{bits // 8}"), float)
    yield "BF16", Datatype(np.dtype("<u2"), None)
    yield "BYTES", Datatype(np.dtype(object), str)


DATATYPES = dict(_datatypes())
_NUMBERS = frozenset(DATATYPES) - {"BOOL", "BYTES"}
_ACCEPTED = {"FP32": _NUMBERS, "FP64": _NUMBERS}


def require(datatype: str, expected: str) -> None:
    """Raise Misfit unless data of a datatype fit an input of the expected one.

    Numbers may have any numeric datatype; texts and booleans only their own.
    """
    if datatype not in DATATYPES:
        raise Misfit(
            f"there is no datatype '{datatype[:20]}'{nearest(datatype[:20], DATATYPES)}"
        )
    if datatype not in _ACCEPTED.get(expected, {expected}):
        raise Misfit(f"expected datatype {expected}, found {datatype}")


def element(datatype: str) -> Any:
    """Return the type that msgspec decodes an element as. Raises Misfit for BF16."""
    if datatype == "BF16":
        raise Misfit("BF16 has no form in JSON, it is sent as binary data")
    return DATATYPES[datatype].element


def as_array(values: Sequence[Any], datatype: str) -> NDArray[Any]:
    """Return decoded JSON numbers or booleans, flat (n,) or nested (n, …), as an array.

    If one is missing (None), the array is float64, with NaN for it. Raises Misfit for a
    number that the datatype cannot hold, ValueError for lists of different lengths.
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
    except TypeError:  # None in a nested list
        return np.array(values, np.float64)
    except OverflowError:
        maximum = np.iinfo(dtype).max
        beyond = np.array(values, object).ravel() > maximum
        _refuse(beyond, f"expected a whole number <= {maximum}")
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
    """Return the same by `struct`. Raises struct.error for None or ragged lists.

    It takes a third of the time: NumPy would check the type of every value, which the
    decoder already knows.
    """
    shape, first = [len(values)], values
    while first and isinstance(first[0], list):
        first = first[0]
        shape.append(len(first))
    lists: list[Any] = [values]
    for size in shape[1:]:
        lists = list(chain.from_iterable(lists))
        if any(len(values) != size for values in lists):
            raise struct.error
    pack = struct.Struct(f"{shape[-1]}d").pack
    return np.frombuffer(b"".join([pack(*values) for values in lists])).reshape(shape)


def from_bytes(raw: memoryview, datatype: str, count: int) -> Elements:
    """Return `count` elements (n,), without a copy if the bytes have their layout.

    Raises Misfit for fewer or more elements, or one that does not fit the datatype.
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
        octets = np.frombuffer(raw, np.uint8)
        _refuse(octets > 1, "expected a byte of 0 or 1")
        return octets.view(bool)
    elements: NDArray[Any] = np.frombuffer(raw, dtype)
    if datatype == "BF16":
        return (elements.astype("<u4") << 16).view("<f4")
    return elements


def to_bytes(values: NDArray[Any], datatype: str) -> bytes:
    """Return the values (n, …) of an output in the layout that `from_bytes` reads."""
    if datatype != "BYTES":
        return values.astype(DATATYPES[datatype].dtype).tobytes()
    texts = [str(text).encode() for text in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _texts(raw: memoryview, count: int) -> Iterator[str]:
    at, end = 0, len(raw)
    # Check first, so that no huge count is tried: a text has at least four bytes.
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

"""Tensors of the Open Inference Protocol: of a request into rows, of an answer out.

A tensor is JSON, or bytes that follow the JSON head of a body (Triton's binary tensor
data extension); the header Inference-Header-Content-Length says where the head ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.codecs import Decoder, Tensor
from models.codecs.datatypes import DATATYPES, to_bytes
from models.errors import InvalidInput, nearest
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text

HEAD = "Inference-Header-Content-Length"
_I64 = (1 << 63) - 1
#: Beyond these no tensor can be, and a number of a thousand digits is not repeated.
Dimension = Annotated[int, Meta(ge=-_I64, le=_I64)]
Size = Annotated[int, Meta(ge=0, le=_I64)]
#: Decoded to be rejected in our own words; no value is valid.
_SharedMemory = Annotated[msgspec.Raw, Meta(extra_json_schema={"not": {}})]


class InputParameters(msgspec.Struct):
    """What is known of an input beside its data; others are ignored."""

    binary_data_size: Size | None = None
    shared_memory_region: _SharedMemory = msgspec.field(default_factory=msgspec.Raw)


class InferInput(msgspec.Struct):
    """One tensor of a request."""

    name: str
    shape: list[Dimension]
    datatype: str
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    parameters: InputParameters | None = None


class OutputParameters(msgspec.Struct):
    """How an output is to be given; others are ignored."""

    binary_data: bool | None = None
    classification: Annotated[int, Meta(ge=1, le=_I64)] | None = None
    shared_memory_region: _SharedMemory = msgspec.field(default_factory=msgspec.Raw)


class InferOutput(msgspec.Struct):
    """One tensor that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct):
    """How all outputs are to be given that do not say it; others are ignored."""

    binary_data_output: bool | None = None


class InferRequest(msgspec.Struct):
    """The head of an inference; further keys are ignored."""

    inputs: list[InferInput]
    id: str | None = None
    outputs: list[InferOutput] | None = None
    parameters: RequestParameters | None = None


class Wanted(NamedTuple):
    """An output, in which form, and of how many classes the best if not as it is."""

    name: str
    binary: bool
    classes: int | None = None


def divide(content: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """Return a body's JSON head, of the length its header gives, and the bytes after.

    Raises InvalidInput for a length that is none, or is more than there is.
    """
    if length is None:
        return content, memoryview(b"")
    if not (length.isascii() and length.isdigit()):
        raise InvalidInput(f"{HEAD}: expected a whole number of bytes")
    # Longer than any body, and than what int() takes without a fight.
    end = int(length[:18])
    if end > len(content):
        raise InvalidInput(f"{HEAD}: expected {len(content)} at most, found {end}")
    return content[:end], memoryview(content)[end:]


def deduced(inputs: Inputs, content: memoryview) -> tuple[InferRequest, memoryview]:
    """Return the request that a body is which is nothing but the bytes of one tensor.

    Triton's raw binary request: as many rows as there are bytes for, and all outputs in
    bytes. A text is one row, and stands without its length.
    """
    if len(inputs.tensors) != 1:
        raise InvalidInput(
            f"a raw body ({HEAD}: 0) is for a model of one input, "
            f"this one has {len(inputs.tensors)}"
        )
    ((name, (datatype, shape)),) = inputs.tensors.items()
    n = 1
    if datatype == "BYTES":
        content = memoryview(len(content).to_bytes(4, "little") + content)
    else:
        row = math.prod(shape) * DATATYPES[datatype].dtype.itemsize
        n, rest = divmod(len(content), row)
        if rest or not n:
            raise InvalidInput(
                f"input '{name}': expected whole rows of {row} bytes ({datatype}, "
                f"shape {[-1, *shape]}), found {len(content)} bytes"
            )
    size = InputParameters(binary_data_size=len(content))
    tensor = InferInput(name, [n, *shape], datatype, parameters=size)
    return InferRequest([tensor], parameters=RequestParameters(True)), content


def decoded(decoder: Decoder, asked: InferRequest, binary: memoryview) -> RawColumns:
    """Return the rows in a request; InvalidInput where they do not fit the signature.

    `binary` is what follows the head: the bytes of the inputs that have a size there.
    """
    return decoder.from_tensors(
        [
            Tensor(each.name, each.shape, each.datatype, data)
            for each, data in _given(asked.inputs, binary)
        ]
    )


def _given(
    inputs: Sequence[InferInput], binary: memoryview
) -> Iterator[tuple[InferInput, msgspec.Raw | memoryview]]:
    """Yield every input and its data: JSON, or a view of its bytes."""
    if len({each.name for each in inputs}) != len(inputs):
        raise InvalidInput("an input is given twice")
    at = 0
    for each in inputs:
        where = f"input '{each.name[:80]}'"
        parameters = each.parameters or InputParameters()
        size, left = parameters.binary_data_size, len(binary) - at
        if parameters.shared_memory_region:
            raise InvalidInput(f"{where}: there is no shared memory")
        if size is None and not each.data:
            raise InvalidInput(f"{where}: there is no 'data'")
        if size is None:
            yield each, each.data
            continue
        if each.data:
            raise InvalidInput(f"{where}: there is 'data' and a binary_data_size")
        if size > left:
            raise InvalidInput(
                f"{where}: its binary_data_size is {size}, but {left} bytes are left "
                f"after the head of the body ({HEAD}) and the inputs before"
            )
        yield each, binary[at : at + size]
        at += size
    if at != len(binary):
        raise InvalidInput(f"{len(binary) - at} bytes follow the last binary input")


def wanted(output: Output, asked: InferRequest) -> list[Wanted]:
    """Return the outputs to give, all if none is named; InvalidInput for others."""
    known = output.tensors
    binary = bool(asked.parameters and asked.parameters.binary_data_output)
    if not asked.outputs:
        return [Wanted(name, binary) for name in known]
    names = [each.name for each in asked.outputs]
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"there is no output '{name[:80]}'{nearest(name[:80], known)}; "
                f"there are {', '.join(known)}"
            )
    if len(set(names)) != len(names):
        raise InvalidInput("an output is asked for twice")
    chosen = []
    for name, each in zip(names, asked.outputs, strict=True):
        parameters = each.parameters or OutputParameters()
        if parameters.shared_memory_region:
            raise InvalidInput(f"output '{name}': there is no shared memory")
        if parameters.classification and name != "probabilities":
            ranked = "'probabilities' is" if "probabilities" in known else "none is"
            raise InvalidInput(
                f"output '{name}': classification is for one with a number a class; "
                f"{ranked} such"
            )
        own = parameters.binary_data
        in_bytes = binary if own is None else own
        chosen.append(Wanted(name, in_bytes, parameters.classification))
    return chosen


def encoded(
    output: Output, chosen: Sequence[Wanted], found: Predictions
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the outputs of a reply's head, and the bytes that follow it."""
    heads: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for name, binary, classes in chosen:
        values, datatype = found[name], output.tensors[name][0]
        if classes is not None:
            assert isinstance(output, Classification)
            values, datatype = _ranked(output, values, classes), "BYTES"
        elif datatype == "BYTES":
            values = _texts(values)
        head: dict[str, Any] = {
            "name": name,
            "datatype": datatype,
            "shape": list(values.shape),
        }
        if binary:
            chunks.append(to_bytes(values, datatype))
            head["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            head["data"] = values.ravel().tolist()
        heads.append(head)
    return heads, chunks


def _texts(labels: NDArray[Any]) -> NDArray[Any]:
    """Spell labels of several kinds, which have no datatype in common but text."""
    texts = np.empty(labels.shape, object)
    texts[:] = [label_text(label) for label in labels]
    return texts


def _ranked(output: Classification, P: NDArray[Any], most: int) -> NDArray[Any]:
    """Return "probability:index:label" of the likeliest classes (n, most), best first.

    Triton's classification extension; it gives all where more are asked for.
    """
    best = np.argsort(-P, axis=1, kind="stable")[:, :most]
    labels = output.class_names
    texts = np.empty(best.shape, object)
    texts[:] = [
        [f"{row[i]}:{i}:{labels[i]}" for i in order]
        for row, order in zip(P.tolist(), best.tolist(), strict=True)
    ]
    return texts

"""Tensors of the Open Inference Protocol: decode inputs, encode outputs.

A tensor is JSON, or bytes after the JSON head of a body (Triton's binary tensor data
extension); the header Inference-Header-Content-Length is the length of the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.codecs import Decoder, Tensor
from models.codecs.blocks import BLOCK, fits
from models.codecs.datatypes import DATATYPES, to_bytes
from models.errors import InvalidInput, nearest
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Classification, Output, Predictions, label_text

HEAD = "Inference-Header-Content-Length"
_I64 = (1 << 63) - 1
#: No tensor is larger; the limit keeps huge numbers out of error messages.
Dimension = Annotated[int, Meta(ge=-_I64, le=_I64)]
Size = Annotated[int, Meta(ge=0, le=_I64)]
#: Decoded only to be rejected with our own message; no value is valid.
_SharedMemory = Annotated[msgspec.Raw, Meta(extra_json_schema={"not": {}})]


class InputParameters(msgspec.Struct):
    """Parameters of an input; others are ignored."""

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
    """Parameters of a requested output; others are ignored."""

    binary_data: bool | None = None
    classification: Annotated[int, Meta(ge=1, le=_I64)] | None = None
    shared_memory_region: _SharedMemory = msgspec.field(default_factory=msgspec.Raw)


class InferOutput(msgspec.Struct):
    """One requested tensor."""

    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct):
    """Defaults for all outputs, and what the reply is to have; others are ignored."""

    binary_data_output: bool | None = None
    warnings: bool = False
    #: The level of the interval around a predicted number, such as 0.9.
    interval: float | None = None


class InferRequest(msgspec.Struct):
    """The body, or the head of a binary body; other keys are ignored."""

    inputs: list[InferInput]
    id: str | None = None
    outputs: list[InferOutput] | None = None
    parameters: RequestParameters | None = None


#: Datatype and shape, without the batch, of the ends of an interval.
INTERVAL: dict[str, tuple[str, tuple[int, ...]]] = {
    "lower": ("FP64", ()),
    "upper": ("FP64", ()),
}


class Wanted(NamedTuple):
    """An output to encode; `classes` asks for that many likeliest ones instead."""

    name: str
    binary: bool
    classes: int | None = None


def divide(content: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """Return a body's JSON head, whose length a header gives, and the bytes after it.

    Raises InvalidInput for a length that is no number or exceeds the body.
    """
    if length is None:
        return content, memoryview(b"")
    if not (length.isascii() and length.isdigit()):
        raise InvalidInput(f"{HEAD}: expected a whole number of bytes")
    # No body is longer, and int() rejects thousands of digits.
    end = int(length[:18])
    if end > len(content):
        raise InvalidInput(f"{HEAD}: expected {len(content)} at most, found {end}")
    return content[:end], memoryview(content)[end:]


def deduced(inputs: Inputs, content: memoryview) -> tuple[InferRequest, memoryview]:
    """Return the request for a body that is only the bytes of a tensor, and these.

    In Triton's raw binary request the number of rows follows from the number of bytes,
    and all outputs are binary. A text is one row, without its length. Raises
    InvalidInput for a model of several inputs and for incomplete rows.
    """
    if len(inputs.tensors) != 1:
        raise InvalidInput(
            f"a raw body ({HEAD}: 0) needs a model of one input, "
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


class _Lists(msgspec.Struct):
    """The lists of a request, or of one of its inputs."""

    inputs: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    outputs: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    shape: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


_lists = msgspec.json.Decoder(_Lists)
_inputs = msgspec.json.Decoder(list[_Lists])


def require_few(head: bytes, most: int) -> None:
    """Raise InvalidInput for more than `most` inputs, outputs or dimensions.

    They are counted before `InferRequest` is made of them. Text of another form passes:
    its decoder says what is wrong.
    """
    if len(head) <= BLOCK:
        return
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lists: _Lists = _lists.decode(head)
        shapes: list[_Lists] = []
        if few := fits(lists.inputs, most) and fits(lists.outputs, most):
            shapes = _inputs.decode(lists.inputs)
        if not (few and all(len(shape.shape) <= BLOCK for shape in shapes)):
            raise InvalidInput(
                f"expected at most {most} inputs, outputs and dimensions, found more"
            )


def decoded(
    decoder: Decoder, request: InferRequest, binary: memoryview, max_rows: int
) -> RawColumns:
    """Return the rows of a request; raises InvalidInput if they do not fit the model.

    `binary` is the body after the head: the inputs with a binary_data_size.
    """
    return decoder.from_tensors(
        [
            Tensor(tensor.name, tensor.shape, tensor.datatype, data)
            for tensor, data in _with_data(request.inputs, binary)
        ],
        max_rows,
    )


def _with_data(
    inputs: Sequence[InferInput], binary: memoryview
) -> Iterator[tuple[InferInput, msgspec.Raw | memoryview]]:
    """Yield every input with its data: JSON, or a view of its bytes."""
    if len({tensor.name for tensor in inputs}) != len(inputs):
        raise InvalidInput("an input occurs twice")
    at = 0
    for tensor in inputs:
        label = f"input '{tensor.name[:80]}'"
        parameters = tensor.parameters or InputParameters()
        size, left = parameters.binary_data_size, len(binary) - at
        if parameters.shared_memory_region:
            raise InvalidInput(f"{label}: shared memory is not supported")
        if size is None and not tensor.data:
            raise InvalidInput(f"{label}: expected 'data' or a binary_data_size")
        if size is None:
            yield tensor, tensor.data
            continue
        if tensor.data:
            raise InvalidInput(
                f"{label}: expected either 'data' or a binary_data_size, found both"
            )
        if size > left:
            raise InvalidInput(
                f"{label}: its binary_data_size is {size}, but {left} bytes are left "
                f"after the head ({HEAD}) and the inputs before it"
            )
        yield tensor, binary[at : at + size]
        at += size
    if at != len(binary):
        raise InvalidInput(f"{len(binary) - at} bytes follow the last binary input")


def wanted(output: Output, request: InferRequest) -> list[Wanted]:
    """Return the requested outputs, or all; raises InvalidInput for unknown ones."""
    defaults = request.parameters or RequestParameters()
    known = {**output.tensors, **({} if defaults.interval is None else INTERVAL)}
    binary = bool(defaults.binary_data_output)
    if not request.outputs:
        return [Wanted(name, binary) for name in known]
    names = [tensor.name for tensor in request.outputs]
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"there is no output '{name[:80]}'{nearest(name[:80], known)}; "
                f"there are {', '.join(known)}"
            )
    if len(set(names)) != len(names):
        raise InvalidInput("an output is requested twice")
    chosen = []
    for name, tensor in zip(names, request.outputs, strict=True):
        parameters = tensor.parameters or OutputParameters()
        if parameters.shared_memory_region:
            raise InvalidInput(f"output '{name}': shared memory is not supported")
        if parameters.classification and name != "probabilities":
            ranked = (
                "'probabilities' is one"
                if "probabilities" in known
                else "this has none"
            )
            raise InvalidInput(
                f"output '{name}': classification needs an output with a number per "
                f"class; {ranked}"
            )
        in_bytes = parameters.binary_data
        in_bytes = binary if in_bytes is None else in_bytes
        chosen.append(Wanted(name, in_bytes, parameters.classification))
    return chosen


def encoded(
    output: Output, chosen: Sequence[Wanted], predictions: Predictions
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the outputs for a reply's head, and the bytes that follow it."""
    heads: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for name, binary, classes in chosen:
        values, datatype = predictions[name], {**output.tensors, **INTERVAL}[name][0]
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
    """Return labels as texts, the only datatype that all kinds have in common."""
    texts = np.empty(labels.shape, object)
    texts[:] = [label_text(label) for label in labels]
    return texts


def _ranked(output: Classification, P: NDArray[Any], limit: int) -> NDArray[Any]:
    """Return "probability:index:label" of the likeliest classes (n, limit), best first.

    This is Triton's classification extension; it caps `limit` at the number of classes.
    """
    best = np.argsort(-P, axis=1, kind="stable")[:, :limit]
    labels = output.class_names
    texts = np.empty(best.shape, object)
    texts[:] = [
        [f"{row[i]}:{i}:{labels[i]}" for i in order]
        for row, order in zip(P.tolist(), best.tolist(), strict=True)
    ]
    return texts

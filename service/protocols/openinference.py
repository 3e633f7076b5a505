"""The Open Inference Protocol, version 2 (KServe, Triton), in JSON.

GET  /v2                                      the server
GET  /v2/health/live, /v2/health/ready
GET  /v2/models/M[/versions/V]                the signature
GET  /v2/models/M[/versions/V]/ready
POST /v2/models/M[/versions/V]/infer
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response

from models.columns import AnyColumn
from models.errors import InvalidInput, nearest
from models.model import Raw
from models.output import Answer
from models.rows import TableDecoder, TensorDecoder
from models.table import TableInput
from service.metrics import VERSION
from service.protocols.http import answer, body, decode, description, engine, find
from service.registry import Loaded

routes = Blueprint("openinference", __name__, url_prefix="/v2")

PLATFORM = "glassnet_npz"
_NUMBERS = frozenset(
    f"{kind}{bits}"
    for kind, sizes in {"FP": (16, 32, 64), "INT": (8, 16, 32, 64)}.items()
    for bits in sizes
) | {"UINT8", "UINT16", "UINT32", "UINT64"}
_ACCEPTED = {
    "FP32": _NUMBERS,
    "FP64": _NUMBERS,
    "BOOL": frozenset({"BOOL"}),
    "BYTES": frozenset({"BYTES"}),
}


class InferInput(msgspec.Struct):
    """One tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}


class InferOutput(msgspec.Struct):
    """One tensor that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The body of an inference; further keys are ignored."""

    inputs: list[InferInput]
    id: str | None = None
    outputs: list[InferOutput] | None = None
    parameters: dict[str, Any] = {}


_infer_request = msgspec.json.Decoder(InferRequest)


@routes.get("")
def server() -> Response:
    """Say what this server is."""
    return answer({"name": "glassnet", "version": VERSION, "extensions": []})


@routes.get("/health/live")
def live() -> Response:
    """Say that the process answers."""
    return answer({"live": True})


@routes.get("/health/ready")
def ready() -> Response:
    """Say whether to send requests: a model is loaded, and nobody said to stop."""
    if reason := engine().unready:
        return answer({"ready": False, "live": True, "error": reason}, 503)
    return answer({"ready": True, "live": True})


@routes.get("/models/<name>")
@routes.get("/models/<name>/versions/<version>")
def metadata(name: str, version: str | None = None) -> Response:
    """Describe a version's inputs and outputs."""
    loaded = find(name, version)
    outputs = loaded.artefact.model.output.tensors
    return answer(
        {
            "name": name,
            "versions": [str(v) for v in engine().registry.entry(name).versions],
            "platform": PLATFORM,
            "inputs": list(_inputs(loaded)),
            "outputs": [
                {"name": key, "datatype": datatype, "shape": [-1, *shape]}
                for key, (datatype, shape) in outputs.items()
            ],
            **description(loaded),
        }
    )


@routes.get("/models/<name>/ready")
@routes.get("/models/<name>/versions/<version>/ready")
def model_ready(name: str, version: str | None = None) -> Response:
    """Say that a version is loaded; an unknown one is 404."""
    find(name, version)
    return answer({"name": name, "ready": True})


@routes.post("/models/<name>/infer")
@routes.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Answer tensors with tensors."""
    loaded = find(name, version)
    asked: InferRequest = decode(_infer_request, body())
    wanted = _wanted(loaded, asked.outputs)
    found = engine().inference.answer(loaded, lambda decoder: _raw(decoder, asked))
    reply: dict[str, Any] = {
        "model_name": name,
        "model_version": str(loaded.version),
        "outputs": [_output(loaded, key, found) for key in wanted],
    }
    if asked.id is not None:
        reply["id"] = asked.id
    return answer(reply)


def _inputs(loaded: Loaded) -> Iterator[dict[str, Any]]:
    inputs = loaded.artefact.manifest.inputs
    if isinstance(inputs, TableInput):
        for column in inputs.columns:
            yield {"name": column.name, "datatype": column.datatype, "shape": [-1]}
    else:
        shape = [-1, *inputs.shape]
        yield {"name": inputs.name, "datatype": inputs.datatype, "shape": shape}


def _wanted(loaded: Loaded, outputs: list[InferOutput] | None) -> list[str]:
    known = loaded.artefact.model.output.tensors
    if not outputs:
        return list(known)
    names = [output.name for output in outputs]
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"there is no output '{name[:80]}'{nearest(name[:80], known)}; "
                f"there are {', '.join(known)}"
            )
    if len(set(names)) != len(names):
        raise InvalidInput("an output is asked for twice")
    return names


def _raw(decoder: TableDecoder | TensorDecoder, asked: InferRequest) -> Raw:
    names = [given.name for given in asked.inputs]
    if len(set(names)) != len(names):
        raise InvalidInput("an input is given twice")
    for given in asked.inputs:
        if not given.data:
            raise InvalidInput(f"input '{given.name[:80]}': there is no 'data'")
    if isinstance(decoder, TensorDecoder):
        return _tensor(decoder, asked.inputs)
    return decoder.assemble(
        {given.name: _column(decoder, given) for given in asked.inputs}
    )


def _tensor(decoder: TensorDecoder, inputs: list[InferInput]) -> Raw:
    if [given.name for given in inputs] != [decoder.tensor.name]:
        raise InvalidInput(f"expected the one input '{decoder.tensor.name}'")
    _require_datatype(inputs[0], decoder.tensor.datatype)
    return decoder.tensor_of(inputs[0].data, inputs[0].shape)


def _column(decoder: TableDecoder, given: InferInput) -> Any:
    values = decoder.column(given.name, given.data)
    column: AnyColumn = decoder.table.by_name[given.name]
    _require_datatype(given, column.datatype)
    if given.shape not in ([len(values)], [len(values), 1]):
        raise InvalidInput(
            f"input '{given.name}': shape {given.shape[:8]} does not go with "
            f"{len(values)} values, expected [{len(values)}]"
        )
    return values


def _require_datatype(given: InferInput, expected: str) -> None:
    if given.datatype not in _ACCEPTED[expected]:
        raise InvalidInput(
            f"input '{given.name[:80]}': expected datatype {expected}, "
            f"found {given.datatype[:20]}"
        )


def _output(loaded: Loaded, key: str, found: Answer) -> dict[str, Any]:
    datatype, _ = loaded.artefact.model.output.tensors[key]
    values = found[key]
    data = values.ravel().tolist()
    if datatype == "BYTES":
        data = [value if isinstance(value, str) else str(value) for value in data]
    return {
        "name": key,
        "datatype": datatype,
        "shape": list(values.shape),
        "data": data,
    }

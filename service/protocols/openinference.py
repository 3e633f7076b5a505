"""The Open Inference Protocol, version 2 (KServe, Triton), in JSON and binary.

GET  /v2                                      the server
GET  /v2/health/live, /v2/health/ready
GET  /v2/models/M[/versions/V]                the signature
GET  /v2/models/M[/versions/V]/config         the same as Triton's configuration
GET  /v2/models/M[/versions/V]/ready
POST /v2/models/M[/versions/V]/infer
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from models.features.columns import Schema
from models.features.predictions import Predictions
from service.monitoring.metrics import VERSION
from service.protocols import tensors
from service.protocols.http import answer, description, find, noting
from service.registry.loaded import Loaded
from service.web.body import body, decode
from service.web.errors import Reply
from service.web.request_context import current_request, model_server
from service.web.routes import BINARY, OBJECT, Body, ModelSchemas, Routes, reference

routes = Routes("/v2")

PLATFORM = "glassnet_npz"
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "statistics",
)

#: Inputs and outputs beyond those of the model that are decoded, to say which.
MAX_SPARE = 100

_infer_request = msgspec.json.Decoder(tensors.InferRequest)


@routes.get("")
def server() -> Reply:
    """Return the server's name, version and extensions."""
    return answer({"name": "glassnet", "version": VERSION, "extensions": EXTENSIONS})


@routes.get("/health/live", probe=True)
def live() -> Reply:
    """Reply that the process is alive."""
    return answer({"live": True})


@routes.get("/health/ready", probe=True)
def ready() -> Reply:
    """Reply with 200 if a model is loaded and the server is not draining, else 503.

    A warning says what is wrong while requests are answered, as if the store hangs.
    """
    if reason := model_server().unready:
        return answer({"ready": False, "live": True, "error": reason}, 503)
    warning = {"warning": text} if (text := model_server().warning) else {}
    return answer({"ready": True, "live": True, **warning})


@routes.get("/models/<name>", "/models/<name>/versions/<version>")
def metadata(name: str, version: str | None = None) -> Reply:
    """Return a version's inputs and outputs."""
    loaded = find(name, version)
    return answer(
        {
            "name": name,
            "versions": [str(v) for v in model_server().registry.entry(name).versions],
            "platform": PLATFORM,
            "inputs": list(_inputs(loaded)),
            "outputs": list(_outputs(loaded)),
            **description(loaded),
        }
    )


@routes.get("/models/<name>/config", "/models/<name>/versions/<version>/config")
def config(name: str, version: str | None = None) -> Reply:
    """Return a version's configuration for Triton's tools."""
    loaded = find(name, version)
    return answer(
        {
            "name": name,
            "platform": PLATFORM,
            "backend": "glassnet",
            "max_batch_size": model_server().inference.max_rows,
            "input": [_configured(tensor) for tensor in _inputs(loaded)],
            "output": [_configured(tensor) for tensor in _outputs(loaded)],
        }
    )


@routes.get("/models/<name>/ready", "/models/<name>/versions/<version>/ready")
def model_ready(name: str, version: str | None = None) -> Reply:
    """Reply with 200 if a version is loaded, else 404."""
    find(name, version)
    return answer({"name": name, "ready": True})


def _infer_body(model: ModelSchemas) -> Body:
    inputs = list(_example_tensors(model))
    outputs = _named(tensors.InferOutput, model.loaded.artefact.model.output.tensors)
    properties = {
        "inputs": _named(tensors.InferInput, [tensor["name"] for tensor in inputs]),
        "outputs": {"anyOf": [outputs, {"type": "null"}]},
    }
    return Body(properties, {"inputs": inputs})


@routes.post(
    "/models/<name>/infer",
    "/models/<name>/versions/<version>/infer",
    body=tensors.InferRequest,
    describe=_infer_body,
    reply={**OBJECT, BINARY: {}},
    fast=True,
)
def infer(name: str, version: str | None = None) -> Reply:
    """Predict from tensors."""
    loaded = find(name, version)
    model = loaded.artefact.model
    length = current_request().header(tensors.HEAD)
    content, started = body(), time.perf_counter()
    head, binary = tensors.divide(content, length)
    if length is not None and not head:
        request, binary = tensors.deduced(model.inputs, binary)
    else:
        tensors.require_few(head, len(model.inputs.tensors) + MAX_SPARE)
        request = decode(_infer_request, head)
    chosen = tensors.wanted(model.output, request)

    def reply(predictions: Predictions) -> Reply:
        outputs, chunks = tensors.encoded(model.output, chosen, predictions)
        version = {"model_name": name, "model_version": str(loaded.version)}
        request_id = {} if request.id is None else {"id": request.id}
        content: dict[str, Any] = {**version, **request_id, "outputs": outputs}
        if notes:  # parameters are single values in this protocol: it is JSON as a text
            text = msgspec.json.encode(notes["warnings"]).decode()
            content["parameters"] = {"warnings": text}
        return _reply(content, chunks)

    inference = model_server().inference
    parameters = request.parameters or tensors.RequestParameters()
    decode_rows, notes = noting(
        loaded,
        lambda decoder: tensors.decoded(decoder, request, binary, inference.max_rows),
        parameters.warnings,
    )
    return inference.answer(loaded, decode_rows, reply, started, parameters.interval)


def _reply(content: dict[str, Any], chunks: list[bytes]) -> Reply:
    if not chunks:
        return answer(content)
    head = msgspec.json.encode(content)
    headers = {
        "Content-Type": BINARY,
        tensors.HEAD: str(len(head)),
    }
    return b"".join((head, *chunks)), 200, headers


def _inputs(loaded: Loaded) -> Iterator[dict[str, Any]]:
    inputs = loaded.artefact.manifest.inputs
    for name, (datatype, shape) in inputs.tensors.items():
        yield {"name": name, "datatype": datatype, "shape": [-1, *shape]}


def _outputs(loaded: Loaded) -> Iterator[dict[str, Any]]:
    for name, (datatype, shape) in loaded.artefact.model.output.tensors.items():
        yield {"name": name, "datatype": datatype, "shape": [-1, *shape]}


def _example_tensors(model: ModelSchemas) -> Iterator[Schema]:
    """Yield the golden rows as input tensors."""
    inputs, golden = model.loaded.artefact.manifest.inputs, model.golden
    for tensor in _inputs(model.loaded):
        data = [r.get(tensor["name"]) for r in golden] if inputs.is_table else golden
        yield {**tensor, "shape": [len(golden), *tensor["shape"][1:]], "data": data}


def _named(kind: type[msgspec.Struct], names: Iterable[str]) -> Schema:
    """Return the schema of a list of tensors with names of the model's."""
    name = {"properties": {"name": {"enum": list(names)}}}
    return {"type": "array", "items": {"allOf": [reference(kind.__name__), name]}}


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    """Return a tensor as in Triton's model configuration, without the batch."""
    datatype = tensor["datatype"].replace("BYTES", "STRING")
    dims = tensor["shape"][1:] or [1]
    return {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": dims}

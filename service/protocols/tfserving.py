"""TensorFlow Serving's REST API, version 1, with KServe's status merged in.

POST /v1/models/M[/versions/V|/labels/L]:predict    rows `instances`, columns `inputs`
GET  /v1/models/M[/versions/V|/labels/L][/metadata]
GET  /v1/models
"""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response

from models.errors import InvalidInput
from models.model import by_row
from models.table import TableInput
from service.protocols.http import answer, body, decode, description, engine, find
from service.registry import Entry, Loaded

routes = Blueprint("tfserving", __name__, url_prefix="/v1/models")

_TF_TYPES = {
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "INT64": "DT_INT64",
    "BOOL": "DT_BOOL",
    "BYTES": "DT_STRING",
}
SIGNATURE = "serving_default"


class PredictRequest(msgspec.Struct):
    """The body of :predict; other keys are ignored, as TensorFlow Serving does."""

    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    signature_name: str | None = None


_predict_request = msgspec.json.Decoder(PredictRequest)


@routes.post("/<name>:predict")
@routes.post("/<name>/versions/<version>:predict")
@routes.post("/<name>/labels/<label>:predict")
def predict(
    name: str, version: str | None = None, label: str | None = None
) -> Response:
    """Answer rows with `predictions`, columns with `outputs`."""
    loaded = find(name, version, label)
    asked: PredictRequest = decode(_predict_request, body())
    if bool(asked.instances) == bool(asked.inputs):
        raise InvalidInput("expected either 'instances' (rows) or 'inputs' (columns)")
    if asked.signature_name not in (None, "", SIGNATURE):
        raise InvalidInput(f"there is one signature only, '{SIGNATURE}'")
    infer = engine().inference.answer
    if asked.instances:
        found = infer(loaded, lambda decoder: decoder.rows(asked.instances))
        reply: dict[str, Any] = {"predictions": by_row(found)}
    else:
        found = infer(loaded, lambda decoder: decoder.by_column(asked.inputs))
        lists = {key: values.tolist() for key, values in found.items()}
        reply = {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}
    return answer(reply, X_Model_Version=str(loaded.version))


@routes.get("")
def models() -> Response:
    """List the names of the loaded models."""
    return answer({"models": sorted(engine().registry.catalogue)})


@routes.get("/<name>")
@routes.get("/<name>/versions/<version>")
@routes.get("/<name>/labels/<label>")
def status(name: str, version: str | None = None, label: str | None = None) -> Response:
    """Say which versions are available, and why one is not."""
    entry = engine().registry.entry(name)
    if version is None and label is None:
        states = [_available(v) for v in sorted(entry.versions, reverse=True)]
        states += [_refused(entry, v) for v in sorted(entry.refused, reverse=True)]
    else:
        states = [_available(find(name, version, label).version)]
    return answer({"name": name, "ready": True, "model_version_status": states})


@routes.get("/<name>/metadata")
@routes.get("/<name>/versions/<version>/metadata")
@routes.get("/<name>/labels/<label>/metadata")
def metadata(
    name: str, version: str | None = None, label: str | None = None
) -> Response:
    """Describe a version's signature, as TensorFlow does and in plain words."""
    loaded = find(name, version, label)
    signature = {
        "inputs": dict(_inputs(loaded)),
        "outputs": {
            key: _tensor(key, datatype, shape)
            for key, (datatype, shape) in loaded.artefact.model.output.tensors.items()
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return answer(
        {
            "model_spec": {
                "name": name,
                "signature_name": "",
                "version": str(loaded.version),
            },
            "metadata": {
                "signature_def": {"signature_def": {SIGNATURE: signature}},
                **description(loaded),
            },
        },
        X_Model_Version=str(loaded.version),
    )


def _inputs(loaded: Loaded) -> list[tuple[str, dict[str, Any]]]:
    inputs = loaded.artefact.manifest.inputs
    if isinstance(inputs, TableInput):
        return [(c.name, _tensor(c.name, c.datatype, ())) for c in inputs.columns]
    return [(inputs.name, _tensor(inputs.name, inputs.datatype, inputs.shape))]


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in (-1, *shape)]
    return {
        "dtype": _TF_TYPES[datatype],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{name}:0",
    }


def _available(version: int) -> dict[str, Any]:
    return {
        "version": str(version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


def _refused(entry: Entry, version: int) -> dict[str, Any]:
    return {
        "version": str(version),
        "state": "END",
        "status": {"error_code": "DATA_LOSS", "error_message": "refused: see the log"},
    }

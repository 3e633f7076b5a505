"""TensorFlow Serving's REST API, version 1, with KServe's status merged in.

POST /v1/models/M[/versions/V|/labels/L]:predict    rows `instances`, columns `inputs`
POST /v1/models/M[/versions/V|/labels/L]:classify   rows `examples`, shared `context`
POST /v1/models/M[/versions/V|/labels/L]:regress
GET  /v1/models/M[/versions/V|/labels/L][/metadata]
GET  /v1/models

In every body a string may be `{"b64": "…"}`. Where the two APIs differ, TensorFlow
Serving's holds (for KServe `inputs` is another name of `instances`).
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from models.codecs import Decoder
from models.codecs.blocks import BLOCK
from models.codecs.json import Json, located, opening, parse, plain
from models.errors import InvalidInput, NotFound, nearest
from models.features.columns import Schema
from models.features.inputs import RawColumns
from models.features.predictions import Predictions
from models.model import by_row
from service.protocols.fast_json import parse_numeric_rows
from service.protocols.http import (
    Parameters,
    answer,
    description,
    find,
    misnamed,
    noting,
)
from service.registry.loaded import Loaded
from service.web.body import body, decode
from service.web.errors import Reply
from service.web.request_context import current_request, model_server
from service.web.routes import JSON, OBJECT, Body, ModelSchemas, Routes, versioned

routes = Routes("/v1/models")

_TF_TYPES = {
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "INT64": "DT_INT64",
    "BOOL": "DT_BOOL",
    "BYTES": "DT_STRING",
}
SIGNATURE = "serving_default"
_SIGNATURE_NAME: Schema = {"signature_name": {"enum": [None, "", SIGNATURE]}}
VERBS = ("predict", "classify", "regress")


class PredictRequest(msgspec.Struct):
    """The body of :predict; other keys are ignored, as TensorFlow Serving does."""

    instances: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    inputs: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    signature_name: str | None = None
    parameters: Parameters | None = None


class ExamplesRequest(msgspec.Struct):
    """The body of :classify and :regress; `context` has values for every row."""

    examples: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})]
    context: Annotated[
        msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})
    ] = msgspec.field(default_factory=msgspec.Raw)
    signature_name: str | None = None
    parameters: Parameters | None = None


_predict_request = msgspec.json.Decoder(PredictRequest)
_examples_request = msgspec.json.Decoder(ExamplesRequest)
_features = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_context = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
#: Only an object looks like this: inside a JSON string quotes have backslashes.
_BASE64 = re.compile(rb'\{\s*"b64"\s*:\s*"((?:[^"\\]++|\\/)*+)"\s*\}')


def _predict_body(model: ModelSchemas) -> Body:
    properties = {"instances": model.rows, "inputs": model.columns, **_SIGNATURE_NAME}
    return Body(properties, {"instances": model.golden}, one_of=2)


def _predict_reply(loaded: Loaded | None) -> Schema:
    if loaded is None:
        return OBJECT
    predictions = {"type": "array", "items": loaded.artefact.model.output.json_schema()}
    properties = {"predictions": predictions, "outputs": {}}
    return {JSON: {"schema": {"type": "object", "properties": properties}}}


@routes.post(
    *versioned(":predict"),
    body=PredictRequest,
    describe=_predict_body,
    reply=_predict_reply,
    fast=True,
)
def predict(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Predict: rows give `predictions`, columns give `outputs`."""
    loaded = find(name, version, label)
    raw, started = body(), time.perf_counter()
    decoder = loaded.artefact.model.decoder
    numbers = None
    if decoder.row_size:
        numbers = parse_numeric_rows(raw, "instances", decoder.row_size)
    request = _decode_body(raw) if numbers is None else None

    def rows(decoder: Any) -> Any:
        max_rows, prepare = model_server().inference.max_rows, _preparation(decoder)
        if request is None:
            return decoder.float32(numbers)
        if request.instances:
            return decoder.rows(request.instances, max_rows, prepare)
        return decoder.by_column(request.inputs, max_rows, prepare)

    def reply(predictions: Predictions) -> Reply:
        if request is None or request.instances:
            content: dict[str, Any] = {"predictions": by_row(predictions)}
        else:
            lists = {key: values.tolist() for key, values in predictions.items()}
            only = next(iter(lists.values()))
            content = {"outputs": lists if len(lists) > 1 else only}
        return answer({**content, **notes}, X_Model_Version=str(loaded.version))

    parameters = (request and request.parameters) or Parameters()
    decode_rows, notes = noting(loaded, rows, parameters.warnings)
    return model_server().inference.answer(
        loaded, decode_rows, reply, started, parameters.interval
    )


def _examples_body(model: ModelSchemas, *, classes: bool) -> Body | None:
    if bool(model.loaded.artefact.model.output.classes) != classes:
        return None
    examples = {"type": "array", "items": model.row, "minItems": 1}
    golden = [row if isinstance(row, dict) else {"x": row} for row in model.golden]
    return Body({"examples": examples, **_SIGNATURE_NAME}, {"examples": golden})


@routes.post(
    *versioned(":classify"),
    body=ExamplesRequest,
    describe=partial(_examples_body, classes=True),
)
def classify(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Classify: each example gives a list of `[class, probability]`.

    Raises InvalidInput for a regression model.
    """
    loaded = find(name, version, label)
    output = loaded.artefact.model.output
    if not output.classes:
        raise InvalidInput(
            f"model '{name}' predicts a number: use :regress or :predict"
        )
    predictions, notes = _answer_examples(loaded)
    pairs = [
        [list(pair) for pair in zip(output.class_names, row, strict=True)]
        for row in predictions["probabilities"].tolist()
    ]
    return answer({"results": pairs, **notes}, X_Model_Version=str(loaded.version))


@routes.post(
    *versioned(":regress"),
    body=ExamplesRequest,
    describe=partial(_examples_body, classes=False),
)
def regress(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Regress: each example gives a number.

    Raises InvalidInput for a classification model.
    """
    loaded = find(name, version, label)
    if loaded.artefact.model.output.classes:
        raise InvalidInput(
            f"model '{name}' predicts a class: use :classify or :predict"
        )
    predictions, notes = _answer_examples(loaded)
    results = {"results": predictions["value"].tolist(), **notes}
    return answer(results, X_Model_Version=str(loaded.version))


@routes.post(
    "/<verb:name>",
    "/<name>/versions/<verb:version>",
    "/<name>/labels/<verb:label>",
    listed=False,
)
def unknown_verb(**names: str) -> Reply:
    """Raise NotFound for an unknown verb, with the nearest one."""
    path = current_request().environ["PATH_INFO"]
    verb = path.rpartition(":")[2][:20] if ":" in path else ""
    hint = nearest(verb, VERBS) or f"; expected {', '.join(f':{v}' for v in VERBS)}"
    raise NotFound(f"unknown verb ':{verb}'{hint}")


@routes.get("")
def models() -> Reply:
    """List the names of the loaded models."""
    return answer({"models": sorted(model_server().registry.catalogue)})


@routes.get(*versioned())
def status(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Return which versions are available and which are refused."""
    entry = model_server().registry.entry(name)
    refused = {str(v): _refused(v) for v in sorted(entry.refused, reverse=True)}
    if version in refused:
        states = [refused[version]]
    elif version is None and label is None:
        states = [_available(v) for v in sorted(entry.versions, reverse=True)]
        states += refused.values()
    else:
        states = [_available(find(name, version, label).version)]
    ready = version not in refused
    return answer({"name": name, "ready": ready, "model_version_status": states})


@routes.get(*versioned("/metadata"))
def metadata(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Return a version's signature, in TensorFlow's form and ours."""
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


def _decode_body(raw: bytes) -> PredictRequest:
    """Decode a body that has either rows or columns."""
    if raw.lstrip().startswith(b"["):
        raise InvalidInput('expected an object as {"instances": [...]}, got a list')
    request: PredictRequest = decode(_predict_request, raw)
    if bool(request.instances) == bool(request.inputs):
        hint = "" if request.inputs else misnamed(raw, ("instances", "inputs"))
        raise InvalidInput(
            f"expected either 'instances' (rows) or 'inputs' (columns){hint}"
        )
    _require_signature(request.signature_name)
    return request


def _preparation(decoder: Decoder) -> Callable[[Json], Json]:
    # Tensors hold no base64, and searching many numbers for it is slow.
    return (lambda raw: raw) if decoder.row_size else _texts_of_base64


def _texts_of_base64(raw: Json) -> Json:
    """Replace every `{"b64": "…"}` by the string that it encodes."""

    def text(match: re.Match[bytes]) -> bytes:
        try:
            decoded = base64.b64decode(match[1].replace(b"\\/", b"/"), validate=True)
            return msgspec.json.encode(decoded.decode("utf-8"))
        except UnicodeDecodeError:
            raise InvalidInput(
                "expected UTF-8 text in a 'b64' value, found other bytes"
            ) from None
        except ValueError:
            raise InvalidInput("expected base64 in a 'b64' value") from None

    raw = bytes(raw)
    return _BASE64.sub(text, raw) if b'"b64"' in raw else raw


def _require_signature(name: str | None) -> None:
    if name not in (None, "", SIGNATURE):
        raise InvalidInput(f"unknown signature; there is only '{SIGNATURE}'")


def _answer_examples(loaded: Loaded) -> tuple[Predictions, dict[str, Any]]:
    """Return the predictions for examples, and the warnings if they are wanted."""
    request: ExamplesRequest = decode(_examples_request, body())
    _require_signature(request.signature_name)
    inference, limit = model_server().inference, model_server().max_body_bytes
    context = _decode_context(request.context)
    size, rows_so_far = len(msgspec.json.encode(context)), 0

    def rows(decoder: Decoder) -> RawColumns:
        def prepared(block: Json) -> Json:
            nonlocal rows_so_far
            examples = _decode_examples(_texts_of_base64(block))
            rows_so_far += len(examples)
            if rows_so_far * size > limit:
                raise InvalidInput(
                    f"a context of {size} bytes for each of {rows_so_far} examples is "
                    f"more than {limit} bytes (GLASSNET_MAX_BODY_BYTES)"
                )
            merged = [_row(context, row, n) for n, row in enumerate(examples)]
            if decoder.row_size:
                merged = [{k: _as_list(v) for k, v in row.items()} for row in merged]
            return msgspec.json.encode(merged)

        if len(context) > (decoder.n_columns or 1):
            raise InvalidInput("context: it has more names than the model has inputs")
        # Blocks are smaller the more names each example is given.
        block = max(1024, BLOCK // (1 + len(context)))
        return decoder.rows(request.examples, inference.max_rows, prepared, block)

    parameters = request.parameters or Parameters()
    decode_rows, notes = noting(loaded, rows, parameters.warnings)
    return inference.answer(loaded, decode_rows), notes


def _decode_context(raw: Json) -> dict[str, msgspec.Raw]:
    """Decode the values for every row."""
    if len(raw) > BLOCK:
        raise InvalidInput(f"context: expected at most {BLOCK} bytes, found {len(raw)}")
    try:
        return parse(_context, _texts_of_base64(raw)) or {} if raw else {}
    except msgspec.ValidationError as error:
        raise InvalidInput(f"context: {plain(error)}") from None


def _decode_examples(raw: Json) -> list[dict[str, msgspec.Raw]]:
    try:
        examples: list[dict[str, msgspec.Raw]] = parse(_features, raw)
    except msgspec.ValidationError as error:
        row = re.match(r"\[(\d+)\]", located(error)[1])
        raise InvalidInput(
            f"row {row[1]}: {plain(error)}" if row else f"examples: {plain(error)}"
        ) from None
    return examples


def _row(
    context: dict[str, msgspec.Raw], example: dict[str, msgspec.Raw], number: int
) -> dict[str, msgspec.Raw]:
    for name in context.keys() & example.keys():
        raise InvalidInput(f"row {number}: '{name[:80]}' is in 'context' too")
    return {**context, **example}


def _as_list(feature: msgspec.Raw) -> Any:
    """Return a feature as a list: a single value may do without brackets."""
    return feature if opening(feature)[:1] == "[" else [feature]


def _inputs(loaded: Loaded) -> list[tuple[str, dict[str, Any]]]:
    inputs = loaded.artefact.manifest.inputs
    return [(name, _tensor(name, *tensor)) for name, tensor in inputs.tensors.items()]


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


def _refused(version: int) -> dict[str, Any]:
    return {
        "version": str(version),
        "state": "END",
        "status": {"error_code": "DATA_LOSS", "error_message": "refused: see the log"},
    }

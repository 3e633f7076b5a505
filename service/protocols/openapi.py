"""The contract: every route and every loaded model as OpenAPI 3.1.

GET /openapi.json

The bodies are the types that decode them (`msgspec.json.schema_components`), with what
a model's own decoder takes where they leave it open, and the model's golden request for
an example. Each route of a model is listed for each model that is loaded, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from flask import Blueprint, Flask, current_app
from werkzeug.routing import Rule

from models.features.columns import Schema
from service.monitoring.metrics import VERSION
from service.protocols import (
    explaining,
    invocations,
    repository,
    tensors,
    tfserving,
)
from service.protocols.http import answer
from service.registry.loaded import Entry, Loaded
from service.web.errors import Reply
from service.web.request_context import model_server

routes = Blueprint("openapi", __name__)

JSON, BINARY = "application/json", "application/octet-stream"
_VARIABLE = re.compile(r"<(?:[^:<>]+:)?(\w+)>")
_TYPES = (
    tfserving.PredictRequest,
    tfserving.ExamplesRequest,
    explaining.ExplainRequest,
    tensors.InferRequest,
    invocations.Invocation,
    repository.IndexRequest,
    repository.ChangeRequest,
)
_REFERENCE = "#/components/schemas/{name}"
_, _COMPONENTS = msgspec.json.schema_components(_TYPES, ref_template=_REFERENCE)
for _parameters_of in ("InputParameters", "OutputParameters"):
    _COMPONENTS[_parameters_of]["properties"]["shared_memory_region"] = False
_SIGNATURE: Schema = {"signature_name": {"enum": [None, "", tfserving.SIGNATURE]}}
_ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
#: Replies that are text, not JSON.
_TEXTS = {"invocations.ping", "invocations.version", "operators.metrics"}
_LISTS = {"openinference.repository.index"}
#: Verbs that are only for models of one kind.
_ONLY = {"tfserving.classify": True, "tfserving.regress": False}


class Body(NamedTuple):
    """What an endpoint takes: the name of its type, what fills it, and an example."""

    type: str
    open: Schema
    example: Any = None
    required: bool = True
    #: Of what is open, so many exclude each other.
    one_of: int = 0


@routes.get("/openapi.json")
def contract() -> Reply:
    """Return this server's contract: its routes, and its models' own schemas."""
    return answer(document(current_app))


def document(app: Flask) -> Schema:
    """Return the whole document for what is loaded now."""
    paths: dict[str, Schema] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        if rule.endpoint == "tfserving.unknown_verb":
            continue
        for path, operation in _operations(app, rule):
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            for method in methods:
                paths.setdefault(path, {})[method.lower()] = operation
    schemas = {**_COMPONENTS, "Error": _ERROR, **_own_schemas()}
    components: Schema = {"schemas": schemas}
    if model_server().access.ask or model_server().access.administer:
        bearer = {"type": "http", "scheme": "bearer"}
        components["securitySchemes"] = {"bearer": bearer}
    return {
        "openapi": "3.1.0",
        "info": {"title": "glassnet", "version": VERSION},
        "paths": paths,
        "components": components,
    }


def _operations(app: Flask, rule: Rule) -> Iterator[tuple[str, Schema]]:
    """Yield the paths of a route: one, or where it has a <name> one a model."""
    catalogue = model_server().registry.catalogue
    if "<name>" not in rule.rule:
        yield _VARIABLE.sub(r"{\1}", rule.rule), _operation(app, rule, None)
        return
    for name, entry in sorted(catalogue.items()):
        loaded = entry.versions[entry.default]
        is_classifier = bool(loaded.artefact.model.output.classes)
        if _ONLY.get(rule.endpoint, is_classifier) != is_classifier:
            continue
        if "<label>" in rule.rule and not _alike(entry, loaded, entry.labels.values()):
            continue
        path = rule.rule.replace("<name>", name)
        yield _VARIABLE.sub(r"{\1}", path), _operation(app, rule, loaded)


def _alike(entry: Entry, loaded: Loaded, versions: Any) -> list[int]:
    """Return those of the versions that take the same rows as one."""
    inputs = loaded.artefact.manifest.inputs
    return [
        version
        for version in versions
        if version in entry.versions
        and entry.versions[version].artefact.manifest.inputs == inputs
    ]


def _operation(app: Flask, rule: Rule, loaded: Loaded | None) -> Schema:
    view = app.view_functions[rule.endpoint]
    operation: Schema = {
        "summary": (view.__doc__ or rule.endpoint).strip().partition("\n")[0],
        "tags": [loaded.name if loaded else rule.endpoint.partition(".")[0]],
        "responses": _responses(rule.endpoint, loaded),
    }
    if parameters := list(_parameters(rule, loaded)):
        operation["parameters"] = parameters
    if body := _body(rule.endpoint, loaded):
        operation["requestBody"] = _content(body)
    access = model_server().access
    is_open = rule.rule in access.open
    administers = rule.endpoint.rpartition(".")[2] in ("load", "unload")
    if (access.ask and not is_open) or (administers and access.administer):
        operation["security"] = [{"bearer": []}]
    return operation


def _parameters(rule: Rule, loaded: Loaded | None) -> Iterator[Schema]:
    for name in _VARIABLE.findall(rule.rule):
        kind: Schema = {"type": "string", "minLength": 1}
        if loaded:
            if name == "name":
                continue
            entry = model_server().registry.entry(loaded.name)
            labels = {k: v for k, v in entry.labels.items() if v in entry.versions}
            known = labels if name == "label" else entry.versions
            alike = _alike(entry, loaded, entry.versions)
            kind["enum"] = [
                str(each) for each in known if labels.get(str(each), each) in alike
            ]
        yield {"name": name, "in": "path", "required": True, "schema": kind}


def _responses(endpoint: str, loaded: Loaded | None) -> Schema:
    wrong = {"description": "what was wrong", "content": _json(_ref("Error"))}
    good: Schema = {"description": "the answer", "content": {"*/*": {}}}
    if endpoint in _TEXTS:
        good["content"] = {"text/plain": {}}
    elif endpoint in _LISTS:
        good["content"] = _json({"type": "array"})
    elif endpoint == "tfserving.predict" and loaded:
        good["content"] = _json(_predictions(loaded))
    elif endpoint.partition(".")[0] in ("tfserving", "openinference", "explaining"):
        good["content"] = _json({"type": "object"})
    if endpoint == "openinference.infer":
        good["content"][BINARY] = {}
    return {"200": good, "4XX": wrong, "503": wrong}


def _predictions(loaded: Loaded) -> Schema:
    row = loaded.artefact.model.output.json_schema()
    predictions = {"type": "array", "items": row}
    return {"type": "object", "properties": {"predictions": predictions, "outputs": {}}}


def _body(endpoint: str, loaded: Loaded | None) -> Body | None:
    """Return what an endpoint takes, of a model where it is one's."""
    verb = endpoint.rpartition(".")[2]
    if endpoint in _LISTS:
        return Body("IndexRequest", {}, {"ready": True}, required=False)
    if verb == "invocations":
        loaded = _only_model()
    if loaded is None:
        return Body("Invocation", {}) if verb == "invocations" else None
    if verb in ("load", "unload"):
        return Body("ChangeRequest", {}, {}, required=False)
    output, golden = loaded.artefact.model.output, _golden(loaded)
    parts = (f"{loaded.name}.{part}" for part in ("rows", "columns", "row"))
    rows, columns, by_name = map(_ref, parts)
    match verb:
        case "predict":
            given = {"instances": rows, "inputs": columns, **_SIGNATURE}
            return Body("PredictRequest", given, {"instances": golden}, one_of=2)
        case "explain":
            target = {"target": {"enum": [*output.classes, None]}}
            given = {"instances": rows, "inputs": columns, **target}
            return Body("ExplainRequest", given, {"instances": golden}, one_of=2)
        case "invocations":
            given = {"instances": rows, "dataframe_records": rows}
            return Body("Invocation", given, {"instances": golden})
        case "classify" | "regress":
            given = {"examples": {"type": "array", "items": by_name, "minItems": 1}}
            examples = [
                each if isinstance(each, dict) else {"x": each} for each in golden
            ]
            return Body(
                "ExamplesRequest", {**given, **_SIGNATURE}, {"examples": examples}
            )
        case "infer":
            asked = list(_tensors(loaded))
            names = [tensor["name"] for tensor in asked]
            chosen = _named("InferOutput", list(output.tensors))
            given = {
                "inputs": _named("InferInput", names),
                "outputs": {"anyOf": [chosen, {"type": "null"}]},
            }
            return Body("InferRequest", given, {"inputs": asked})
    return None


def _named(kind: str, names: list[str]) -> Schema:
    """Return a list of tensors that have names of a model's."""
    properties = {**_COMPONENTS[kind]["properties"], "name": {"enum": names}}
    item = {**_COMPONENTS[kind], "properties": properties}
    return {"type": "array", "items": item}


def _own_schemas() -> Schema:
    """Return what the models' own decoders take."""
    found, most = {}, model_server().inference.max_rows
    for name, entry in model_server().registry.catalogue.items():
        decoder = entry.versions[entry.default].artefact.model.decoder
        found[f"{name}.rows"] = decoder.rows_schema(most)
        found[f"{name}.columns"] = decoder.columns_schema(most)
        found[f"{name}.row"] = decoder.named_row_schema()
    return found


def _only_model() -> Loaded | None:
    """Return the model behind /invocations, if it is known which."""
    catalogue, named = model_server().registry.catalogue, model_server().default_model
    entry = catalogue.get(named)
    if not named and len(catalogue) == 1:
        (entry,) = catalogue.values()
    return entry.versions[entry.default] if entry else None


def _golden(loaded: Loaded) -> list[Any]:
    return loaded.artefact.manifest.golden.instances


def _tensors(loaded: Loaded) -> Iterator[Schema]:
    """Yield the golden rows as tensors of the Open Inference Protocol."""
    inputs, golden = loaded.artefact.manifest.inputs, _golden(loaded)
    for name, (datatype, shape) in inputs.tensors.items():
        data = [row.get(name) for row in golden] if inputs.is_table else golden
        about = {"name": name, "datatype": datatype, "shape": [len(golden), *shape]}
        yield {**about, "data": data}


def _content(body: Body) -> Schema:
    """Return a body: its type, with what a model takes where the type is open."""
    asked: Schema = _ref(body.type)
    if body.open:
        base = _COMPONENTS[body.type]
        asked = {**base, "properties": {**base["properties"], **body.open}}
        if choice := list(body.open)[: body.one_of]:
            asked["oneOf"] = [{"required": [key]} for key in choice]
    content = _json(asked)
    if body.example is not None:
        content[JSON]["example"] = body.example
    return {"required": body.required, "content": content}


def _json(asked: Schema) -> Schema:
    return {JSON: {"schema": asked}}


def _ref(name: str) -> Schema:
    return {"$ref": _REFERENCE.format(name=name)}

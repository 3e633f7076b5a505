"""The contract as OpenAPI 3.1: an index of the routes, and a document for each model.

GET /openapi.json         every route, for any model
GET /openapi/M.json       every route, with what model M takes and answers

Bodies are the types that decode them (`msgspec.json.schema_components`). In a model's
document they are narrowed to what its decoder accepts, with its golden rows as the
example. No schema is a boolean, since well-known readers do not take them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from flask import Flask, current_app

from models.features.columns import Schema
from service.monitoring.metrics import VERSION
from service.protocols.http import answer, find
from service.registry.loaded import Entry, Loaded
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import (
    JSON,
    REFERENCE,
    Body,
    ModelSchemas,
    Route,
    Routes,
    reference,
)

routes = Routes()

#: The description of every document.
_GUIDE = "Schemas of a model's rows are in its own document, /openapi/MODEL.json."
_VARIABLE = re.compile(r"<(?:[^:<>]+:)?(\w+)>")
_ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}


@routes.get("/openapi.json")
def contract() -> Reply:
    """Return the index of this server's contract: its routes, for any model."""
    names = sorted(model_server().registry.catalogue)
    documents = {name: f"/openapi/{name}.json" for name in names}
    return answer({**document(current_app, None), "x-models": documents})


@routes.get("/openapi/<name>.json")
def model_contract(name: str) -> Reply:
    """Return the contract of a model: this server's routes, with its schemas."""
    return answer(document(current_app, find(name)))


def document(app: Flask, loaded: Loaded | None) -> Schema:
    """Return the routes as they are for a model, or for any."""
    listed = [
        (rule.rule, rule.route)  # type: ignore[attr-defined]
        for rule in app.url_map.iter_rules()
        if rule.route.listed  # type: ignore[attr-defined]
    ]
    bodies = {route.body for _, route in listed if route.body}
    ordered = sorted(bodies, key=lambda body: body.__name__)
    _, types = msgspec.json.schema_components(ordered, ref_template=REFERENCE)
    paths: dict[str, Schema] = {}
    for template, route in sorted(listed, key=lambda pair: pair[0]):
        named = loaded if "<name>" in template else _if_only(loaded)
        body = _body(route, named)
        if (route.body and body is None) or not _has_label(template, named):
            continue
        if named:
            template = template.replace("<name>", named.name)
        path = _VARIABLE.sub(r"{\1}", template)
        operation = _operation(template, route, named, body, types)
        paths.setdefault(path, {})[route.method.lower()] = operation
    rows = _row_schemas(loaded) if loaded else {}
    components: Schema = {"schemas": {**types, "Error": _ERROR, **rows}}
    access = model_server().access
    if access.predict_tokens or access.admin_tokens:
        bearer = {"type": "http", "scheme": "bearer"}
        components["securitySchemes"] = {"bearer": bearer}
    return {
        "openapi": "3.1.0",
        "info": {"title": "glassnet", "version": VERSION, "description": _GUIDE},
        "paths": paths,
        "components": components,
    }


def _if_only(loaded: Loaded | None) -> Loaded | None:
    """Return the model if requests need not name it."""
    server = model_server()
    only = len(server.registry.catalogue) == 1
    if loaded and (server.default_model or (only and loaded.name)) == loaded.name:
        return loaded
    return None


def _has_label(template: str, loaded: Loaded | None) -> bool:
    """Tell whether a path with a label leads anywhere."""
    if loaded is None or "<label>" not in template:
        return True
    entry = model_server().registry.entry(loaded.name)
    return bool(_alike(entry, loaded, entry.labels.values()))


def _alike(entry: Entry, loaded: Loaded, versions: Iterable[int]) -> list[int]:
    """Return those of the versions with the same inputs as a loaded one."""
    inputs = loaded.artefact.manifest.inputs
    return [
        version
        for version in versions
        if version in entry.versions
        and entry.versions[version].artefact.manifest.inputs == inputs
    ]


def _operation(
    template: str, route: Route, loaded: Loaded | None, body: Body | None, types: Schema
) -> Schema:
    operation: Schema = {
        "summary": (route.view.__doc__ or route.endpoint).strip().partition("\n")[0],
        "tags": [route.dialect],
        "responses": _responses(route, loaded),
    }
    if parameters := list(_parameters(template, loaded)):
        operation["parameters"] = parameters
    if route.body and body:
        operation["requestBody"] = _content(route.body.__name__, body, types)
    access = model_server().access
    is_public = template in access.public_paths
    if (access.predict_tokens and not is_public) or (
        access.admin_tokens and route.admin
    ):
        operation["security"] = [{"bearer": []}]
    return operation


def _parameters(template: str, loaded: Loaded | None) -> Iterator[Schema]:
    for name in _VARIABLE.findall(template):
        kind: Schema = {"type": "string", "minLength": 1}
        if loaded:
            if name == "name":
                continue
            entry = model_server().registry.entry(loaded.name)
            labels = {k: v for k, v in entry.labels.items() if v in entry.versions}
            known = labels if name == "label" else entry.versions
            alike = _alike(entry, loaded, entry.versions)
            kind["enum"] = [
                str(key) for key in known if labels.get(str(key), key) in alike
            ]
        yield {"name": name, "in": "path", "required": True, "schema": kind}


def _responses(route: Route, loaded: Loaded | None) -> Schema:
    wrong = {"description": "what was wrong", "content": _json(reference("Error"))}
    content = route.reply(loaded) if callable(route.reply) else route.reply
    good = {"description": "the answer", "content": content}
    return {"200": good, "4XX": wrong, "503": wrong}


def _body(route: Route, loaded: Loaded | None) -> Body | None:
    """Return what a route takes for a model; None if it is not for this model."""
    if not route.body or loaded is None:
        return Body()
    rows, columns, row = map(reference, ("Rows", "Columns", "Row"))
    golden = loaded.artefact.manifest.golden.instances
    return route.describe(ModelSchemas(loaded, rows, columns, row, golden))


def _row_schemas(loaded: Loaded) -> Schema:
    """Return the schemas of the rows that a model's own decoder takes."""
    decoder, max_rows = loaded.artefact.model.decoder, model_server().inference.max_rows
    return {
        "Rows": decoder.rows_schema(max_rows),
        "Columns": decoder.columns_schema(max_rows),
        "Row": decoder.named_row_schema(),
    }


def _content(name: str, body: Body, types: Schema) -> Schema:
    """Return a body: its type, narrowed to what a model takes."""
    narrowed: Schema = reference(name)
    if body.properties:
        base = types[name]
        narrowed = {**base, "properties": {**base["properties"], **body.properties}}
        if choice := list(body.properties)[: body.one_of]:
            narrowed["oneOf"] = [{"required": [key]} for key in choice]
    content = _json(narrowed)
    if body.example is not None:
        content[JSON]["example"] = body.example
    return {"required": body.required, "content": content}


def _json(content: Schema) -> Schema:
    return {JSON: {"schema": content}}

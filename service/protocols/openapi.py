"""The contract: every route and every loaded model, as OpenAPI 3.1.

GET /openapi.json

Bodies are the types that decode them (`msgspec.json.schema_components`), narrowed to
what the model's decoder accepts, with its golden rows as the example. A route of a
model is listed once for each loaded model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from flask import Flask, current_app

from models.features.columns import Schema
from service.monitoring.metrics import VERSION
from service.protocols.http import answer
from service.registry.loaded import Entry, Loaded
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import (
    ANY,
    JSON,
    REFERENCE,
    Body,
    ModelSchemas,
    Route,
    Routes,
    reference,
)

routes = Routes()

_VARIABLE = re.compile(r"<(?:[^:<>]+:)?(\w+)>")
_ERROR: Schema = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}


@routes.get("/openapi.json", reply=ANY)
def contract() -> Reply:
    """Return this server's contract: its routes and the schemas of its models."""
    return answer(document(current_app))


def document(app: Flask) -> Schema:
    """Return the document for the models that are loaded now."""
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
        for path, operation in _operations(template, route, types):
            paths.setdefault(path, {})[route.method.lower()] = operation
    components: Schema = {"schemas": {**types, "Error": _ERROR, **_row_schemas()}}
    access = model_server().access
    if access.predict_tokens or access.admin_tokens:
        bearer = {"type": "http", "scheme": "bearer"}
        components["securitySchemes"] = {"bearer": bearer}
    return {
        "openapi": "3.1.0",
        "info": {"title": "glassnet", "version": VERSION},
        "paths": paths,
        "components": components,
    }


def _operations(
    template: str, route: Route, types: Schema
) -> Iterator[tuple[str, Schema]]:
    """Yield the paths of a route, one for each model if it has a <name>."""
    if "<name>" not in template:
        body = _body(route, _only_model())
        path = _VARIABLE.sub(r"{\1}", template)
        yield path, _operation(template, route, None, body, types)
        return
    for name, entry in sorted(model_server().registry.catalogue.items()):
        loaded = entry.versions[entry.default]
        body = _body(route, loaded)
        if route.body and body is None:
            continue
        if "<label>" in template and not _alike(entry, loaded, entry.labels.values()):
            continue
        path = _VARIABLE.sub(r"{\1}", template.replace("<name>", name))
        yield path, _operation(template, route, loaded, body, types)


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
        "tags": [loaded.name if loaded else route.dialect],
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
    parts = ("rows", "columns", "row")
    rows, columns, row = (reference(f"{loaded.name}.{part}") for part in parts)
    golden = loaded.artefact.manifest.golden.instances
    return route.describe(ModelSchemas(loaded, rows, columns, row, golden))


def _row_schemas() -> Schema:
    """Return the schemas of the rows that the models' own decoders take."""
    schemas, max_rows = {}, model_server().inference.max_rows
    for name, entry in model_server().registry.catalogue.items():
        decoder = entry.versions[entry.default].artefact.model.decoder
        schemas[f"{name}.rows"] = decoder.rows_schema(max_rows)
        schemas[f"{name}.columns"] = decoder.columns_schema(max_rows)
        schemas[f"{name}.row"] = decoder.named_row_schema()
    return schemas


def _only_model() -> Loaded | None:
    """Return the model that needs no name, if there is one."""
    catalogue, default = model_server().registry.catalogue, model_server().default_model
    entry = catalogue.get(default)
    if not default and len(catalogue) == 1:
        (entry,) = catalogue.values()
    return entry.versions[entry.default] if entry else None


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

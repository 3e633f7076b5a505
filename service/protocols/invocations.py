"""Routes without a model's name: MLflow's scoring server, SageMaker, Vertex AI.

POST /invocations       JSON: dataframe_split, dataframe_records, instances or inputs;
                        or CSV, with or without a header
GET  /ping, /health     an empty 200, once a model is loaded
GET  /version

AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE are Vertex AI's own paths for the first two. The
model is the only one loaded, or GLASSNET_DEFAULT_MODEL. `params` (MLflow) and
`parameters` (Vertex AI) are one: `warnings` and `interval`, as of V1; others are
ignored.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import Annotated, Any

import msgspec
from flask import request
from msgspec import Meta
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable

from models.codecs import Decoder, csv_rows
from models.codecs.blocks import fits
from models.codecs.json import located, opening, parse, plain
from models.errors import InvalidInput, ModelNotFound
from models.features.columns import Schema
from models.features.inputs import RawColumns
from models.features.predictions import Predictions, label_text
from models.model import by_row
from service.monitoring.metrics import VERSION
from service.protocols.http import Parameters, find, misnamed, noting
from service.registry.loaded import Loaded
from service.web import errors
from service.web.body import body, decode
from service.web.request_context import model_server
from service.web.routes import JSON, OBJECT, Body, ModelSchemas, Routes
from service.web.routes import TEXT as TEXT_REPLY

routes = Routes()
CSV = "text/csv"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
#: Content types that do not tell JSON from CSV; `curl -d` sends the last by default.
_UNTYPED = ("", "application/x-www-form-urlencoded")
_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")

_NAMES: Schema = {"type": ["array", "null"], "items": {"type": ["string", "integer"]}}


class Frame(msgspec.Struct, forbid_unknown_fields=True):
    """A pandas frame, as from `to_dict("split")`."""

    data: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})]
    columns: Annotated[msgspec.Raw, Meta(extra_json_schema=_NAMES)] = msgspec.field(
        default_factory=msgspec.Raw
    )
    index: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Invocation(msgspec.Struct):
    """The JSON body: exactly one of the four formats."""

    dataframe_split: Frame | None = None
    dataframe_records: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    instances: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    inputs: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    params: Parameters | None = None
    parameters: Parameters | None = None


_invocation = msgspec.json.Decoder(Invocation)
_names = msgspec.json.Decoder(list[str | int] | None)


def _invocation_body(model: ModelSchemas) -> Body:
    properties = {"instances": model.rows, "dataframe_records": model.rows}
    return Body(properties, {"instances": model.golden})


@routes.post(
    "/invocations",
    body=Invocation,
    describe=_invocation_body,
    reply={**OBJECT, "text/csv": {}},
    setting="aip_predict_route",
)
def invocations() -> errors.Reply:
    """Predict from rows in JSON or CSV; reply in JSON or, if accepted first, CSV."""
    as_csv, given_csv = _wants_csv(), _is_csv()
    loaded, raw = _model(), body()
    notes: dict[str, Any] = {}
    if given_csv:
        header = _header()
        max_rows = model_server().inference.max_rows
        predictions = model_server().inference.answer(
            loaded, lambda decoder: csv_rows(decoder, raw, header, max_rows)
        )
    else:
        invocation = _decode_body(raw)
        parameters = invocation.parameters or invocation.params or Parameters()
        decode_rows, notes = noting(
            loaded, partial(_rows, invocation=invocation), parameters.warnings
        )
        predictions = model_server().inference.answer(
            loaded, decode_rows, interval=parameters.interval
        )
    named = {"X-Model-Version": str(loaded.version)}
    if as_csv:
        kind = {"Content-Type": f"{CSV}; charset=utf-8"}
        return csv_lines(predictions).encode(), 200, {**kind, **named}
    content = msgspec.json.encode({"predictions": by_row(predictions), **notes})
    return content, 200, {"Content-Type": JSON, **named}


@routes.get(
    "/ping", "/health", probe=True, reply=TEXT_REPLY, setting="aip_health_route"
)
def ping() -> errors.Reply:
    """Reply with an empty 200 if the server is ready, else 503."""
    reason = model_server().unready
    return errors.reply(503, reason) if reason else (b"", 200, TEXT)


@routes.get("/version", reply=TEXT_REPLY)
def version() -> errors.Reply:
    """Return the version of glassnet, as text."""
    return VERSION.encode(), 200, TEXT


def _model() -> Loaded:
    """Return the version to serve of the only or default model."""
    if named := model_server().default_model:
        return find(named)
    names = sorted(model_server().registry.catalogue)
    if not names:
        raise ModelNotFound("no model is loaded")
    if len(names) > 1:
        raise ModelNotFound(
            f"several models are loaded ({', '.join(names[:8])}): set "
            "GLASSNET_DEFAULT_MODEL, or name one, as in /v1/models/NAME:predict"
        )
    return find(names[0])


def _wants_csv() -> bool:
    """Tell whether the reply is to be CSV rather than JSON."""
    if not request.accept_mimetypes:
        return False
    # Without their parameters, such as a charset: there is one form of each type.
    accepted = MIMEAccept(
        [(kind.partition(";")[0], q) for kind, q in request.accept_mimetypes]
    )
    best = accepted.best_match([JSON, CSV])
    if best is None:
        raise NotAcceptable(f"expected {JSON} or {CSV} in the Accept header")
    return best == CSV


def _is_csv() -> bool:
    """Tell whether the body is CSV rather than JSON."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8"):
        raise errors.Unsupported("expected a body in UTF-8")
    if request.mimetype not in (JSON, CSV, *_UNTYPED):
        raise errors.Unsupported(f"expected a body of type {JSON} or {CSV}")
    return request.mimetype == CSV


def _header() -> bool | None:
    """Return the `header` parameter of the content type (RFC 4180, section 3)."""
    header = request.mimetype_params.get("header", "").lower()
    return {"present": True, "absent": False}.get(header)


def _decode_body(raw: bytes) -> Invocation:
    invocation: Invocation = decode(_invocation, raw)
    formats = [name for name in _FORMATS if getattr(invocation, name)]
    if len(formats) != 1:
        found = " and ".join(formats) or "none" + misnamed(raw, _FORMATS)
        raise InvalidInput(
            f"expected exactly one of {', '.join(_FORMATS)}, found {found}"
        )
    return invocation


def _rows(decoder: Decoder, invocation: Invocation) -> RawColumns:
    max_rows = model_server().inference.max_rows
    if (frame := invocation.dataframe_split) is not None:
        return decoder.from_frame(
            _columns(decoder, frame.columns), frame.data, max_rows
        )
    if opening(invocation.inputs)[:1] == "{":
        return decoder.by_column(invocation.inputs, max_rows)
    rows = invocation.inputs or invocation.instances or invocation.dataframe_records
    return decoder.rows(rows, max_rows)


def _columns(decoder: Decoder, raw: msgspec.Raw) -> list[str] | None:
    """Return the names of a frame's columns; None if it has none."""
    if not raw:
        return None
    most = decoder.n_columns or decoder.row_size
    if not fits(raw, most):
        raise InvalidInput(f"dataframe_split.columns: expected at most {most} names")
    try:
        names = parse(_names, raw)
    except msgspec.ValidationError as error:
        path = f"dataframe_split.columns{located(error)[1]}"
        raise InvalidInput(f"{path}: {plain(error)}") from None
    return None if names is None else [str(name) for name in names]


def csv_lines(predictions: Predictions) -> str:
    """Return predictions as CSV without header, one line per row."""
    fields = [
        values.reshape(len(values), -1).tolist() for values in predictions.values()
    ]
    return "".join(
        _line([label_text(field) for part in row for field in part])
        for row in zip(*fields, strict=True)
    )


def _line(fields: list[str]) -> str:
    text = io.StringIO()
    # With lineterminator "\n" Python 3.11 does not quote "\r".
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return text.getvalue().removesuffix("\r\n") + "\n"

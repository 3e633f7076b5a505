"""Explanations of predictions: our own verb beside TensorFlow Serving's.

POST /v1/models/M[/versions/V|/labels/L]:explain

The body is that of :predict, with the optional `target`, a class to explain instead of
the likeliest one, and `activations`: true. `models/explain/integrated_gradients.py`
defines attributions and their baseline. The reply's `warnings` are values unlike those
of training.
"""

from __future__ import annotations

import msgspec

from models.codecs import Decoder
from models.codecs.decoder import n_rows
from models.errors import InvalidInput
from models.features.inputs import RawColumns
from models.features.predictions import Label
from models.features.warnings import warnings
from service.inference.inference import decode_within
from service.protocols.http import answer, find
from service.web.body import body, decode
from service.web.errors import Reply
from service.web.request_context import model_server
from service.web.routes import Body, ModelSchemas, Routes, versioned

routes = Routes("/v1/models")

#: An explanation costs as much as some hundred predictions.
MAX_ROWS = 1_000


class ExplainRequest(msgspec.Struct):
    """The body of :explain; other keys are ignored, as they are by :predict."""

    instances: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    inputs: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    target: Label | None = None
    activations: bool = False


_explain_request = msgspec.json.Decoder(ExplainRequest)


def _explain_body(model: ModelSchemas) -> Body:
    classes = getattr(model.loaded.artefact.model.output, "classes", ())
    target = {"target": {"enum": [*classes, None]}}
    properties = {"instances": model.rows, "inputs": model.columns, **target}
    return Body(properties, {"instances": model.golden}, one_of=2)


@routes.post(*versioned(":explain"), body=ExplainRequest, describe=_explain_body)
def explain(name: str, version: str | None = None, label: str | None = None) -> Reply:
    """Return what each input contributed to each prediction, against a baseline.

    Raises InvalidInput for a body without rows, or with too many.
    """
    loaded = find(name, version, label)
    request: ExplainRequest = decode(_explain_request, body())
    if bool(request.instances) == bool(request.inputs):
        raise InvalidInput("expected either 'instances' (rows) or 'inputs' (columns)")

    max_rows = model_server().inference.max_rows

    def rows(decoder: Decoder) -> RawColumns:
        if request.instances:
            return decoder.rows(request.instances, max_rows)
        return decoder.by_column(request.inputs, max_rows)

    raw = decode_within(rows, loaded.artefact.model.decoder, max_rows)
    if (n := n_rows(raw)) > MAX_ROWS:
        raise InvalidInput(
            f"{n} rows to explain in one request, at most {MAX_ROWS} are allowed: "
            "an explanation costs as much as some hundred predictions"
        )
    reply = loaded.explainer.explain(raw, request.target).reply()
    if request.activations:
        layers = loaded.explainer.activations(raw)
        for row, activations in zip(reply["explanations"], layers, strict=True):
            row["activations"] = activations
    reply["warnings"] = warnings(loaded.artefact.manifest.inputs, raw)
    reply["model_version"] = str(loaded.version)
    return answer(reply, X_Model_Version=str(loaded.version))

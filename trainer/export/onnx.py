"""A model as one ONNX file, from named columns to label and probabilities."""

from __future__ import annotations

from models.storage.artefact import Artefact
from trainer.export.graph import Graph
from trainer.export.inputs import encode
from trainer.export.layers import outputs
from trainer.export.predictions import decode

ABOUT = (
    "One input a column, of n values: numbers and truth values as float64 (NaN is "
    "missing), texts as strings (an empty one is missing, one that training did not "
    "have is an unknown category)."
)


def to_onnx(artefact: Artefact, name: str, version: int) -> bytes:
    """Return the ONNX file of a version.

    Raises ConfigError if a column or a layer cannot be said in ONNX.
    """
    model, manifest = artefact.model, artefact.manifest
    graph = Graph()
    X = encode(graph, model.inputs)
    decode(graph, model.output, [outputs(graph, n, X) for n in model.networks])
    facts = {
        "model": name,
        "version": str(version),
        "sha256": artefact.sha256,
        "task": manifest.task,
        "target": manifest.target,
        "classes": ", ".join(model.output.class_names),
    }
    content: bytes = graph.model(name, ABOUT, facts).SerializeToString()
    return content

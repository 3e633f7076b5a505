"""From the outputs of the networks to predictions: `decode` as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.features.predictions import Classification, Output, Regression, label_text
from trainer.export.graph import Graph


def decode(graph: Graph, output: Output, Z: Sequence[str]) -> None:
    """Add `label` and `probabilities`, or `value`, of each network's outputs (n, O)."""
    wide = [graph.cast(z, "FP64") for z in Z]
    if isinstance(output, Regression):
        _value(graph, output, wide)
        return
    if len(wide) == 1:
        P = _probabilities(graph, output, _divided(graph, output, wide[0]))
    else:
        P = _mean(graph, output, [_probabilities(graph, output, z) for z in wide])
        if output.temperature != 1.0:
            tiny = np.array(np.finfo(float).tiny)
            logits = graph.add("Log", graph.add("Max", P, tiny))
            P = _softmax(graph, _divided(graph, output, logits))
    if output.smoothing:
        even = output.smoothing / len(output.classes)
        P = graph.add("Mul", P, np.array(1.0 - output.smoothing))
        P = graph.add("Add", P, np.array(even))
    datatype = output.label_datatype
    labels = np.array([_label(output, n, datatype) for n in range(len(output.classes))])
    best = graph.add("ArgMax", P, axis=1, keepdims=0)
    graph.output("label", graph.add("Gather", labels, best, axis=0), datatype, ())
    graph.output("probabilities", P, "FP64", (len(output.classes),))


def _label(output: Classification, number: int, datatype: str) -> object:
    label = output.classes[number]
    return label_text(label) if datatype == "BYTES" else label


def _divided(graph: Graph, output: Classification, Z: str) -> str:
    return graph.add("Div", Z, np.array(output.temperature))


def _probabilities(graph: Graph, output: Classification, Z: str) -> str:
    """Return (n, classes) of logits (n, O); one logit is that of the second class."""
    if output.width == 1:
        Z = graph.add("Mul", Z, np.array([0.0, 1.0]))
    return _softmax(graph, Z)


def _softmax(graph: Graph, Z: str) -> str:
    """Return e^z / Σ e^z of (n, k), whose largest exponent is 0."""
    Z = graph.add("Sub", Z, graph.add("ReduceMax", Z, axes=[1], keepdims=1))
    P = graph.add("Exp", Z)
    return graph.add("Div", P, graph.add("ReduceSum", P, np.array([1]), keepdims=1))


def _mean(graph: Graph, output: Output, values: Sequence[str]) -> str:
    """Return the weighted mean of values; ONNX Runtime has no `Mean` of float64."""
    if output.weights:
        pairs = zip(values, output.weights, strict=True)
        return graph.add("Sum", *[graph.add("Mul", v, np.array(w)) for v, w in pairs])
    return graph.add("Div", graph.add("Sum", *values), np.array(float(len(values))))


def _value(graph: Graph, output: Regression, Z: Sequence[str]) -> None:
    limits = np.array(output.lowest), np.array(output.highest)
    standard = _mean(graph, output, [graph.add("Clip", z, *limits) for z in Z])
    value = graph.add("Mul", standard, np.array(output.std))
    value = graph.add("Add", value, np.array(output.mean))
    value = graph.add("Squeeze", value, np.array([1]))
    graph.output("value", value, "FP64", ())

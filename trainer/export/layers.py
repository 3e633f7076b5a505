"""The layers of a network as nodes of a graph: `predict` of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError
from models.nn.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Embeddings,
    Layer,
    Linear,
    Scaling,
)
from models.nn.layers.activations import (
    FUNCTIONS,
    GELU_CUBIC,
    GELU_SLOPE,
    LEAK,
    MISH_LIMIT,
    SELU_ALPHA,
    SELU_SCALE,
)
from models.nn.layers.embeddings import TURN
from models.nn.network import Network
from trainer.export.graph import Graph


def outputs(graph: Graph, network: Network, X: str) -> str:
    """Add the layers of a network; return its outputs (n, O) for X (n, I).

    Raises ConfigError for a layer that is not known here.
    """
    for layer in network.layers:
        add = LAYERS.get(type(layer))
        if add is None:
            raise ConfigError(
                f"the layer '{layer.display_name}' cannot be exported: expected one of "
                f"{', '.join(known.display_name for known in LAYERS)}"
            )
        X = add(graph, layer, X)
    return X


def _linear(graph: Graph, layer: Linear, X: str) -> str:
    return graph.add("Gemm", X, layer.W, layer.b)


def _batch_norm(graph: Graph, layer: BatchNorm, X: str) -> str:
    epsilon = np.float32(layer.spec.epsilon)
    scale = layer.gamma / np.sqrt(layer.running_variance + epsilon)
    centred = graph.add("Sub", X, layer.running_mean)
    return graph.add("Add", graph.add("Mul", centred, scale), layer.beta)


def _scaling(graph: Graph, layer: Scaling, X: str) -> str:
    return graph.add("Mul", X, layer.s)


def _dropout(graph: Graph, layer: Dropout, X: str) -> str:
    return X  # it acts in training only


def _activation(graph: Graph, layer: Activation, Z: str) -> str:
    A = ACTIVATIONS[_NAMES[layer.function]](graph, Z)
    if not layer.parametric:
        return A
    bend = graph.add("Mul", graph.add("Sub", A, Z), layer.r)
    return graph.add("Add", bend, Z)


def _embeddings(graph: Graph, layer: Embeddings, X: str) -> str:
    """Numbers with their waves, plain features, and a vector for each category."""
    spec = layer.spec
    parts = []
    if spec.numbers:
        parts.append(_waves(graph, layer, graph.columns(X, 0, spec.numbers)))
    stop = spec.numbers + spec.plain
    if spec.plain:
        parts.append(graph.columns(X, spec.numbers, stop))
    for number, E in enumerate(layer.E):
        column = graph.columns(X, stop + number, stop + number + 1)
        code = graph.add("Squeeze", graph.cast(column, "INT64"), np.array([1]))
        unknown = graph.add("Less", code, np.array(0))
        code = graph.add("Where", unknown, np.array(len(E)), code)
        table = np.concatenate([E, np.zeros_like(E[:1])])
        parts.append(graph.add("Gather", graph.constant(table), code, axis=0))
    return graph.add("Concat", *parts, axis=1)


def _waves(graph: Graph, layer: Embeddings, x: str) -> str:
    """Return (n, k W) for numbers (n, k)."""
    k, W = layer.spec.numbers, layer.spec.number_width
    x = graph.add("Unsqueeze", x, np.array([2]))  # (n, k, 1)
    turns = graph.add("Add", graph.add("Mul", x, layer.w * np.float32(TURN)), layer.b)
    cos = graph.add("Transpose", graph.add("Cos", turns), perm=[1, 0, 2])  # (k, n, F)
    mixed = graph.add("Add", graph.add("MatMul", cos, layer.V), layer.c[:, None, :])
    mixed = graph.add("Transpose", mixed, perm=[1, 0, 2])  # (n, k, W - 1)
    both = graph.add("Concat", x, mixed, axis=2)
    return graph.add("Reshape", both, np.array([-1, k * W]))


def _scalar(value: float) -> NDArray[Any]:
    return np.array(value, np.float32)


def _gelu(graph: Graph, Z: str) -> str:
    clipped = graph.add("Clip", Z, _scalar(-1e3), _scalar(1e3))
    square = graph.add("Mul", clipped, clipped)
    cubic = graph.add("Mul", graph.add("Mul", square, clipped), _scalar(GELU_CUBIC))
    inner = graph.add("Mul", graph.add("Add", clipped, cubic), _scalar(GELU_SLOPE))
    gate = graph.add("Add", graph.add("Tanh", inner), _scalar(1.0))
    return graph.add("Mul", graph.add("Mul", Z, _scalar(0.5)), gate)


def _mish(graph: Graph, Z: str) -> str:
    e = graph.add("Exp", graph.add("Min", Z, _scalar(MISH_LIMIT)))
    n = graph.add("Mul", e, graph.add("Add", e, _scalar(2.0)))
    t = graph.add("Div", n, graph.add("Add", n, _scalar(2.0)))
    return graph.add("Mul", Z, t)


def _by_operator(operator: str, **attributes: Any) -> Callable[[Graph, str], str]:
    return lambda graph, Z: graph.add(operator, Z, **attributes)


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "identity": lambda graph, Z: Z,
    "sigmoid": _by_operator("Sigmoid"),
    "tanh": _by_operator("Tanh"),
    "relu": _by_operator("Relu"),
    "leaky_relu": _by_operator("LeakyRelu", alpha=LEAK),
    "selu": _by_operator("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "gelu": _gelu,
    "mish": _mish,
    "softmax": _by_operator("Softmax", axis=1),
}
_NAMES = {function: name for name, function in FUNCTIONS.items()}

LAYERS: dict[type[Layer], Callable[[Graph, Any, str], str]] = {
    Linear: _linear,
    BatchNorm: _batch_norm,
    Scaling: _scaling,
    Dropout: _dropout,
    Activation: _activation,
    Embeddings: _embeddings,
}

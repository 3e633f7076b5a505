"""The network architectures that the trainer builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from models.features.table import Layout
from models.nn.initializers import Initializer
from models.nn.layers import (
    ActivationSpec,
    AnyLayerSpec,
    BatchNormSpec,
    DropoutSpec,
    EmbeddingsSpec,
    LinearSpec,
    ScalingSpec,
)
from models.nn.layers.activations import Function
from models.nn.network import NetworkSpec

Architecture: TypeAlias = Literal["mlp", "realmlp"]


def mlp(
    widths: Sequence[int],
    activation: Function = "relu",
    *,
    initializer: Initializer | None = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
    categories: Sequence[int] = (),
) -> NetworkSpec:
    """Describe a multi-layer perceptron such as `mlp([784, 128, 64, 10])`.

    Every hidden layer is linear → batch norm → activation → dropout (batch norm and
    dropout are optional); the output layer is linear. Without `initializer`, weights
    start by Glorot's rule for symmetric functions and by He's for the others. If the
    last inputs are codes of `categories`, the first layer is embeddings.
    """
    symmetric = activation in ("sigmoid", "tanh", "softmax", "identity")
    start = initializer or ("glorot" if symmetric else "he")
    layers: list[AnyLayerSpec] = []
    n_inputs = widths[0]
    if categories:
        front = EmbeddingsSpec(0, n_inputs - len(categories), tuple(categories))
        layers.append(front)
        widths = [front.width(n_inputs), *widths[1:]]
    for n_in, n_out in zip(widths[:-2], widths[1:-1], strict=True):
        layers.append(LinearSpec(n_in, n_out, start))
        if batch_norm:
            layers.append(BatchNormSpec(n_out))
        layers.append(ActivationSpec(activation))
        if dropout:
            layers.append(DropoutSpec(dropout))
    layers.append(LinearSpec(widths[-2], widths[-1], start))
    return NetworkSpec(n_inputs, tuple(layers))


def realmlp(
    layout: Layout,
    hidden: Sequence[int],
    n_out: int,
    activation: Function = "selu",
    *,
    dropout: float = 0.0,
) -> NetworkSpec:
    """Describe RealMLP (Holzmüller et al. 2024, arXiv 2407.04491, figure 1).

    Embeddings and a scaling layer come first; each hidden layer is linear → parametric
    activation → dropout; the output layer is linear.
    """
    front = EmbeddingsSpec(*layout)
    n_in = layout.numeric + layout.other + len(layout.categories)
    width = front.width(n_in)
    layers: list[AnyLayerSpec] = [front, ScalingSpec(width)]
    for n in hidden:
        layers += [LinearSpec(width, n), ActivationSpec(activation, n)]
        if dropout:
            layers.append(DropoutSpec(dropout))
        width = n
    layers.append(LinearSpec(width, n_out))
    return NetworkSpec(n_in, tuple(layers))

"""The layers, one idea a file, forward and backward side by side."""

from __future__ import annotations

from typing import Any, TypeAlias

from models.nn.layers.activations import Activation, ActivationSpec
from models.nn.layers.base import Layer, LayerSpec
from models.nn.layers.dropout import Dropout, DropoutSpec
from models.nn.layers.embeddings import Embeddings, EmbeddingsSpec
from models.nn.layers.linear import Linear, LinearSpec
from models.nn.layers.normalization import BatchNorm, BatchNormSpec
from models.nn.layers.scaling import Scaling, ScalingSpec
from models.types import Array

#: Every layer a manifest may name; msgspec tells them apart by their tag.
AnyLayerSpec: TypeAlias = (
    LinearSpec
    | ActivationSpec
    | BatchNormSpec
    | DropoutSpec
    | ScalingSpec
    | EmbeddingsSpec
)

LAYERS: dict[type[LayerSpec], Any] = {
    LinearSpec: Linear,
    ActivationSpec: Activation,
    BatchNormSpec: BatchNorm,
    DropoutSpec: Dropout,
    ScalingSpec: Scaling,
    EmbeddingsSpec: Embeddings,
}


def build(spec: LayerSpec) -> Layer:
    """Make the layer a spec describes; its numbers come with `Layer.bind`."""
    layer: Layer = LAYERS[type(spec)](spec)
    return layer


__all__ = [
    "Activation",
    "ActivationSpec",
    "AnyLayerSpec",
    "Array",
    "BatchNorm",
    "BatchNormSpec",
    "Dropout",
    "DropoutSpec",
    "Embeddings",
    "EmbeddingsSpec",
    "Layer",
    "LayerSpec",
    "Linear",
    "LinearSpec",
    "Scaling",
    "ScalingSpec",
    "build",
]

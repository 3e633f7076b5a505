"""The layers: one module for each, with forward and backward side by side.

To add a layer, add a module with a `LayerSpec` and its `Layer`: every module of this
package is imported, and every spec can stand in a manifest.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, TypeAlias, Union

from models.nn.layers.activations import Activation, ActivationSpec
from models.nn.layers.base import Layer, LayerSpec
from models.nn.layers.dropout import Dropout, DropoutSpec
from models.nn.layers.embeddings import Embeddings, EmbeddingsSpec
from models.nn.layers.linear import Linear, LinearSpec
from models.nn.layers.normalization import BatchNorm, BatchNormSpec
from models.nn.layers.scaling import Scaling, ScalingSpec

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

#: Every kind of layer that a manifest may name; msgspec tells them apart by their tag.
LAYER_SPECS: tuple[type[LayerSpec], ...] = tuple(LayerSpec.__subclasses__())
if TYPE_CHECKING:
    AnyLayerSpec: TypeAlias = LayerSpec
else:
    AnyLayerSpec = Union[LAYER_SPECS]  # noqa: UP007

__all__ = [
    "LAYER_SPECS",
    "Activation",
    "ActivationSpec",
    "AnyLayerSpec",
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
]

"""Names of a network's layers for people: `hidden 1`, `hidden 1 (relu)`, `output`."""

from __future__ import annotations

from models.nn.layers import ActivationSpec, LinearSpec
from models.nn.network import NetworkSpec


def layer_names(network: NetworkSpec) -> list[str]:
    """Return the name of each layer, in order.

    A linear layer is `hidden N`, the last one `output`. A layer between two linear ones
    is named by the one before and by what it does; those at the front have no number.
    """
    names, hidden, block = [], 0, ""
    last = sum(isinstance(layer, LinearSpec) for layer in network.layers)
    for layer in network.layers:
        if isinstance(layer, LinearSpec):
            hidden += 1
            block = "output" if hidden == last else f"hidden {hidden}"
            names.append(block)
            continue
        does = layer.build().display_name
        if isinstance(layer, ActivationSpec):
            does = layer.function
        names.append(f"{block} ({does})" if block else does)
    return names

"""Write a version of the store as ONNX: the same numbers for the other servers.

    python benchmarks/serving/onnx_model.py model.npz model.onnx

For networks of linear layers and ReLU after a tensor: what the benchmark serves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.features.predictions import Classification
from models.nn.layers.activations import Activation, ReLU
from models.nn.layers.dropout import Dropout
from models.nn.layers.linear import Linear
from models.storage.artefact import load


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    model = load(source.read_bytes()).model
    (network,), inputs, output = model.networks, model.inputs, model.output
    assert isinstance(output, Classification)
    numbers = {
        "center": np.asarray(inputs.center, np.float32),
        "scale": np.asarray(inputs.scale, np.float32),
        "temperature": np.float32(output.temperature),
    }
    nodes = [
        helper.make_node("Sub", ["x", "center"], ["centered"]),
        helper.make_node("Mul", ["centered", "scale"], ["0"]),
    ]
    last = "0"
    for n, layer in enumerate(network.layers, start=1):
        if isinstance(layer, Linear):
            numbers[f"W{n}"], numbers[f"b{n}"] = layer.W, layer.b
            nodes.append(helper.make_node("Gemm", [last, f"W{n}", f"b{n}"], [str(n)]))
            last = str(n)
        elif isinstance(layer, Activation) and layer.function is ReLU:
            nodes.append(helper.make_node("Relu", [last], [str(n)]))
            last = str(n)
        elif not isinstance(layer, Dropout):
            sys.exit(f"{layer.display_name}: not a layer of this benchmark")
    nodes.append(helper.make_node("Div", [last, "temperature"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "glassnet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inputs.size])],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, ["n", None]
            )
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in numbers.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.checker.check_model(made)
    onnx.save(made, target)


if __name__ == "__main__":
    main()

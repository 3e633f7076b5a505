"""Builds an ONNX graph node by node, with names of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

#: Operators of ONNX 1.12 (2022) and ONNX-ML 1.10, which every runtime of today has.
OPSETS = {"": 17, "ai.onnx.ml": 2}
IR_VERSION = 8
DTYPES = {
    "FP64": TensorProto.DOUBLE,
    "FP32": TensorProto.FLOAT,
    "INT64": TensorProto.INT64,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
}


class Graph:
    """Nodes, constants, inputs and outputs; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, datatype: str, shape: Sequence[int]) -> str:
        """Declare an input of n rows of a shape, and return its name."""
        self.inputs.append(_value(name, datatype, shape))
        return name

    def output(
        self, name: str, value: str, datatype: str, shape: Sequence[int]
    ) -> None:
        """Declare an output of n rows of a shape."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(_value(name, datatype, shape))

    def constant(self, array: NDArray[Any] | Sequence[Any]) -> str:
        """Add a constant array (…,), and return its name."""
        name = f"constant_{len(self.constants)}"
        array = np.asarray(array)
        if array.dtype.kind in "OU":
            tensor = helper.make_tensor(
                name, TensorProto.STRING, array.shape, [t.encode() for t in array.flat]
            )
        else:
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        return name

    def add(
        self,
        operator: str,
        *inputs: str | NDArray[Any],
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node, and return the name of its output; arrays (…,) are constants."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = f"value_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, names, [output], domain=domain, **attributes)
        )
        return output

    def cast(self, value: str, datatype: str) -> str:
        """Return a value as another datatype."""
        return self.add("Cast", value, to=DTYPES[datatype])

    def columns(self, value: str, start: int, stop: int) -> str:
        """Return the columns from `start` to before `stop` of a value (n, …)."""
        bounds = [np.array([number]) for number in (start, stop, 1)]  # axis 1
        return self.add("Slice", value, *bounds)

    def model(self, name: str, about: str, facts: Mapping[str, str]) -> onnx.ModelProto:
        """Return the checked model, with facts that a reader may look up."""
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, self.constants
        )
        opsets = [helper.make_opsetid(*pair) for pair in OPSETS.items()]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="glassnet",
            doc_string=about,
        )
        helper.set_model_props(model, dict(facts))
        onnx.checker.check_model(model)
        return model


def _value(name: str, datatype: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, DTYPES[datatype], ["rows", *shape])

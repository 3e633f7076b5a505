"""The encoding of rows as nodes of a graph: `encode` of a table or tensor signature."""

from __future__ import annotations

from contextlib import suppress
from typing import cast
from unicodedata import normalize

import numpy as np

from models.errors import ConfigError
from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    NumericColumn,
)
from models.features.inputs import Inputs
from models.features.table import CLIP, MAX_SCALED, TableInput
from models.features.tensor import MAX_DEVIATIONS, TensorInput
from models.features.text import plain_text
from trainer.export.graph import Graph

ML = "ai.onnx.ml"


def encode(graph: Graph, inputs: Inputs) -> str:
    """Add the inputs and their encoding X (n, width), as the signature encodes them.

    Numbers and truth values are float64, NaN where one is missing; texts are strings,
    empty where one is missing. Raises ConfigError for a kind that ONNX cannot read.
    """
    if isinstance(inputs, TensorInput):
        return _tensor(graph, inputs)
    _require_known(inputs)
    numeric = [c for c in inputs.columns if not c.is_text]
    texts = [cast(CategoricalColumn, c) for c in inputs.columns if c.is_text]
    values = {}
    for column in inputs.columns:
        name = graph.input(column.name, "BYTES" if column.is_text else "FP64", ())
        values[column.name] = name if column.is_text else _number(graph, column, name)
    parts = []
    scaled = [c for c in numeric if c.scalings]
    scaled.sort(key=lambda column: not column.is_quantity)  # as in TableInput
    if scaled:
        parts.append(_scaled(graph, scaled, values))
    parts += [
        graph.cast(graph.add("IsNaN", values[c.name]), "FP32")
        for c in numeric
        if c.nullable and c.scalings
    ]
    for text in sorted((c for c in texts if c.width), key=lambda c: c.embedded):
        parts.append(_category(graph, text, values[text.name]))
    return graph.add("Concat", *parts, axis=1)


def _require_known(table: TableInput) -> None:
    for column in table.columns:
        if not isinstance(column, (NumericColumn, BooleanColumn, CategoricalColumn)):
            raise ConfigError(
                f"column '{column.name}' is {column.kind}, and ONNX has no operator "
                "that reads dates as text: train without it (data.ignore) to export, "
                "or use the service"
            )


def _number(graph: Graph, column: AnyColumn, value: str) -> str:
    """Return a column (n, 1), with NaN for numbers that stand for a missing one."""
    for mark in column.marks:
        with suppress(ValueError):  # a mark that is not a number
            number = np.array(column.parse_text(mark, column.format))
            is_mark = graph.add("Equal", value, number)
            value = graph.add("Where", is_mark, np.array(np.nan), value)
    return graph.add("Unsqueeze", value, np.array([1]))


def _scaled(graph: Graph, columns: list[AnyColumn], values: dict[str, str]) -> str:
    """Return the scaled and clipped numbers (n, columns), 0 where one is missing."""
    scalings = [column.scalings[0] for column in columns]
    raw = graph.add("Concat", *(values[c.name] for c in columns), axis=1)
    Z = graph.add("Sub", raw, np.array([s.center for s in scalings]))
    Z = graph.add("Mul", Z, np.array([s.scale for s in scalings]))
    Z = graph.add("Clip", Z, np.array(-MAX_SCALED), np.array(MAX_SCALED))
    thirds = graph.add("Div", Z, np.array(CLIP))
    squares = graph.add("Add", graph.add("Mul", thirds, thirds), np.array(1.0))
    Z = graph.add("Div", Z, graph.add("Sqrt", squares))
    missing = graph.add("IsNaN", raw)
    return graph.cast(graph.add("Where", missing, np.array(0.0), Z), "FP32")


def _category(graph: Graph, column: CategoricalColumn, value: str) -> str:
    """Return a category as it is encoded: a code (n, 1), a sign (n, 1) or (n, k)."""
    codes: dict[str, int] = {}
    for spelled in (plain_text, lambda text: normalize("NFD", text), str):
        codes |= {spelled(text): code for code, text in enumerate(column.categories)}
    code = graph.add(
        "LabelEncoder",
        value,
        domain=ML,
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=-1,
    )
    code = graph.add("Unsqueeze", code, np.array([1]))
    if column.embedded:
        return graph.cast(code, "FP32")
    if column.width == 1:
        number = graph.cast(code, "FP32")  # -1 unknown, 0, 1
        known = graph.cast(graph.add("GreaterOrEqual", code, np.array(0)), "FP32")
        twice = graph.add("Add", number, number)
        sign = graph.add("Sub", twice, np.array(1.0, np.float32))
        return graph.add("Mul", known, sign)
    each = np.arange(column.width, dtype=np.int64)[None]
    return graph.cast(graph.add("Equal", code, each), "FP32")


def _tensor(graph: Graph, tensor: TensorInput) -> str:
    """Return the standardised rows (n, width)."""
    x = graph.input(tensor.name, tensor.datatype, tensor.shape)
    X = graph.add("Reshape", x, np.array([-1, tensor.size]))
    X = graph.add("Sub", X, np.asarray(tensor.center, np.float32))
    X = graph.add("Mul", X, np.asarray(tensor.scale, np.float32))
    limit = np.array(MAX_DEVIATIONS, np.float32)
    return graph.add("Clip", X, -limit, limit)

"""What a decoder takes, as JSON Schema 2020-12: for people, forms and their tools.

It follows from the types that decode. What was seen in training (ranges, categories) is
told and not asked for: a model answers beyond it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np

from models.codecs.table import TableDecoder
from models.codecs.tensor import TensorDecoder
from models.features.columns import (
    AnyColumn,
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    NumericColumn,
)

Schema: TypeAlias = dict[str, Any]

#: Categories told of a column; there may be a thousand.
MAX_EXAMPLES = 8
#: The largest number that does not become infinite in float32: just below half a step
#: beyond the largest float32.
_FLOAT32 = float(np.nextafter(2.0**128 - 2.0**103, 0.0))
_NUMBER = {"type": "number", "minimum": -_FLOAT32, "maximum": _FLOAT32}
_DATE: Schema = {
    "anyOf": [
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "null"},
    ]
}


def rows(decoder: TableDecoder | TensorDecoder, most: int) -> Schema:
    """Return the schema of a list of rows, in every form one may have."""
    forms = _rows_of(decoder)
    return {
        "description": "Rows, all of one form.",
        "anyOf": [_list(form, most) for form in forms],
    }


def columns(decoder: TableDecoder | TensorDecoder, most: int) -> Schema:
    """Return the schema of values by column, or of a tensor by its name."""
    if isinstance(decoder, TensorDecoder):
        of_name = rows(decoder, most)
        named = {"type": "object", "properties": {"x": of_name}, "required": ["x"]}
        return {"anyOf": [{**named, "additionalProperties": False}, of_name]}
    lists = {column.name: _list(_value(column), most) for column in decoder.columns}
    return {
        "description": "The values of each column, of one length.",
        "type": "object",
        "properties": lists,
        "required": [c.name for c in decoder.columns if not c.nullable],
        "additionalProperties": False,
    }


def row(decoder: TableDecoder | TensorDecoder) -> Schema:
    """Return the schema of a row as an object by name."""
    if isinstance(decoder, TableDecoder):
        return _rows_of(decoder)[0]
    return _rows_of(decoder)[-1]


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _rows_of(decoder: TableDecoder | TensorDecoder) -> list[Schema]:
    if isinstance(decoder, TensorDecoder):
        return _tensors(decoder)
    forms = [_plain(msgspec.json.schema(kind)) for kind in decoder.types]
    by_name, in_order, *_ = forms
    values = {column.name: _value(column) for column in decoder.columns}
    by_name["properties"] = {
        decoder.real(name): values[decoder.real(name)] for name in by_name["properties"]
    }
    by_name["required"] = [decoder.real(name) for name in by_name["required"]]
    in_order["prefixItems"] = list(values.values())
    in_order["items"] = False
    return [by_name, in_order, *list(values.values())[: len(forms) - 2]]


def _plain(schema: Schema) -> Schema:
    """Return the schema of a list's items, without a reference or a made-up name."""
    items: Schema = schema["items"]
    if reference := items.get("$ref"):
        items = schema["$defs"][reference.rpartition("/")[2]]
    items.pop("title", None)
    return items


def _tensors(decoder: TensorDecoder) -> list[Schema]:
    shape, size = decoder.tensor.shape, decoder.tensor.size
    forms = [_nested(shape)]
    if len(shape) > 1:
        forms.append(_nested((size,)))
    if size == 1:
        forms.append(_NUMBER)
    named = {"type": "object", "properties": {"x": {"anyOf": forms}}, "required": ["x"]}
    return [*forms, {**named, "additionalProperties": False}]


def _nested(shape: tuple[int, ...]) -> Schema:
    schema: Schema = _NUMBER
    for length in reversed(shape):
        exactly = {"minItems": length, "maxItems": length}
        schema = {"type": "array", "items": schema, **exactly}
    return schema


def _value(column: AnyColumn) -> Schema:
    """Return the schema of one value, and what is known of the column."""
    match column:
        case NumericColumn(minimum=low, maximum=high):
            seen = "" if low is None else f", in training from {low:g} to {high:g}"
            told: Schema = {"type": ["number", "null"], "description": f"numeric{seen}"}
        case BooleanColumn():
            told = {"type": ["boolean", "null"], "description": "boolean"}
        case DatetimeColumn(minimum=low, maximum=high):
            seen = "" if low is None else f", in training from {low} to {high}"
            told = {**_DATE, "description": f"ISO 8601, UTC without an offset{seen}"}
        case CategoricalColumn(categories=known):
            told = {"type": ["string", "null"], "examples": list(known[:MAX_EXAMPLES])}
            told["description"] = f"one of {len(known)} categories, or another"
    if not column.nullable:
        told["description"] += "; never missing in training"
    return told

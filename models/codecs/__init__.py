"""From JSON or CSV to raw columns: one strict decoder for every dialect.

The types that decode are made from the signature, so a wrong value is found where it
is parsed. Every fault is an `InvalidInput` whose sentence names the row and the
column, what was expected and what was found; a value of the request is never
repeated in it.
"""

from __future__ import annotations

from models.codecs.csv import csv_rows
from models.codecs.table import TableDecoder
from models.codecs.tensor import TensorDecoder
from models.codecs.writing import json_rows
from models.features.table import TableInput
from models.features.tensor import TensorInput


def decoder_for(inputs: TableInput | TensorInput) -> TableDecoder | TensorDecoder:
    """Return the decoder of a signature."""
    if isinstance(inputs, TableInput):
        return TableDecoder(inputs)
    return TensorDecoder(inputs)


__all__ = ["TableDecoder", "TensorDecoder", "csv_rows", "decoder_for", "json_rows"]

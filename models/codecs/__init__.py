"""From JSON or CSV to raw rows: one strict decoder for every dialect.

The types that decode are made from the signature, so a wrong value is found where it
is parsed. An error is an `InvalidInput` that names the row and the column, and says
what was expected and what was found; it never repeats a value of the request.
"""

from __future__ import annotations

from models.codecs.csv import csv_rows
from models.codecs.decoder import Decoder, Tensor
from models.codecs.table import TableDecoder
from models.codecs.tensor import TensorDecoder
from models.features.inputs import Inputs
from models.features.table import TableInput


def decoder_for(inputs: Inputs) -> Decoder:
    """Return the decoder of a signature."""
    if isinstance(inputs, TableInput):
        return TableDecoder(inputs)
    return TensorDecoder(inputs)


__all__ = [
    "Decoder",
    "TableDecoder",
    "Tensor",
    "TensorDecoder",
    "csv_rows",
    "decoder_for",
]

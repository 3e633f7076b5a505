"""A model: what it takes, how that becomes numbers, the network, what it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from models.codecs import TableDecoder, TensorDecoder, decoder_for
from models.errors import InvalidInput
from models.features.inputs import Inputs, RawColumns
from models.features.predictions import Output, Predictions
from models.nn.network import Network
from models.nn.stacked_networks import StackedNetworks
from models.types import Array


class Model:
    """Inputs, networks and output, ready to answer; threads may share it.

    Several networks of one kind answer together: the mean of what each says.
    """

    def __init__(
        self, inputs: Inputs, networks: Sequence[Network], output: Output
    ) -> None:
        for network in networks:
            if inputs.width != network.spec.n_in or network.n_out != output.width:
                raise ValueError(
                    f"inputs of width {inputs.width} and outputs of width "
                    f"{output.width} around a network of {network.spec.n_in} to "
                    f"{network.n_out}"
                )
        self.inputs = inputs
        self.stack = StackedNetworks(networks) if len(networks) > 1 else None
        self.networks = self.stack.networks if self.stack else tuple(networks)
        self.output = output
        self.decoder: TableDecoder | TensorDecoder = decoder_for(inputs)

    def logits(self, raw: RawColumns) -> Array:
        """Return the outputs (E, n, O) of every network for raw rows."""
        X = self.inputs.encode(raw)  # type: ignore[arg-type]
        if self.stack is None:
            return self.networks[0].predict(X)[None]
        return self.stack.predict(X)

    def predict(self, raw: RawColumns) -> Predictions:
        """Answer raw rows; all numbers of the answer are finite.

        Raises InvalidInput where the network's own numbers overflow.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            Z = self.logits(raw)
            answer = self.output.decode(Z)
            numbers = answer.get("value", answer.get("probabilities"))
            assert numbers is not None
            # The logits too: of an infinite one the sigmoid makes a certain 0 or 1. No
            # sum is finite unless all its terms are, and it takes half as long.
            total = np.add.reduce(Z, None) + np.add.reduce(numbers, None)
        if not math.isfinite(total):
            whole = np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
            whole &= np.isfinite(Z).all(axis=(0, 2))
            if not whole.all():
                row = np.flatnonzero(~whole)[0]
                raise InvalidInput(
                    f"row {row}: its numbers are too large for this model"
                )
        return answer

    def answer_json(self, rows: bytes | msgspec.Raw) -> list[Any]:
        """Answer a JSON list of rows: one value, or one object, a row."""
        return by_row(self.predict(self.decoder.rows(rows)))


def by_row(answer: Predictions) -> list[Any]:
    """Turn an answer into one bare value (one output) or one object (several) a row."""
    lists = {name: values.tolist() for name, values in answer.items()}
    if len(lists) == 1:
        (only,) = lists.values()
        return list(only)
    return [
        dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
    ]

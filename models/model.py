"""A model: its signature, its networks, and its predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from models.codecs import Decoder, decoder_for
from models.errors import InvalidInput
from models.features.inputs import Inputs, RawColumns, blocks, encode
from models.features.predictions import Output, Predictions
from models.nn.network import Network
from models.nn.stacked_networks import StackedNetworks
from models.types import Array


class Model:
    """Inputs, networks and output, ready to predict; threads may share it.

    The prediction of several networks is the weighted mean of their predictions.
    """

    def __init__(
        self, inputs: Inputs, networks: Sequence[Network], output: Output
    ) -> None:
        """Raise ValueError if a network does not fit inputs and output."""
        for network in networks:
            if inputs.width != network.spec.n_in or network.n_out != output.width:
                raise ValueError(
                    f"inputs of width {inputs.width} and outputs of width "
                    f"{output.width} around a network of {network.spec.n_in} to "
                    f"{network.n_out}"
                )
        shares = output.weights
        if shares and (len(shares) != len(networks) or abs(sum(shares) - 1.0) > 1e-6):
            raise ValueError(
                f"{len(shares)} weights that add up to {sum(shares):g} for "
                f"{len(networks)} networks: expected one each, adding up to 1"
            )
        self.inputs = inputs
        self.stack = StackedNetworks(networks) if len(networks) > 1 else None
        self.networks = self.stack.networks if self.stack else tuple(networks)
        self.output = output
        self.decoder: Decoder = decoder_for(inputs)

    def logits(self, raw: RawColumns) -> Array:
        """Return the outputs (E, n, O) of E networks for n raw rows."""
        X = encode(self.inputs, raw)
        if self.stack is None:
            return self.networks[0].predict(X)[None]
        return self.stack.predict(X)

    def predict(self, raw: RawColumns, interval: float | None = None) -> Predictions:
        """Return the predictions, all finite, for n raw rows: (n,) or (n, classes).

        With `interval`, a level such as 0.9, also its ends `lower` and `upper` (n,).
        Raises InvalidInput if numbers overflow inside the network, and for an interval
        that the model does not have.
        """
        answers = [
            self._predict(block, interval, start) for start, block in blocks(raw)
        ]
        if len(answers) == 1:
            return answers[0]
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    def _predict(
        self, raw: RawColumns, interval: float | None, start: int
    ) -> Predictions:
        with np.errstate(over="ignore", invalid="ignore"):
            Z = self.logits(raw)
            predictions = self.output.decode(Z, interval)
            numbers = predictions.get("value", predictions.get("probabilities"))
            assert numbers is not None
            # Check the logits too: the sigmoid of an infinite one is finite. A sum is
            # finite only if all its terms are, and takes half as long as np.isfinite.
            total = np.add.reduce(Z, None) + np.add.reduce(numbers, None)
        if not math.isfinite(total):
            finite = np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
            finite &= np.isfinite(Z).all(axis=(0, 2))
            if not finite.all():
                row = start + np.flatnonzero(~finite)[0]
                raise InvalidInput(
                    f"row {row}: its numbers are too large for this model"
                )
        return predictions

    def answer_json(self, rows: bytes | msgspec.Raw) -> list[Any]:
        """Return the predictions for a JSON list of rows: a value or an object a row.

        Raises InvalidInput.
        """
        return by_row(self.predict(self.decoder.rows(rows)))


def by_row(predictions: Predictions) -> list[Any]:
    """Return predictions as one value (of one output) or one object a row."""
    lists = {name: values.tolist() for name, values in predictions.items()}
    if len(lists) == 1:
        (only,) = lists.values()
        return list(only)
    return [
        dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
    ]

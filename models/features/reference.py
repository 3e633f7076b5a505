"""The reference distributions that drift is measured against, stored with a model."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from numpy.typing import NDArray

from models.features.histograms import Histogram, Shares
from models.features.inputs import Inputs, RawColumns, length
from models.features.predictions import Output, Predictions


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distributions of inputs and target in training rows, of held-out predictions.

    `rows` training rows and `answered` held-out predictions were counted.
    """

    inputs: dict[str, Histogram | Shares]
    outputs: dict[str, Histogram | Shares]
    rows: Annotated[int, Meta(ge=0)]
    answered: Annotated[int, Meta(ge=0)]
    target: Histogram | Shares | None = None

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        raw: RawColumns,
        output: Output,
        answer: Predictions,
        target: NDArray[Any] | None = None,
    ) -> Reference:
        """Count raw training rows and predictions.

        `target` (n,) holds class numbers or values.
        """
        return cls(
            inputs=inputs.count(raw),
            outputs={output.main: output.count(output.main_values(answer))},
            rows=length(raw),
            answered=len(next(iter(answer.values()))),
            target=None if target is None else output.count_target(target),
        )

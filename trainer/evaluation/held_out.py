"""The validation rows, answered by networks that have not learnt them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.features.columns import Floats
from models.features.predictions import NetworkWeights
from models.types import Array
from trainer.preparation.prepare import Part, Prepared


class HeldOut(NamedTuple):
    """Held-out rows: the outputs Z (K, n, O) of K networks, targets and weights (n,).

    The K networks have not learnt the rows; `shares` are their weights in the answer.
    Targets are class numbers or standard units. Of a number, `spread` (n,) is how far
    all networks that will answer disagree.
    """

    Z: Array
    target: NDArray[Any]
    weights: Array | None = None
    shares: NetworkWeights = ()
    spread: Floats | None = None


def effective_count(count: int, shares: NetworkWeights) -> float:
    """Return how many networks of equal weight average out as much: 1 / Σ w²."""
    return 1.0 / sum(share**2 for share in shares) if shares else float(count)


def validation_parts(prepared: Prepared) -> list[tuple[Sequence[int], Part]]:
    """Return the validation rows, with the networks that have not learnt them."""
    splits = prepared.splits
    first = splits[0].validation
    same = all(np.array_equal(first, split.validation) for split in splits[1:])
    if prepared.user_validation or same:
        parts = [(range(len(splits)), prepared.validation(splits[0]))]
    else:
        parts = [
            (range(index, index + 1), prepared.validation(split))
            for index, split in enumerate(splits)
        ]
    return [(indices, part) for indices, part in parts if part is not None]

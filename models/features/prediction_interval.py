"""Intervals around a predicted number that hold a stated share of the true values.

Split conformal prediction (Lei et al. 2018, "Distribution-free predictive inference for
regression", arXiv 1604.04173, section 5.2): the errors on rows that were not learnt,
each divided by how far the networks of the ensemble disagree on its row, are sorted. An
interval at level 0.9 reaches as far as nine of ten of them, times the disagreement on
the row that is predicted.
"""

from __future__ import annotations

import msgspec
import numpy as np

from models.errors import InvalidInput
from models.features.columns import Floats

#: The levels that are stored, in percent.
LEVELS = range(50, 100)
#: Floors that are tried, in units of the mean disagreement.
FLOORS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class PredictionInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Half the width of the interval at each level, per unit of disagreement.

    `floor` is added to the disagreement, in standard units, so that networks that agree
    by chance do not promise certainty. `scores` holds one number a level, and ends
    where the rows were too few for a higher level.
    """

    floor: float
    scores: tuple[float, ...]

    @classmethod
    def fit(
        cls, errors: Floats, spread: Floats, floor: float
    ) -> PredictionInterval | None:
        """Return the intervals of absolute errors (n,) and disagreements (n,).

        Returns None if there are too few rows for any level.
        """
        scores = _scores(errors / (spread + floor))
        return cls(floor, scores) if scores else None

    def nearest_level(self, level: float) -> float:
        """Return the stored level that is nearest to one."""
        return min(level, LEVELS[len(self.scores) - 1] / 100)

    def half_width(self, spread: Floats, level: float) -> Floats:
        """Return half the width (n,) at a level, in standard units.

        Raises InvalidInput for a level that the validation rows cannot support.
        """
        highest = LEVELS[len(self.scores) - 1] / 100
        if not LEVELS[0] / 100 <= level <= highest:
            raise InvalidInput(
                f"interval: expected a level from {LEVELS[0] / 100} to {highest}, "
                f"found {level:g}"
            )
        # The next level that is stored, so that no interval is too narrow.
        index = int(np.ceil(level * 100 - 1e-9)) - LEVELS[0]
        return (spread + self.floor) * self.scores[index]


def best_floor(errors: Floats, spread: Floats) -> float:
    """Return the likeliest floor of absolute errors (n,) and disagreements (n,).

    Errors follow Laplace's distribution, with a scale in proportion to disagreement
    plus floor. Without any disagreement it is 1.
    """
    mean = float(spread.mean()) if len(spread) else 0.0
    if not mean:
        return 1.0

    def surprise(floor: float) -> float:
        scale = spread + floor
        usual = max(float(np.mean(errors / scale)), np.finfo(float).tiny)
        return float(np.mean(np.log(scale)) + np.log(usual))

    return min((mean * floor for floor in FLOORS), key=surprise)


def _scores(normalized: Floats) -> tuple[float, ...]:
    """Return the conformal quantile of errors (n,) at each level they can support.

    It is the k-th smallest of n, k = ⌈(n + 1) level⌉, which covers a new row with at
    least that probability.
    """
    ordered, n = np.sort(normalized), len(normalized)
    ranks = [int(np.ceil((n + 1) * level / 100)) for level in LEVELS]
    return tuple(float(ordered[rank - 1]) for rank in ranks if rank <= n)

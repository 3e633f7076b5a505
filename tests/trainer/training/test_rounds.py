"""How much another round of networks is expected to save, against what it does save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from models.features.predictions import Classification, Output, Regression
from models.types import Array
from trainer.training.rounds import ROUND, disagreement, first_round, fit_as_needed

OUTPUTS = [
    Regression(0.0, 1.0),
    Classification(("no", "yes")),
    Classification(("a", "b", "c")),
]


def noisy(output: Output, count: int, noise: float, n: int = 4_000) -> Array:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(n, output.width))
    return (truth + noise * rng.normal(size=(count, *truth.shape))).astype(np.float32)


@pytest.mark.parametrize("output", OUTPUTS)
def test_equal_networks_do_not_disagree(output: Output) -> None:
    Z = np.repeat(noisy(output, 1, 0.0), 4, axis=0)
    assert disagreement(output, Z) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_it_is_what_the_mean_saves(output: Output) -> None:
    Z = noisy(output, 4, 0.3)
    rng = np.random.default_rng(1)
    if isinstance(output, Regression):
        values = output.standard(Z)
        target = values.mean(axis=0) + rng.normal(size=values.shape[1])
        alone = np.mean((values - target) ** 2) / 2
        together = np.mean((values.mean(axis=0) - target) ** 2) / 2
    else:
        P = np.stack([output.probabilities(z) for z in Z])
        mean = P.mean(axis=0)
        target = (mean.cumsum(axis=1) < rng.random((len(mean), 1))).sum(axis=1)
        rows = np.arange(len(target))
        alone = -np.log(P[:, rows, target]).mean()
        together = -np.log(mean[rows, target]).mean()
    # The targets are drawn around the mean, so one sample of them is near.
    assert disagreement(output, Z) == pytest.approx(alone - together, rel=0.3)


@pytest.mark.parametrize("output", OUTPUTS)
def test_it_grows_with_the_noise(output: Output) -> None:
    little, much = (disagreement(output, noisy(output, 4, s)) for s in (0.1, 0.5))
    assert 0.0 < little < much


# Rounds.


def asked(
    least: float, gains: Sequence[float], epoch: int | None = None
) -> tuple[list[list[int]], list[int | None]]:
    """Return the numbers and the last epoch of each round.

    More networks save the shares `gains`; the first round chooses `epoch`, if any.
    """
    rounds: list[list[int]] = []
    last: list[int | None] = []
    left = iter(gains)

    def fit(numbers: Sequence[int], until: int | None) -> list[int]:
        rounds.append(list(numbers))
        last.append(until)
        return list(numbers)

    epoch_of = (lambda fitted: epoch) if epoch else None
    fitted = fit_as_needed(10, ROUND, least, fit, lambda fitted: next(left), epoch_of)
    assert fitted == [number for numbers in rounds for number in numbers]
    return rounds, last


def test_all_are_fitted_at_once_if_nothing_has_to_be_decided() -> None:
    assert asked(0.0, []) == ([list(range(10))], [None])


def test_the_first_round_chooses_the_epoch_of_the_others() -> None:
    first, second, third = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]
    assert asked(0.0, [], 7) == ([first, second + third], [None, 7])
    assert asked(0.1, [0.2, 0.2], 7) == ([first, second, third], [None, 7, 7])


def test_of_few_rows_more_networks_choose() -> None:
    assert (first_round(999), first_round(1_000)) == (8, 4)


def test_networks_are_added_while_they_pay() -> None:
    first, second, third = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]
    assert len(first) == ROUND
    assert asked(0.1, [0.05])[0] == [first]
    assert asked(0.1, [0.1, 0.05])[0] == [first, second]
    assert asked(0.1, [0.2, 0.1])[0] == [first, second, third]

"""How much another round of networks is expected to save, against what it does save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from models.features.predictions import Classification, Output, Regression
from models.types import Array
from trainer.config.defaults import DataFacts, choose_split, choose_training
from trainer.config.schema import Config, ResolvedConfig
from trainer.training.history import History
from trainer.training.rounds import ROUND, disagreement, fit_as_needed

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


# Runs and rounds.


@dataclass
class Fitted:
    number: int
    history: History


class Curve:
    """Fits nothing: the losses of a run come from a function of the share done."""

    def __init__(self, *, gains: bool, gain: float) -> None:
        self.gains, self.gain, self.out_of_time = gains, gain, False
        self.calls: list[tuple[list[int], int]] = []

    def fit(self, numbers: Sequence[int], epochs: int) -> list[Fitted]:
        self.calls.append((list(numbers), epochs))
        best = epochs if self.gains else 3
        losses = [1.0 + 0.1 * abs(epoch - best) for epoch in range(1, epochs + 1)]
        if self.gains:
            losses = [loss - 0.001 * epochs for loss in losses]
        history = History(planned=epochs, loss=losses, validation_loss=losses)
        history.out_of_time = self.out_of_time
        return [Fitted(number, history) for number in numbers]

    def gain_of_more(self, fitted: Sequence[Fitted]) -> float:
        return self.gain


def resolved() -> ResolvedConfig:
    facts = DataFacts(2_000, "binary")
    split, _ = choose_split(Config(), facts, False)
    return choose_training(split, facts)[0]


def asked(curve: Curve) -> list[int]:
    fitted = fit_as_needed(resolved(), 8, curve.fit, curve.gain_of_more)
    return [one.number for one in fitted]


def test_noise_gets_short_runs_and_one_round() -> None:
    curve, train = Curve(gains=False, gain=0.0), resolved().train
    assert asked(curve) == [0, 1, 2, 3]
    assert curve.calls == [([0, 1, 2, 3], train.short_epochs)]
    assert train.short_epochs == -(-train.epochs // 4)


def test_a_law_gets_full_runs_and_all_networks() -> None:
    curve, train = Curve(gains=True, gain=0.5), resolved().train
    assert asked(curve) == list(range(8))
    first, second = [0, 1, 2, 3], [4, 5, 6, 7]
    assert curve.calls == [
        (first, train.short_epochs),
        (first, train.epochs),
        (second, train.epochs),
    ]
    assert len(first) == ROUND


def test_a_short_run_that_the_time_limit_ended_is_the_last() -> None:
    curve = Curve(gains=True, gain=0.5)
    curve.out_of_time = True
    assert asked(curve) == list(range(8))
    assert {epochs for _, epochs in curve.calls} == {resolved().train.short_epochs}

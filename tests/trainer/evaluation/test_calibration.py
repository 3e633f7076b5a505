"""The temperature that held-out rows ask for, and no more than they can tell."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.features.predictions import Classification
from trainer.evaluation.calibration import LIMIT, HeldOut, calibrated
from trainer.evaluation.metrics import expected_calibration_error

TWO = Classification(("no", "yes"))
THREE = Classification(("a", "b", "c"))


def drawn(
    output: Classification, n: int, true_t: float, seed: int = 0, members: int = 1
) -> HeldOut:
    """Logits that are `true_t` times too far out for the classes drawn from them."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(0, 2, (n, output.width)).astype(np.float32)
    P = output.probabilities(Z)
    target = (P.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return HeldOut(np.stack([Z * true_t] * members), target)


def log_loss(output: Classification, part: HeldOut) -> float:
    P = output.decode(part.Z)["probabilities"]
    return float(-np.log(P[np.arange(len(P)), part.target]).mean())


@pytest.mark.parametrize("output", [TWO, THREE])
@pytest.mark.parametrize("true_t", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(
    output: Classification, true_t: float
) -> None:
    part = drawn(output, 20_000, true_t)
    found = calibrated(output, [part], 1)
    assert found.temperature == pytest.approx(true_t, rel=0.05)
    fresh = drawn(output, 20_000, true_t, seed=1)
    assert log_loss(found, fresh) <= log_loss(output, fresh) + 1e-4
    P = found.decode(fresh.Z)["probabilities"]
    assert expected_calibration_error(P, fresh.target) < 0.02


def test_it_is_the_lowest_of_a_fine_grid() -> None:
    part = drawn(TWO, 3_000, 1.7)
    found = calibrated(TWO, [part], 1)

    def penalized(t: float) -> float:
        warm = msgspec.structs.replace(TWO, temperature=t)
        return log_loss(warm, part) * 3_000 + (np.log(t) / 0.25) ** 2 / 2

    grid = np.exp(np.linspace(-1, 1, 2_001))
    assert found.temperature == pytest.approx(
        grid[np.argmin([penalized(t) for t in grid])], rel=2e-3
    )


def test_few_rows_say_little() -> None:
    few, many = (calibrated(TWO, [drawn(TWO, n, 3.0)], 1) for n in (5, 5_000))
    assert 1.0 < few.temperature < many.temperature


def test_right_answers_alone_do_not_make_it_certain() -> None:
    Z = np.array([[-9.0], [9.0]] * 20, np.float32)
    found = calibrated(TWO, [HeldOut(Z[None], np.array([0, 1] * 20))], 1)
    assert 1 / LIMIT < found.temperature < 1.0
    assert found.decode(np.full((1, 1, 1), 1e3))["probabilities"].max() <= 1.0


def test_one_sure_mistake_asks_for_smoothing() -> None:
    Z = np.full((1, 50, 1), 40.0, np.float32)
    target = np.array([0] + [1] * 49)
    found = calibrated(TWO, [HeldOut(Z, target)], 1)
    assert found.smoothing == pytest.approx(1 / 51)
    right = HeldOut(Z, np.ones(50, np.intp))
    assert calibrated(TWO, [right], 1).smoothing == 0.0


def test_what_one_of_many_is_too_sure_of_shrinks_with_their_mean() -> None:
    part = drawn(TWO, 10_000, 2.0)
    alone = calibrated(TWO, [part], 1)
    together = calibrated(TWO, [part], 5)
    assert np.log(together.temperature) == pytest.approx(
        np.log(alone.temperature) / 5, rel=1e-3
    )
    # Where all of them answered, what they say together is what is calibrated.
    all_five = calibrated(TWO, [drawn(TWO, 10_000, 2.0, members=5)], 5)
    assert all_five.temperature == pytest.approx(alone.temperature, rel=1e-3)


def test_parts_count_by_their_rows() -> None:
    one, two = drawn(THREE, 300, 1.5), drawn(THREE, 900, 1.5, seed=1)
    both = HeldOut(
        np.concatenate([one.Z, two.Z], axis=1),
        np.concatenate([one.target, two.target]),
    )
    assert calibrated(THREE, [one, two], 1) == calibrated(THREE, [both], 1)


def test_a_row_of_weight_two_counts_as_two() -> None:
    part = drawn(TWO, 400, 1.5)
    weights = np.where(np.arange(400) < 150, 2.0, 1.0)
    twice = np.repeat(np.arange(400), weights.astype(int))
    weighted = calibrated(TWO, [part._replace(weights=weights)], 1)
    repeated = calibrated(TWO, [HeldOut(part.Z[:, twice], part.target[twice])], 1)
    # The prior counts rows, and weights are 1 on average.
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=0.02)


def test_without_rows_nothing_changes() -> None:
    none = HeldOut(np.empty((1, 0, 1), np.float32), np.empty(0, np.intp))
    assert calibrated(TWO, [none], 1) is TWO


@given(st.integers(1, 60), st.integers(0, 10_000), st.sampled_from([1e-6, 1.0, 1e6]))
def test_any_logits_give_an_output_that_a_manifest_holds(
    n: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    Z = (rng.normal(size=(2, n, 3)) * scale).astype(np.float32)
    found = calibrated(THREE, [HeldOut(Z, rng.integers(0, 3, n))], 2)
    again = msgspec.json.decode(msgspec.json.encode(found), type=Classification)
    assert again == found
    assert 1 / LIMIT <= found.temperature <= LIMIT
    assert np.isfinite(found.decode(Z)["probabilities"]).all()

"""Each rule against its formula as the paper writes it, one number at a time."""

from __future__ import annotations

import inspect
import math
import tracemalloc
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.config.schema import TrainConfig
from trainer.optimization import optimizers
from trainer.optimization.optimizers import (
    ALIKE,
    OPTIMIZERS,
    Adam,
    OptimizerName,
    clip_by_norm,
)

Vector = NDArray[Any]
RULES = pytest.mark.parametrize("rule", OPTIMIZERS)
RATE, DECAY = 0.05, 0.3
#: Weight decay reaches the first two of these four.
DECAYED = np.array([1.0, 1.0, 0.0, 0.0])


def plain(p: float, steps: list[float]) -> float:
    for g in steps:
        p = p - RATE * g
    return p


def momentum(p: float, steps: list[float]) -> float:
    v = 0.0
    for g in steps:
        v = 0.9 * v + g
        p = p - RATE * v
    return p


def nesterov(p: float, steps: list[float]) -> float:
    v = 0.0
    for g in steps:
        v = 0.9 * v + g
        p = p - RATE * (g + 0.9 * v)
    return p


def rmsprop(p: float, steps: list[float]) -> float:
    s = 0.0
    for g in steps:
        s = 0.9 * s + 0.1 * g * g
        p = p - RATE * g / (math.sqrt(s) + 1e-8)
    return p


def adam(p: float, steps: list[float], shrink: float = 0.0) -> float:
    m = s = 0.0
    for t, g in enumerate(steps, 1):
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g * g
        m_hat, s_hat = m / (1 - 0.9**t), s / (1 - 0.999**t)
        p = p - RATE * (m_hat / (math.sqrt(s_hat) + 1e-8) + shrink * p)
    return p


REFERENCE: dict[OptimizerName, Callable[[float, list[float]], float]] = {
    "gradient_descent": plain,
    "momentum": momentum,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
}


def run(rule: OptimizerName, p: Vector, G: Vector, decay: float, dtype: type) -> Vector:
    p = p.astype(dtype)
    optimizer = OPTIMIZERS[rule](len(p), DECAYED.astype(dtype), decay)
    for g in G.astype(dtype):
        optimizer.step(p, g.copy(), RATE)
    return p


@pytest.fixture
def start() -> Vector:
    return np.array([1.0, -2.0, 0.5, 3.0])


@pytest.fixture
def gradients() -> Vector:
    return np.random.default_rng(1).normal(size=(7, 4))


@RULES
@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_steps_are_the_formulas(
    rule: OptimizerName, dtype: type, close: float, start: Vector, gradients: Vector
) -> None:
    expected = [
        REFERENCE[rule](p, g.tolist()) for p, g in zip(start, gradients.T, strict=True)
    ]
    found = run(rule, start, gradients, 0.0, dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=close)


@pytest.mark.parametrize("rule", [r for r in OPTIMIZERS if r != "adamw"])
def test_weight_decay_is_the_gradient_of_a_penalty(
    rule: OptimizerName, start: Vector, gradients: Vector
) -> None:
    # The penalty needs p before each step: take the steps one by one.
    p = start.copy()
    seen: list[list[float]] = [[] for _ in start]
    for row in gradients:
        for i, g in enumerate(row.tolist()):
            seen[i].append(g + DECAY * DECAYED[i] * p[i])
            p[i] = REFERENCE[rule](start[i], seen[i])
    found = run(rule, start, gradients, DECAY, np.float64)
    np.testing.assert_allclose(found, p, rtol=1e-10)


def test_adamw_shrinks_weights_apart_from_the_gradient(
    start: Vector, gradients: Vector
) -> None:
    expected = [
        adam(p, g.tolist(), DECAY * decayed)
        for p, g, decayed in zip(start, gradients.T, DECAYED, strict=True)
    ]
    found = run("adamw", start, gradients, DECAY, np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@RULES
def test_weight_decay_moves_weights_and_leaves_biases(
    rule: OptimizerName, start: Vector
) -> None:
    found = run(rule, start, np.zeros((5, 4)), DECAY, np.float64)
    assert (np.abs(found[:2]) < np.abs(start[:2])).all()
    np.testing.assert_array_equal(found[2:], start[2:])


@RULES
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_each_parameter_has_its_own_factor_of_the_rate(
    rule: OptimizerName, decay: float, start: Vector, gradients: Vector
) -> None:
    rates = np.array([1.0, 0.1, 6.0, 0.0])
    found = start.copy()
    optimizer = OPTIMIZERS[rule](4, DECAYED, decay, rates)
    # The same, one parameter at a time, with the factor in the learning rate.
    alone = [
        (OPTIMIZERS[rule](1, DECAYED[i : i + 1], decay), start[i : i + 1].copy())
        for i in range(4)
    ]
    for g in gradients:
        optimizer.step(found, g.copy(), RATE)
        for i, (one, p) in enumerate(alone):
            if one.__class__ is OPTIMIZERS["adamw"] and decay:
                # It shrinks by the rate itself: the factor is for the direction.
                p -= RATE * decay * DECAYED[i] * p
                one.weight_decay = 0.0
            one.step(p, g[i : i + 1].copy(), RATE * rates[i])
    expected = np.concatenate([p for _, p in alone])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@RULES
def test_rates_of_one_change_nothing(
    rule: OptimizerName, start: Vector, gradients: Vector
) -> None:
    found = []
    for rates in (None, np.ones(4)):
        p = start.copy()
        optimizer = OPTIMIZERS[rule](4, DECAYED, DECAY, rates)
        for g in gradients:
            optimizer.step(p, g.copy(), RATE)
        found.append(p)
    np.testing.assert_array_equal(*found)


@RULES
def test_blocks_change_no_number(
    rule: OptimizerName,
    start: Vector,
    gradients: Vector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = np.array([1.0, 0.1, 6.0, 2.0])
    found = []
    for block in (1, 3, 4, 100):
        monkeypatch.setattr(optimizers, "BLOCK", block)
        p = start.copy()
        optimizer = OPTIMIZERS[rule](4, DECAYED, DECAY, rates)
        for g in gradients:
            optimizer.step(p, g.copy(), RATE)
        found.append(p)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@RULES
@pytest.mark.parametrize("rated", [False, True])
def test_a_step_allocates_no_vector(rule: OptimizerName, rated: bool) -> None:
    n = 1 << 20
    p, g = np.ones(n, np.float32), np.ones(n, np.float32)
    rates = np.ones(n, np.float32) if rated else None
    optimizer = OPTIMIZERS[rule](n, np.ones(n, np.float32), DECAY, rates)
    tracemalloc.start()
    optimizer.step(p, g, RATE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n
    assert (p < 1).all()


def ravine(rule: OptimizerName, steps: int = 60) -> float:
    """Return the height after some steps down x²/2 + 100 y²/2."""
    slope = np.array([1.0, 100.0])
    p = np.array([10.0, 1.0])
    optimizer = OPTIMIZERS[rule](2, np.zeros(2))
    for _ in range(steps):
        optimizer.step(p, slope * p, 0.01)
    return float((slope * p * p).sum() / 2)


@pytest.mark.parametrize("rule", ["momentum", "nesterov"])
def test_speed_gathers_along_a_ravine(rule: OptimizerName) -> None:
    assert ravine(rule) < ravine("gradient_descent") / 5


@pytest.mark.parametrize("limit", [0.1, 1.0, 4.9])
def test_clip_shortens_a_long_gradient_and_keeps_its_direction(limit: float) -> None:
    g = np.array([3.0, -4.0])
    assert clip_by_norm(g, limit) == 5.0
    np.testing.assert_allclose(g, [0.6 * limit, -0.8 * limit])


@pytest.mark.parametrize("limit", [5.0, 6.0])
def test_clip_leaves_a_short_gradient(limit: float) -> None:
    g = np.array([3.0, -4.0])
    assert clip_by_norm(g, limit) == 5.0
    np.testing.assert_array_equal(g, [3.0, -4.0])


def test_clip_leaves_a_zero_gradient() -> None:
    g = np.zeros(3)
    assert clip_by_norm(g, 1.0) == 0.0
    np.testing.assert_array_equal(g, 0.0)


def test_clip_holds_where_the_square_overflows() -> None:
    g = np.full(4, 1e30, np.float32)
    assert clip_by_norm(g, 1.0) == pytest.approx(2e30)
    np.testing.assert_allclose(g, 0.5, rtol=1e-6)


@RULES
def test_what_has_long_been_zero_is_forgotten_before_it_is_subnormal(
    rule: OptimizerName,
) -> None:
    """Fading for ever it would become numbers that are slow to compute with."""
    n = 300
    rng = np.random.default_rng(0)
    optimizer = OPTIMIZERS[rule](n, np.ones(n, np.float32))
    parameters = np.zeros(n, np.float32)
    gradients = rng.normal(size=n).astype(np.float32)
    optimizer.step(parameters, gradients.copy(), 0.1)
    alive = np.arange(n) % 3 == 0
    for _ in range(1_500):
        optimizer.step(parameters, np.where(alive, gradients, 0), 1e-4)
        for name in optimizer.state_names:
            memory = np.abs(getattr(optimizer, name))
            assert not ((memory > 0) & (memory < np.finfo(np.float32).tiny)).any()
    for name in optimizer.state_names:
        memory = getattr(optimizer, name)
        assert (memory[alive] != 0).all()
        if name != "squares":  # which remember for longer
            assert (memory[~alive] == 0).all()


def test_a_network_without_decay_is_one_kind_of_parameters() -> None:
    decay = np.repeat([1.0, 0.0], [ALIKE, 8]).astype(np.float32)
    assert len(Adam(len(decay), decay)._blocks) == 1
    assert len(Adam(len(decay), decay, 0.1)._blocks) == 2


def test_every_optimizer_declares_its_name_settings_and_learning_rate() -> None:
    assert set(get_args(OptimizerName)) == set(OPTIMIZERS)
    for rule in OPTIMIZERS.values():
        assert rule.default_learning_rate > 0
        assert set(rule.settings) <= {*TrainConfig.__struct_fields__}
        assert set(rule.settings) <= {*inspect.signature(rule).parameters}

"""Integrals along paths against closed forms, and what they must sum to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.quadrature import (
    HALVINGS,
    NODES,
    TOLERANCE,
    Floats,
    Panels,
    Rule,
    integrate,
    points,
)

Curve = Callable[[Floats], Floats]


def rule(function: Curve, slopes: list[Curve], calls: list[int] | None = None) -> Rule:
    """Sum the slopes of one function over panels, as a model's pass does."""
    at, weights = points()

    def of(panels: Panels) -> tuple[Floats, Floats]:
        if calls is not None:
            calls.append(len(panels.row))
        t = panels.start[:, None] + panels.width[:, None] * at
        scaled = weights * panels.width[:, None]
        parts = [(slope(t) * scaled).sum(axis=1) for slope in slopes]
        middle = panels.start + panels.width / 2
        return np.stack(parts, axis=1), function(middle)

    return of


def knots(function: Curve, panels: int = 2) -> Floats:
    return function(np.linspace(0, 1, panels + 1))[None]


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=2 * NODES - 1))
@settings(deadline=None, max_examples=50)
def test_a_polynomial_is_exact_on_the_first_panels(coefficients: list[float]) -> None:
    slope = np.polynomial.Polynomial(coefficients)
    whole = slope.integ()
    calls: list[int] = []
    found = integrate(rule(whole, [slope], calls), knots(whole), 1e-9)
    assert calls == [2]
    np.testing.assert_allclose(found, [[whole(1.0) - whole(0.0)]], atol=1e-9)


def test_panels_are_halved_where_the_function_bends() -> None:
    """A step of width 1/1000, which no panel of five points can see."""
    steep: Curve = lambda t: np.tanh(1000 * (t - 0.3))  # noqa: E731
    slope: Curve = lambda t: 1000 / np.cosh(1000 * (t - 0.3)) ** 2  # noqa: E731
    even: Curve = lambda t: np.ones_like(t)  # noqa: E731
    both: Curve = lambda t: steep(t) + t  # noqa: E731
    calls: list[int] = []
    with np.errstate(over="ignore"):
        found = integrate(rule(both, [slope, even], calls), knots(both), 0.0)
    np.testing.assert_allclose(found, [[2.0, 1.0]], rtol=2 * TOLERANCE)
    assert 1 < len(calls) <= HALVINGS + 1
    assert sum(calls) < 40  # and only there


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=30))
@settings(deadline=None, max_examples=50)
def test_parts_with_kinks_sum_to_the_change(kinks: list[float]) -> None:
    """As of ReLUs that wake on the way: each part's slope jumps from 0 to 1."""
    bends = np.array(kinks)
    slopes: list[Curve] = [
        lambda t, bend=bend: (t > bend).astype(float)  # type: ignore[misc]
        for bend in bends
    ]
    whole: Curve = lambda t: np.maximum(t[..., None] - bends, 0).sum(-1)  # noqa: E731
    found = integrate(rule(whole, slopes), knots(whole), 0.0)
    assert found.sum() == pytest.approx(whole(np.ones(1))[0], rel=1e-9)
    np.testing.assert_allclose(found[0], 1 - bends, atol=0.2 * (1 - bends).sum())


def test_a_part_that_does_nothing_is_exactly_nothing() -> None:
    bend: Curve = lambda t: np.abs(t - 1 / 3)  # noqa: E731
    slopes: list[Curve] = [lambda t: np.sign(t - 1 / 3), np.zeros_like]
    found = integrate(rule(bend, slopes), knots(bend), 0.0)
    assert found[0, 1] == 0.0


def test_a_wrong_slope_is_not_covered_up() -> None:
    line: Curve = lambda t: t  # noqa: E731
    found = integrate(rule(line, [lambda t: np.full_like(t, 0.9)]), knots(line), 0.0)
    np.testing.assert_allclose(found, [[0.9]])


def test_what_is_not_a_number_ends() -> None:
    lost: Curve = lambda t: np.full_like(t, np.nan)  # noqa: E731
    calls: list[int] = []
    found = integrate(rule(lost, [lost], calls), np.zeros((1, 3)), 0.0)
    assert np.isnan(found).all()
    assert calls == [2]

"""A network that is a linear model, to the last digits of float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.features.predictions import Classification, Output, Regression
from models.features.table import Layout
from models.nn.architectures import mlp, realmlp
from models.nn.network import NetworkSpec
from models.types import Array
from trainer.evaluation.linear_model import fit_linear, one_hot
from trainer.training.linear_member import fit_linear_network, fits_linear
from trainer.types import Rows

CATEGORIES = (11, 12)
OUTPUTS = [
    Regression(0.0, 1.0),
    Classification(("no", "yes")),
    Classification(("a", "b", "c")),
]


def encoded(n: int = 200) -> Array:
    rng = np.random.default_rng(0)
    numbers, codes = rng.normal(size=(n, 5)), rng.integers(0, 11, (n, 2))
    return np.column_stack([numbers, codes]).astype(np.float32)


def targets(output: Output, X: Array) -> Any:
    if isinstance(output, Regression):
        return X[:, 0] - X[:, 4] + 0.1 * X[:, 5]
    limits = np.linspace(-1, 1, len(output.classes) + 1)[1:-1]
    return np.digitize(X[:, 0], limits)


def spec(output: Output, hidden: list[int], function: Any = "mish") -> NetworkSpec:
    layout = Layout(3, 2, CATEGORIES)
    return realmlp(layout, hidden, output.width, function, dropout=0.1)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", [[], [4], [8, 8, 8]])
@pytest.mark.parametrize("function", ["mish", "selu"])
def test_it_answers_as_the_linear_model(
    output: Output, hidden: list[int], function: Any
) -> None:
    X = encoded()
    T = targets(output, X)
    network = fit_linear_network(spec(output, hidden, function), output, Rows(X, T))
    model = fit_linear(output, X, CATEGORIES, T, None)
    assert network is not None and model is not None
    X[0, 5:] = -1  # unknown categories
    Z = model.predict(one_hot(X, CATEGORIES))
    if output.task == "binary":
        Z = Z[:, 1:] - Z[:, :1]
    np.testing.assert_allclose(network.predict(X), Z, atol=1e-4)


def test_the_mean_of_two_is_a_linear_model_too() -> None:
    X, output = encoded(), OUTPUTS[2]
    halves = [Rows(part, targets(output, part)) for part in (X[:100], X[100:])]
    shape = spec(output, [8, 8])
    one, two = (fit_linear_network(shape, output, rows) for rows in halves)
    assert one is not None and two is not None
    mean = (one.predict(X) + two.predict(X)) / 2
    one.parameters[...] = (one.parameters + two.parameters) / 2
    np.testing.assert_allclose(one.predict(X), mean, atol=1e-5)


def test_a_network_without_room_is_none() -> None:
    three = OUTPUTS[2]
    assert not fits_linear(spec(three, [2, 8]))
    assert not fits_linear(mlp([5, 8, 1]))
    many = Classification(tuple(range(9)))  # a wide category has 8 numbers
    assert not fits_linear(spec(many, [16]))
    assert fit_linear_network(spec(three, [2]), three, Rows(encoded(), None)) is None

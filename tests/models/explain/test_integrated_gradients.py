"""Attributions against a plain sum of differences, and what they promise."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.explain.integrated_gradients import Explainer, Explanation
from models.features.predictions import Classification, Regression
from models.features.table import TableInput
from models.features.tensor import TensorInput
from models.nn.architectures import mlp
from models.nn.layers import EmbeddingsSpec, LinearSpec
from models.nn.network import NetworkSpec
from models.storage.artefact import load
from tests.models.conftest import Made, make

NODES, STEP = 400, 1e-4


@pytest.fixture
def explainer(made: Made) -> Explainer:
    return Explainer(load(made.dump()))


def integrated_differences(made: Made, explainer: Explainer, wanted: int) -> Any:
    """Sum central differences in float64 over many even steps of the path.

    Nothing of the code under test but its baseline: answers come from `predict` of the
    networks, which computes in float64 what it is given in float64.
    """
    model = made.model
    front = isinstance(made.manifest.network.layers[0], EmbeddingsSpec)

    def inner(network: Any, X: Any) -> Any:
        return network.layers[0].predict(X) if front else X

    def number(places: list[Any]) -> Any:
        Z = []
        for network, X in zip(model.networks, places, strict=True):
            for layer in network.layers[int(front) :]:
                X = layer.predict(X)
            Z.append(X)
        answer = model.output.decode(np.stack(Z))
        return answer["value"] if "value" in answer else answer["probabilities"]

    encode: Any = model.inputs.encode
    X, start = encode(made.raw).astype(float), encode(explainer.baseline).astype(float)
    ends = [inner(network, X) for network in model.networks]
    starts = [inner(network, start) for network in model.networks]
    owners = owner_of(made)
    found = np.zeros((len(X), max(owners) + 1))
    t = ((np.arange(NODES) + 0.5) / NODES)[:, None]
    for row in range(len(X)):
        path = [s + t * (e[row] - s) for s, e in zip(starts, ends, strict=True)]
        for member in range(len(path)):
            for feature, owner in enumerate(owners):
                sides = []
                for step in (STEP, -STEP):
                    moved = [p.copy() for p in path]
                    moved[member][:, feature] += step
                    answer = number(moved)
                    sides.append(answer if answer.ndim == 1 else answer[:, wanted])
                slope = (sides[0] - sides[1]).mean() / (2 * STEP)
                change = ends[member][row, feature] - starts[member][0, feature]
                found[row, owner] += slope * change
    return found


def owner_of(made: Made) -> list[int]:
    """Which column, or pixel, each inner input belongs to."""
    inputs, front = made.manifest.inputs, made.manifest.network.layers[0]
    if not isinstance(inputs, TableInput):
        return list(range(inputs.width))
    order = [column.name for column in inputs.columns]
    names = inputs.feature_names()
    if isinstance(front, EmbeddingsSpec):
        widths = [front.number_width] * front.numbers + [1] * front.plain
        widths += [front.category_width] * len(front.categories)
        names = [n for n, w in zip(names, widths, strict=True) for _ in range(w)]
    return [order.index(name) for name in names]


def test_attributions_are_integrated_differences(
    made: Made, explainer: Explainer
) -> None:
    output = made.model.output
    target = output.classes[1] if isinstance(output, Classification) else None
    found = explainer.explain(made.raw, target).attributions
    expected = integrated_differences(made, explainer, 1)
    size = np.abs(expected).sum(axis=1, keepdims=True)
    width = expected.shape[1]
    assert (np.abs(found[:, :width] - expected) <= 1e-2 * size + 1e-6).all()
    assert (found[:, width:] == 0).all()


def sizes(found: Explanation) -> Any:
    """The sum of the absolute attributions of each row."""
    return np.abs(found.attributions).sum(axis=1)


def test_attributions_sum_to_the_change(made: Made, explainer: Explainer) -> None:
    found = explainer.explain(made.raw)
    change = found.output - found.baseline_output
    assert np.abs(change).max() > 1e-3
    total = found.attributions.sum(axis=1)
    np.testing.assert_array_equal(found.completeness_error, total - change)
    assert (abs(found.completeness_error) <= 0.01 * sizes(found)).all()


def test_the_output_is_what_is_answered(made: Made, explainer: Explainer) -> None:
    found, answer = explainer.explain(made.raw), made.model.predict(made.raw)
    there = made.model.predict(explainer.baseline)
    if "value" in answer:
        np.testing.assert_allclose(found.output, answer["value"], rtol=1e-6)
        np.testing.assert_allclose(found.baseline_output, there["value"][0], rtol=1e-6)
        assert found.targets == ["value"] * 6
        return
    P, classes = answer["probabilities"], made.model.output.classes  # type: ignore[union-attr]
    assert found.targets == answer["label"].tolist()
    np.testing.assert_allclose(found.output, P.max(axis=1), rtol=1e-6)
    for label, output in zip(found.targets, found.baseline_output, strict=True):
        expected = there["probabilities"][0, classes.index(label)]
        assert output == pytest.approx(expected, rel=1e-6)


def test_two_classes_gain_what_the_other_loses(ensemble: Made) -> None:
    explainer = Explainer(load(ensemble.dump()))
    yes, no = (explainer.explain(ensemble.raw, name) for name in ("yes", "no"))
    np.testing.assert_allclose(yes.attributions, -no.attributions, atol=2e-3)
    assert yes.targets == ["yes"] * 6


@pytest.mark.parametrize("name", ["classifier", "regressor", "ensemble"])
def test_a_column_that_does_not_vary_is_given_exactly_nothing(
    name: str, request: pytest.FixtureRequest
) -> None:
    table: Made = request.getfixturevalue(name)
    for row in Explainer(load(table.dump())).explain(table.raw).reply()["explanations"]:
        assert row["attributions"]["planet"] == 0.0
        assert list(row["attributions"]) == list(table.raw)


def test_the_baseline_is_given_nothing(made: Made, explainer: Explainer) -> None:
    found = explainer.explain(explainer.baseline)
    assert (found.attributions == 0).all()
    np.testing.assert_array_equal(found.output, found.baseline_output)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 70), st.integers(0, 99))
def test_a_linear_model_is_weight_times_difference(
    height: int, width: int, n: int, seed: int
) -> None:
    """... which is what central differences on it give, whatever the shape."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(5, 3, (n, height, width)).astype(np.float32)
    inputs = TensorInput.fit(raw if n > 1 else np.concatenate([raw, raw + 1]))
    spec = NetworkSpec(inputs.width, (LinearSpec(inputs.width, 1),))
    made = make(inputs, raw, spec, Regression(100.0, 20.0))
    explainer = Explainer(load(made.dump()))
    found = explainer.explain(raw)
    assert found.attributions.shape == (n, height * width)
    start: Any = explainer.baseline
    network = made.model.networks[0]
    for place in range(height * width):
        sides = []
        for step in (1.0, -1.0):
            X = inputs.encode(raw).astype(float)
            X[:, place] += step
            sides.append(made.model.output.decode(network.predict(X)[None])["value"])
        slope = (sides[0] - sides[1]) / 2
        moved = (inputs.encode(raw) - inputs.encode(start))[:, place]
        np.testing.assert_allclose(
            found.attributions[:, place], slope * moved, rtol=1e-3, atol=1e-3
        )
    nested = found.reply()["explanations"][0]["attributions"]
    assert np.shape(nested) == (height, width)


def test_threads_may_share_it(ensemble: Made) -> None:
    explainer = Explainer(load(ensemble.dump()))
    alone = explainer.explain(ensemble.raw).attributions
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(explainer.explain, ensemble.raw) for _ in range(20)]
    for job in jobs:
        np.testing.assert_array_equal(job.result().attributions, alone)


def test_an_input_that_the_network_cannot_see_is_given_exactly_nothing(
    imager: Made,
) -> None:
    """... however much it varies."""
    artefact = load(imager.dump())
    first = imager.network.layers[0]
    first.W[4] = 0.0  # type: ignore[attr-defined]
    blind = msgspec.structs.replace(artefact, model=imager.model)
    found = Explainer(blind).explain(imager.raw)
    assert (found.attributions[:, 4] == 0.0).all()
    assert (np.delete(found.attributions, 4, axis=1) != 0.0).any(axis=0).all()


def test_it_costs_no_numbers_of_its_own(ensemble: Made) -> None:
    artefact = load(ensemble.dump())
    explainer = Explainer(artefact)
    assert len(explainer._networks) == 3
    for ours, whole in zip(explainer._networks, artefact.model.networks, strict=True):
        assert np.shares_memory(ours.parameters, whole.parameters)


def test_it_keeps_nothing_of_what_it_computed(ensemble: Made) -> None:
    explainer = Explainer(load(ensemble.dump()))
    raw: Any = {
        name: np.tile(values, 20) if isinstance(values, np.ndarray) else [*values] * 20
        for name, values in ensemble.raw.items()
    }
    explainer.explain(raw)  # what is made once
    tracemalloc.start()
    try:
        for _ in range(3):
            explainer.explain(raw)
            kept, most = tracemalloc.get_traced_memory()
        assert kept < most / 20
    finally:
        tracemalloc.stop()


def test_activations_are_those_of_the_first_network(
    made: Made, explainer: Explainer
) -> None:
    network = made.model.networks[0]
    encode: Any = made.model.inputs.encode
    rows = explainer.activations(made.raw)
    Z = network.predict(encode(made.raw))
    assert len(rows) == 6
    for row, z in zip(rows, Z, strict=True):
        np.testing.assert_allclose(row[-1]["values"], z, rtol=1e-6)
        names = [layer["layer"] for layer in row]
        assert len(set(names)) == len(names)
        assert not any("dropout" in name for name in names)


def test_numbers_too_large_are_told(regressor: Made) -> None:
    artefact = load(regressor.dump())
    regressor.network.parameters[...] = 3e38
    huge = msgspec.structs.replace(artefact, model=regressor.model)
    with pytest.raises(InvalidInput, match=r"row \d: its numbers are too large"):
        Explainer(huge).explain(regressor.raw)


def test_a_class_is_found_as_it_is_spelled() -> None:
    digits = Classification((0, 1, 10))
    assert digits.class_number(None) is None
    assert (
        digits.class_number(10)
        == digits.class_number("10")
        == digits.class_number(10.0)
        == 2
    )
    truth = Classification((False, True))
    assert truth.class_number(True) == truth.class_number("true") == 1
    assert Regression(0.0, 1.0).class_number("value") is None


@pytest.mark.parametrize(
    ("output", "target", "said"),
    [
        (Classification(("good", "bad")), "goood", "did you mean 'good'?"),
        (Classification((0, 1)), True, "there is no class 'true'; there are 0, 1$"),
        (Classification(tuple(range(10))), "x", "there are 0, 1, 2, 3, 4, 5, 6, 7, …$"),
        (Classification((False, True)), 1, "there are false, true$"),
        (Classification(("1", 1)), 2, "there are 1, 1"),
        (Regression(0.0, 1.0), "price", "predicts a number, 'value', and no class"),
    ],
)
def test_an_unknown_class_is_told(output: Any, target: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace("?", r"\?")):
        output.class_number(target)


def test_relu_networks_are_explained_too(table: TableInput, raw_table: Any) -> None:
    """Slopes that jump on the way, in every unit."""
    spec = mlp([table.width, 40, 40, 1], "relu")
    made = make(table, raw_table, spec, Regression(0.0, 1.0))
    found = Explainer(load(made.dump())).explain(raw_table)
    assert (abs(found.completeness_error) <= 0.02 * sizes(found)).all()


def test_a_wrong_slope_shows_in_the_error(
    regressor: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is rescaled to hide it."""
    explainer = Explainer(load(regressor.dump()))
    right = explainer.explain(regressor.raw)
    output = type(explainer.output)
    gradient = output.gradient
    monkeypatch.setattr(output, "gradient", lambda *given: 0.9 * gradient(*given))
    wrong = explainer.explain(regressor.raw)
    change = right.output - right.baseline_output
    np.testing.assert_allclose(
        wrong.attributions, 0.9 * right.attributions, rtol=1e-4, atol=1e-6
    )
    assert (abs(wrong.completeness_error) > 0.08 * abs(change)).any()

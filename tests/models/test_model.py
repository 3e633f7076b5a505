"""Rows in, predictions out: one row as in a batch, and never NaN."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.features.predictions import Classification, Output, Regression
from models.features.tensor import TensorInput
from models.model import Model, by_row
from models.nn.architectures import mlp
from models.nn.layers import LinearSpec
from models.nn.network import Network, NetworkSpec

NUMBER = TensorInput((1,), 0.0, 1.0, [0.0], [1.0])
OUTPUTS: list[Output] = [
    Regression(0.0, 1.0),
    Classification(("no", "yes")),
    Classification((0, 1, 2)),
]


def linear(output: Output, weight: float) -> Model:
    """A model that multiplies its only input."""
    network = Network(NetworkSpec(1, (LinearSpec(1, output.width, "zeros"),)))
    network.parameters[: output.width] = weight * np.arange(1, output.width + 1)
    return Model(NUMBER, [network], output)


def take(raw: Any, rows: slice) -> Any:
    if isinstance(raw, dict):
        return {name: values[rows] for name, values in raw.items()}
    return raw[rows]


def numbers(answer: dict[str, Any]) -> Any:
    return answer.get("value", answer.get("probabilities"))


def test_an_answer_is_encode_then_network_then_decode(made: Any) -> None:
    inputs, output = made.manifest.inputs, made.manifest.output
    X = inputs.encode(made.raw)
    Z = np.stack([network.predict(X) for network in made.networks])
    assert Z.shape == (len(made.networks), 6, output.width)
    np.testing.assert_array_equal(made.model.logits(made.raw), Z)
    expected, found = output.decode(Z), made.model.predict(made.raw)
    assert list(found) == list(expected) == list(output.tensors)
    for name, (_, shape) in output.tensors.items():
        assert found[name].shape == (6, *shape)
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize("output", OUTPUTS)
def test_several_networks_answer_the_mean_of_their_answers(output: Output) -> None:
    inputs = TensorInput((4,), 0.0, 1.0, [0.0], [1.0])
    X = 2 * np.random.default_rng(1).standard_normal((40, 4)).astype(np.float32)
    networks = [Network(mlp([4, 6, output.width])) for _ in range(3)]
    for seed, network in enumerate(networks):
        network.initialize(np.random.default_rng(seed))
    answer = Model(inputs, networks, output).predict(X)
    singles = [numbers(Model(inputs, [n], output).predict(X)) for n in networks]
    assert np.ptp(singles, axis=0).max() > 0.1
    mean = (singles[0] + singles[1] + singles[2]) / 3
    np.testing.assert_allclose(numbers(answer), mean, rtol=1e-12, atol=1e-12)
    if isinstance(output, Classification):
        # Not the softmax of the mean logit: that would be another mean.
        Z = np.mean([n.predict(X) for n in networks], axis=0)
        assert np.abs(output.probabilities(Z) - mean).max() > 1e-3
        labels = [output.classes[i] for i in mean.argmax(axis=1)]
        assert answer["label"].tolist() == labels


def test_one_network_of_several_that_does_not_fit_is_refused() -> None:
    fits, other = Network(mlp([1, 1])), Network(mlp([2, 1]))
    Model(NUMBER, [fits, fits], Regression(0.0, 1.0))
    for networks in [fits, other], [other, fits]:
        with pytest.raises(ValueError, match="around a network of 2 to 1"):
            Model(NUMBER, networks, Regression(0.0, 1.0))


@pytest.mark.parametrize("output", OUTPUTS)
def test_one_overflow_among_several_networks_is_the_rows_fault(
    output: Output,
) -> None:
    calm, wild = linear(output, 1.0).networks[0], linear(output, 1e38).networks[0]
    X = np.array([[0.5], [9.0], [1.0]], np.float32)
    for networks in [calm, wild], [wild, calm]:
        model = Model(NUMBER, networks, output)
        assert np.isfinite(numbers(model.predict(X[::2]))).all()
        with pytest.raises(InvalidInput, match="row 1: its numbers are too large"):
            model.predict(X)


def test_a_value_stays_within_what_training_saw() -> None:
    output = Regression(100.0, 20.0, lowest=-2.0, highest=3.0)
    X = np.array([[-9.0], [-2.0], [1.0], [3.0], [9.0]], np.float32)
    value = linear(output, 1.0).predict(X)["value"]
    assert value.tolist() == [60.0, 60.0, 120.0, 160.0, 160.0]
    # Each network by itself: one that is far out does not move the mean further.
    calm, wild = linear(output, 0.0).networks[0], linear(output, 1e3).networks[0]
    value = Model(NUMBER, [calm, wild], output).predict(X)["value"]
    assert value.tolist() == [80.0, 80.0, 130.0, 130.0, 130.0]


def test_a_row_alone_is_answered_as_in_its_batch(made: Any) -> None:
    whole = made.model.predict(made.raw)
    for i in range(6):
        alone = made.model.predict(take(made.raw, slice(i, i + 1)))
        np.testing.assert_allclose(
            numbers(alone)[0], numbers(whole)[i], rtol=1e-6, atol=1e-9
        )


def test_json_rows_are_answered_as_raw_ones(made: Any) -> None:
    rows = made.manifest.inputs.to_json(made.raw, slice(None))
    replies = made.model.answer_json(msgspec.json.encode(rows))
    assert replies == by_row(made.model.predict(made.raw))
    assert msgspec.json.decode(msgspec.json.encode(replies)) == replies


def test_threads_share_a_model(made: Any) -> None:
    rows = made.manifest.inputs.to_json(made.raw, slice(None))
    requests = [msgspec.json.encode(rows[i % 6 :]) for i in range(120)]
    expected = [made.model.answer_json(request) for request in requests[:6]]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(made.model.answer_json, requests))
    assert found == expected * 20


def test_one_output_is_bare_and_several_are_an_object() -> None:
    assert by_row({"value": np.array([1.5, -2.0])}) == [1.5, -2.0]
    answer = {
        "label": np.array(["a", "b"], object),
        "probabilities": np.array([[0.75, 0.25], [0.5, 0.5]]),
    }
    assert by_row(answer) == [
        {"label": "a", "probabilities": [0.75, 0.25]},
        {"label": "b", "probabilities": [0.5, 0.5]},
    ]


@pytest.mark.parametrize(("n_in", "n_out"), [(2, 1), (1, 2)])
def test_parts_that_do_not_fit_together_are_refused(n_in: int, n_out: int) -> None:
    with pytest.raises(ValueError, match="around a network of"):
        Model(NUMBER, [Network(mlp([n_in, n_out]))], Regression(0.0, 1.0))


# Never NaN


@pytest.mark.parametrize("output", OUTPUTS)
def test_numbers_too_large_for_the_network_are_the_rows_fault(output: Output) -> None:
    model = linear(output, 1e38)
    fits = np.array([[0.5], [1.0], [-1.0]], np.float32)
    assert np.isfinite(numbers(model.predict(fits))).all()
    for far in 9.0, -9.0:
        with pytest.raises(InvalidInput, match="row 2: its numbers are too large"):
            model.predict(np.array([[0.5], [1.0], [far]], np.float32))


@pytest.mark.parametrize("output", OUTPUTS)
def test_weights_that_are_no_numbers_answer_nothing(output: Output) -> None:
    model = linear(output, np.nan)
    with pytest.raises(InvalidInput, match="row 0"):
        model.predict(np.ones((2, 1), np.float32))


def test_a_target_beyond_float64_is_the_rows_fault() -> None:
    model = linear(Regression(0.0, 1e300), 1e7)
    (value,) = model.predict(np.ones((1, 1), np.float32))["value"]
    assert value == pytest.approx(1e307)
    with pytest.raises(InvalidInput, match="row 1: its numbers are too large"):
        model.predict(np.array([[1.0], [100.0]], np.float32))


@settings(
    deadline=None,
    max_examples=60,
    # Made anew for no example: the models are not changed.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "age": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "member": st.none() | st.booleans(),
                "joined": st.none() | st.datetimes().map(lambda d: d.isoformat()),
                "city": st.none() | st.text(max_size=3) | st.sampled_from(["Bern"]),
                "planet": st.none() | st.text(max_size=3),
            }
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_row_that_fits_a_table_has_a_finite_answer(
    classifier: Any, regressor: Any, rows: list[dict[str, Any]]
) -> None:
    raw = msgspec.json.encode(rows)
    for made in classifier, regressor:
        answer = made.model.predict(made.model.decoder.rows(raw))
        assert len(numbers(answer)) == len(rows)
        assert np.isfinite(numbers(answer)).all()

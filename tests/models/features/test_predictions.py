"""From logits to labels and probabilities, from standard units to values."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from models.features.predictions import Classification, Label, Output, Regression
from models.types import Array

bounded = settings(deadline=None, max_examples=80)


def logits(width: int) -> st.SearchStrategy[Array]:
    shapes = st.tuples(st.integers(1, 5), st.just(width))
    numbers = st.floats(-(2.0**99), 2.0**99, width=32)
    return hnp.arrays(np.float32, shapes, elements=numbers)


BINARY = Classification(("no", "yes"))
THREE = Classification((0, 1, 2))


def column(*values: float) -> Array:
    return np.array(values, np.float32)[:, None]


# Probabilities


@bounded
@given(logits(1))
def test_two_classes_are_both_sides_of_one_sigmoid(Z: Array) -> None:
    P = BINARY.probabilities(Z)
    z = Z[:, 0].astype(np.float64)
    np.testing.assert_allclose(P[:, 1], special.expit(z), rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P[:, 0], special.expit(-z), rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)


@bounded
@given(logits(3))
def test_many_classes_are_a_softmax(Z: Array) -> None:
    P = THREE.probabilities(Z)
    expected = special.softmax(Z.astype(np.float64), axis=1)
    np.testing.assert_allclose(P, expected, rtol=1e-13, atol=1e-320)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)


def test_a_small_probability_is_exact_however_small() -> None:
    z = np.array([[690.0], [-690.0], [40.0], [-40.0]])
    P = BINARY.probabilities(z)
    # Far out the smaller side is e^-|z| to the last digit; 1 - p would give 0.
    np.testing.assert_allclose(P[:2].min(axis=1), np.exp(-690), rtol=1e-13)
    np.testing.assert_allclose(P[2:].min(axis=1), np.exp(-40), rtol=1e-13)
    assert 0 < P.min() < 1e-299
    assert P[0, 1] == P[1, 0] == 1


def test_two_classes_agree_with_a_softmax_of_two() -> None:
    z = np.linspace(-30, 30, 61)
    pair = special.softmax(np.stack([np.zeros(61), z], axis=1), axis=1)
    np.testing.assert_allclose(BINARY.probabilities(z[:, None]), pair, rtol=1e-12)


@pytest.mark.parametrize("output", [BINARY, THREE])
def test_probabilities_are_float64_and_the_logits_are_left_alone(
    output: Classification,
) -> None:
    Z = np.full((2, output.width), 0.5, np.float32)
    assert output.probabilities(Z).dtype == np.float64
    np.testing.assert_array_equal(Z, 0.5)


# Several networks, temperature, smoothing


def stacks(width: int) -> st.SearchStrategy[Array]:
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(width))
    # The logarithm of a probability below the smallest float64 is no oracle.
    return hnp.arrays(np.float32, shapes, elements=st.floats(-300, 300, width=32))


def calibrated(
    output: Classification, temperature: float = 1.0, smoothing: float = 0.0
) -> Classification:
    return Classification(output.classes, temperature, smoothing)


def mixture(output: Classification, Z: Array) -> Array:
    """The mean of each network's probabilities, by the textbook."""
    wide = Z.astype(np.float64)
    if output.width == 1:
        wide = np.concatenate([np.zeros_like(wide), wide], axis=2)
    P: Array = special.softmax(wide, axis=2).mean(axis=0)
    return P


both = pytest.mark.parametrize("output", [BINARY, THREE])


@both
@bounded
@given(data=st.data())
def test_several_networks_answer_the_mean_of_their_probabilities(
    output: Classification, data: st.DataObject
) -> None:
    Z = data.draw(stacks(output.width))
    P = output.decode(Z)["probabilities"]
    np.testing.assert_allclose(P, mixture(output, Z), rtol=1e-12, atol=1e-320)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)


@both
@bounded
@given(data=st.data(), temperature=st.floats(0.05, 100))
def test_a_temperature_divides_the_logarithms(
    output: Classification, data: st.DataObject, temperature: float
) -> None:
    Z = data.draw(stacks(output.width))
    answer = calibrated(output, temperature).decode(Z)
    P = answer["probabilities"]
    logarithms = np.log(mixture(output, Z))
    expected = special.softmax(logarithms / temperature, axis=1)
    np.testing.assert_allclose(P, expected, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    assert P.dtype == np.float64


@both
@pytest.mark.parametrize("temperature", [0.2, 1.7, 30.0])
def test_a_temperature_of_one_network_divides_its_logits(
    output: Classification, temperature: float
) -> None:
    Z = 4 * np.random.default_rng(1).standard_normal((1, 50, output.width))
    found = calibrated(output, temperature).decode(Z)
    np.testing.assert_allclose(
        found["probabilities"], output.probabilities(Z[0] / temperature), rtol=1e-11
    )
    # It never changes which class is the likeliest.
    np.testing.assert_array_equal(found["label"], output.decode(Z)["label"])


@both
def test_temperature_one_and_no_smoothing_leave_probabilities_alone(
    output: Classification,
) -> None:
    Z = np.random.default_rng(1).standard_normal((1, 9, output.width))
    P = output.probabilities(Z[0])
    np.testing.assert_array_equal(output.decode(Z)["probabilities"], P)
    held = P.copy()
    np.testing.assert_array_equal(calibrated(output, 1.0, 0.0).calibrate(P), held)
    np.testing.assert_array_equal(P, held)


@both
@pytest.mark.parametrize("temperature", [0.01, 3.0, 100.0])
def test_a_certain_answer_stays_finite_at_any_temperature(
    output: Classification, temperature: float
) -> None:
    Z = np.full((2, 2, output.width), -1e30)
    Z[:, 0, 0] = 1e30
    answer = calibrated(output, temperature).decode(Z)
    P = answer["probabilities"]
    assert np.isfinite(P).all()
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    assert P[0].max() > 0.99


@both
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("smoothing", [1e-9, 0.1, 1.0])
def test_smoothing_draws_to_the_even_distribution(
    output: Classification, temperature: float, smoothing: float
) -> None:
    Z = 3 * np.random.default_rng(2).standard_normal((3, 20, output.width))
    sharp = calibrated(output, temperature).decode(Z)
    found = calibrated(output, temperature, smoothing).decode(Z)
    even = np.full(len(output.classes), 1 / len(output.classes))
    P = found["probabilities"]
    expected = (1 - smoothing) * sharp["probabilities"] + smoothing * even
    np.testing.assert_allclose(P, expected, rtol=1e-13)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-14)
    assert P.min() >= smoothing / len(output.classes) * (1 - 1e-14)
    if smoothing < 1:
        np.testing.assert_array_equal(found["label"], sharp["label"])


@both
def test_calibration_leaves_what_it_is_given_alone(output: Classification) -> None:
    P = output.probabilities(np.full((4, output.width), 0.5))
    held = P.copy()
    calibrated(output, 2.0, 0.3).calibrate(P)
    np.testing.assert_array_equal(P, held)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0),
        ("temperature", -1),
        ("temperature", 101),
        ("temperature", None),
        ("smoothing", -0.1),
        ("smoothing", 1.1),
    ],
)
def test_a_calibration_out_of_its_limits_is_not_read(field: str, value: Any) -> None:
    fields = {"kind": "classification", "classes": [0, 1], field: value}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.json.decode(msgspec.json.encode(fields), type=Output)


def test_a_calibration_survives_the_manifest() -> None:
    output = Classification(("no", "yes"), 1.25, 0.01)
    written = msgspec.json.encode(output)
    assert msgspec.json.decode(written, type=Output) == output
    plain = b'{"kind":"classification","classes":["no","yes"]}'
    assert msgspec.json.decode(plain, type=Output) == BINARY
    assert (BINARY.temperature, BINARY.smoothing) == (1, 0)


# Labels


def test_the_label_is_the_likeliest_class() -> None:
    assert BINARY.decode(column(-1, 1e-3, 0)[None])["label"].tolist() == [
        "no",
        "yes",
        "no",
    ]
    Z = np.array([[0, 2, 1], [-1, -2, 0], [5, 5, 5]], np.float32)
    answer = THREE.decode(Z[None])
    assert answer["label"].tolist() == [1, 2, 0]  # of equals the first
    np.testing.assert_array_equal(answer["probabilities"], THREE.probabilities(Z))


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        ((0, 1), "INT64"),
        ((-7, 3, 2**40), "INT64"),
        ((0.5, 1.0, 2.5), "FP64"),
        (("a", "b"), "BYTES"),
        ((False, True), "BOOL"),
        ((1, "1"), "BYTES"),
        ((True, 1), "BYTES"),
        ((1, 1.0), "BYTES"),
        ((-(2**63), 2**63 - 1), "INT64"),
        ((0, 2**63), "BYTES"),
        (("", "ü"), "BYTES"),
    ],
)
def test_labels_are_spelled_as_in_the_training_data(
    classes: tuple[Label, ...], datatype: str
) -> None:
    output = Classification(classes)
    assert output.label_datatype == datatype
    assert output.tensors == {
        "label": (datatype, ()),
        "probabilities": ("FP64", (len(classes),)),
    }
    written = msgspec.json.encode(output)
    again = msgspec.json.decode(written, type=Output)
    assert isinstance(again, Classification)
    Z = column(-1, 1) if output.width == 1 else 9 * np.eye(len(classes))
    for found in output, again:
        labels = found.decode(Z[None])["label"].tolist()
        assert labels == list(classes)
        assert [type(label) for label in labels] == [type(c) for c in classes]


def test_two_classes_share_a_logit_and_more_have_one_each() -> None:
    assert (BINARY.task, BINARY.width) == ("binary", 1)
    assert (THREE.task, THREE.width) == ("multiclass", 3)


@pytest.mark.parametrize("classes", [("a", "a"), (1, 2, 1), (True, True), (0.5, 0.5)])
def test_a_class_stands_once(classes: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="two classes are the same"):
        Classification(classes)
    written = msgspec.json.encode({"kind": "classification", "classes": classes})
    with pytest.raises(msgspec.ValidationError, match="two classes are the same"):
        msgspec.json.decode(written, type=Output)


@pytest.mark.parametrize("classes", [(), ("a",)])
def test_a_classifier_has_two_classes_at_least(classes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two classes at least"):
        Classification(classes)


# Values


@bounded
@given(
    hnp.arrays(np.float32, st.integers(1, 5), elements=st.floats(-9, 9, width=32)),
    st.floats(-1e12, 1e12),
    st.floats(1e-12, 1e12),
)
def test_a_value_is_in_the_units_of_the_target(
    z: Array, mean: float, std: float
) -> None:
    output = Regression(mean, std)
    value = output.decode(z[None, :, None])["value"]
    assert value.dtype == np.float64
    np.testing.assert_array_equal(value, [float(x) * std + mean for x in z])


@bounded
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(1)),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    ),
    st.floats(-5, 0),
    st.floats(0, 5),
)
def test_each_networks_value_is_clipped_and_then_averaged(
    Z: Array, lowest: float, highest: float
) -> None:
    output = Regression(10.0, 2.0, lowest, highest)
    found = output.decode(Z)["value"]
    assert found.dtype == np.float64
    for i, value in enumerate(found):
        units = [min(max(float(z), lowest), highest) for z in Z[:, i, 0]]
        mean = sum(units) / len(units)
        assert value == pytest.approx(mean * 2 + 10, rel=1e-13, abs=1e-13)
    near = 1e-13 * 20
    assert (found >= lowest * 2 + 10 - near).all()
    assert (found <= highest * 2 + 10 + near).all()


def test_a_value_is_not_clipped_unless_told() -> None:
    Z = np.array([[[1e20], [-1e20]], [[3e20], [1e20]]], np.float32)
    value = Regression(0.0, 1.0).decode(Z)["value"]
    np.testing.assert_allclose(value, [2e20, 0], rtol=1e-6)


def test_limits_survive_the_manifest() -> None:
    output = Regression(1.0, 2.0, -3.5, 4.5)
    written = msgspec.json.encode(output)
    assert msgspec.json.decode(written, type=Output) == output


def test_a_regression_answers_one_number() -> None:
    output = Regression(1.0, 2.0)
    assert (output.task, output.width) == ("regression", 1)
    assert output.tensors == {"value": ("FP64", ())}
    written = msgspec.json.encode(output)
    assert msgspec.json.decode(written, type=Output) == output


# Slopes


def slopes_by_differences(output: Output, Z: Array, row_classes: Any) -> Array:
    """Central differences of what is decoded, by each logit."""

    def number(Z: Array) -> Array:
        answer = output.decode(Z)
        if "value" in answer:
            return answer["value"]
        return answer["probabilities"][np.arange(Z.shape[1]), row_classes]

    found = np.zeros_like(Z)
    for place in np.ndindex(Z.shape):
        above, below = Z.copy(), Z.copy()
        above[place] += 1e-5
        below[place] -= 1e-5
        found[place] = (number(above) - number(below))[place[1]] / 2e-5
    return found


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(
    "calibration", [{}, {"temperature": 2.5, "smoothing": 0.1}, {"temperature": 0.5}]
)
def test_the_slope_of_a_probability_is_its_difference(
    members: int, classes: int, calibration: Any
) -> None:
    output = Classification(tuple(range(classes)), **calibration)
    rng = np.random.default_rng(classes)
    Z = rng.normal(0, 2, (members, 6, output.width))
    chosen = rng.integers(0, classes, 6)
    np.testing.assert_allclose(
        output.gradient(Z, chosen), slopes_by_differences(output, Z, chosen), atol=1e-8
    )


def test_the_slope_of_a_value_ends_where_it_is_held_back() -> None:
    output = Regression(100.0, 20.0, lowest=-1.0, highest=2.0)
    Z = np.array([[[-3.0], [0.5], [1.9]], [[0.0], [2.5], [-0.9]]])
    expected = slopes_by_differences(output, Z, None)
    np.testing.assert_allclose(output.gradient(Z), expected, atol=1e-6)
    assert (expected == 0).sum() == 2


@bounded
@given(logits(3))
def test_slopes_are_numbers_however_far_the_logits(Z: Array) -> None:
    output = Classification((0, 1, 2), temperature=0.3, smoothing=0.01)
    slopes = output.gradient(np.stack([Z, -Z]), np.zeros(len(Z), np.intp))
    assert np.isfinite(slopes).all()


# Weights


@pytest.mark.parametrize("output", [BINARY, THREE, Regression(2.0, 3.0, -1.0, 1.0)])
def test_a_network_of_twice_the_weight_counts_as_two(output: Output) -> None:
    Z = np.random.default_rng(0).normal(0, 1, (2, 7, output.width)).astype(np.float32)
    weighted = msgspec.structs.replace(output, weights=(2 / 3, 1 / 3))
    repeated = output.decode(Z[[0, 0, 1]])
    for name, values in weighted.decode(Z).items():
        if name == "label":
            assert values.tolist() == repeated[name].tolist()
        else:
            np.testing.assert_allclose(values, repeated[name], rtol=1e-12)
    chosen = np.zeros(7, np.intp)
    slopes = output.gradient(Z[[0, 0, 1]], chosen)
    summed = np.stack([slopes[0] + slopes[1], slopes[2]])
    np.testing.assert_allclose(weighted.gradient(Z, chosen), summed, rtol=1e-9)


def test_networks_disagree_by_their_weights() -> None:
    values = np.random.default_rng(0).normal(size=(2, 5))
    output = Regression(0.0, 1.0)
    weighted = Regression(0.0, 1.0, weights=(0.75, 0.25))
    repeated = output.spread(values[[0, 0, 0, 1]])
    np.testing.assert_allclose(weighted.spread(values), repeated)
    np.testing.assert_allclose(output.spread(values), values.std(axis=0))
